"""
Files on any object storage, as Airflow knows them: read and written whole, and looked at as they are.

The library of an object storage remembers listings, makes a bucket that is not there, and takes ``out*`` for many
files. So nothing here goes by a listing that is remembered, makes a folder there, or removes what a name might mean.
"""

from __future__ import annotations

import io
from contextlib import suppress
from pathlib import Path, PurePosixPath
from secrets import token_hex
from typing import cast

from airflow.sdk import ObjectStoragePath

from airflow_provider.yandex_ai_studio.api.checks import wrong
from airflow_provider.yandex_ai_studio.api.words import within

_AMAZON = "apache-airflow-providers-amazon[s3fs]"
_GOOGLE = "apache-airflow-providers-google"
_AZURE = "apache-airflow-providers-microsoft-azure"

PACKAGES = {
    **dict.fromkeys(("s3", "s3a", "s3n"), _AMAZON),
    **dict.fromkeys(("gs", "gcs"), _GOOGLE),
    **dict.fromkeys(("abfs", "abfss", "adl"), _AZURE),
}
"""What to install for a scheme. All of these have buckets, and no folders to be made."""

LASTING = (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)
"""What no further attempt mends. Any other error of a storage may pass."""

BLOCK = 1 << 20
"""Bytes of a file that are asked for at a time: by itself, the library of S3 reads 50 MB for a chunk of rows."""


def storage_path(path: str | ObjectStoragePath, parameter: str) -> ObjectStoragePath:
    """
    Return a path whose file system is there.

    :param parameter: The name of the parameter that holds it.
    :raises ConfigurationError: The package is missing that knows its scheme.
    """
    scheme = str(path).partition("://")[0]
    try:
        ready = ObjectStoragePath(path) if isinstance(path, str) else path
        _ = ready.fs  # Airflow looks for it only when it is used
    except (ImportError, ValueError) as error:
        if isinstance(error, ValueError) and "filesystem" not in str(error):
            raise  # a connection that is wrong, say
        package = PACKAGES.get(scheme, "the Airflow provider for it")
        raise wrong(
            f"Install {package}: `{parameter}` is on {scheme}://, and nothing here knows how to open that "
            f"({type(error).__name__})"
        ) from None
    return ready


def reason_of(error: Exception) -> str:
    """
    Return why a storage refuses a path, in words. They say more than where in its library that came up.

    Of an error that is only its library's, it is the name: what it says may hold anything.
    """
    if isinstance(error, OSError):
        return error.strerror or within(error)[:200]
    return type(error).__name__


def is_local(path: ObjectStoragePath) -> bool:
    """Tell whether a path is one of this machine's."""
    return path.protocol in ("", "file", "local")


def opened(path: ObjectStoragePath) -> io.BufferedReader:
    """Open a file to be read line by line, or here and there."""
    path.fs.invalidate_cache()  # else a listing says how long it is
    raw = path.open("rb", block_size=BLOCK)  # type: ignore[no-untyped-call] # Airflow leaves it untyped
    return io.BufferedReader(raw, BLOCK)


def names_in(folder: ObjectStoragePath) -> set[str]:
    """Return the names of what is in a folder, which may be none."""
    folder.fs.invalidate_cache()
    try:
        return {PurePosixPath(name).name for name in folder.fs.ls(folder.path, detail=False)}
    except (FileNotFoundError, NotADirectoryError):
        return set()


def read(path: ObjectStoragePath) -> bytes:
    """Return what is in a file, as it is now."""
    path.fs.invalidate_cache()  # else a listing says whether it is there
    return cast(bytes, path.fs.cat_file(path.path))


def make(folder: ObjectStoragePath) -> None:
    """Make a folder, where there is such a thing. No bucket is made: its name may be a slip of the pen."""
    if folder.protocol not in PACKAGES:
        folder.fs.makedirs(folder.path, exist_ok=True)


def write(path: ObjectStoragePath, data: bytes) -> None:
    """Write a file as a whole: nobody sees half of it."""
    if is_local(path):
        local = Path(path.path)
        _beside(local, data).replace(local)
    else:
        path.fs.pipe_file(path.path, data)  # an object appears at once


def write_first(path: ObjectStoragePath, data: bytes) -> bool:
    """
    Write a file as a whole where there is none, as far as the storage lets one say so.

    :return: Whether that is sure. If not, one that another process wrote at the same time may be gone, or come yet.
    """
    if not is_local(path):
        write(path, data)
        return False
    local = Path(path.path)
    beside = _beside(local, data)
    try:
        local.hardlink_to(beside)
    except FileExistsError:
        pass
    except OSError:  # a file system without links
        beside.replace(local)
        return False
    beside.unlink()
    return True


def remove(path: ObjectStoragePath) -> None:
    """Remove a file, if it is there."""
    with suppress(FileNotFoundError):
        path.fs.rm_file(path.path)


def _beside(local: Path, data: bytes) -> Path:
    """Write data to a file beside another one, and return its path."""
    beside = local.with_name(f"_{local.name}.{token_hex(4)}")  # other containers have the same process ids
    beside.write_bytes(data)
    return beside
