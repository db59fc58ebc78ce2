#!/bin/sh
# Pin what a fresh environment of one Python version gets: constraints.sh 3.11
set -eu
version=$1
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"python$version" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --upgrade pip
"$scratch/venv/bin/python" -m pip install -qq --editable . --group dev
{
    echo "# Versions that the tests ran with on Python $version. Written by 'make constraints'."
    "$scratch/venv/bin/python" -m pip freeze --all --exclude-editable
} >"constraints-$version.txt"
