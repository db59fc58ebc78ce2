#!/bin/sh
# Pin what a fresh environment of one Python version gets: constraints.sh 3.11
set -eu
version=$1
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"python$version" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --upgrade pip
# From 2.48 on, the openai client strictly requires a field (cache_write_tokens) that the vendor's reference lacks.
"$scratch/venv/bin/python" -m pip install -qq --editable . --group dev 'openai<2.45'
{
    echo "# Versions that the tests ran with on Python $version. Written by 'make constraints'."
    "$scratch/venv/bin/python" -m pip freeze --all --exclude-editable
} >"constraints-$version.txt"
