"""Paths on any object storage, as Airflow knows them."""

from __future__ import annotations

from airflow.sdk import ObjectStoragePath

from airflow_provider.yandex_ai_studio.api.checks import wrong
from airflow_provider.yandex_ai_studio.api.words import within

PACKAGES = {
    "s3": "apache-airflow-providers-amazon[s3fs]",
    "gs": "apache-airflow-providers-google",
    "abfs": "apache-airflow-providers-microsoft-azure",
    "abfss": "apache-airflow-providers-microsoft-azure",
    "adl": "apache-airflow-providers-microsoft-azure",
}
"""What to install for a scheme."""

LASTING = (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)
"""What no further attempt mends. Any other error of a storage may pass."""


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


def reason_of(error: OSError) -> str:
    """Return why a storage refuses a path, in words. They say more than where in its library that came up."""
    return error.strerror or within(error)[:200]
