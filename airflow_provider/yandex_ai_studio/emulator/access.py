"""Who is calling, and for which folder."""

from __future__ import annotations

from collections.abc import Mapping

from airflow_provider.yandex_ai_studio.emulator.state.backend import Backend
from airflow_provider.yandex_ai_studio.emulator.state.credentials import RefusedCredential
from airflow_provider.yandex_ai_studio.emulator.wire.errors import ApiError, Code

_FOLDER_HEADERS = ("x-folder-id", "OpenAI-Project")
_SHOWN = 4

FOLDER_MISSING = "the folder is missing: name it in the OpenAI-Project header"


def authorize(backend: Backend, headers: Mapping[str, str], openai: bool = False) -> str:
    """Return the id of the service account that calls.

    :param openai: accept an API key as a bearer token too, as the OpenAI-compatible API does.
    :raises ApiError: when nobody is authenticated.
    """
    scheme, _, secret = headers.get("Authorization", "").partition(" ")
    credentials = backend.credentials
    if scheme == "Bearer" and openai and credentials.knows_api_key(secret) and not secret.startswith("t1."):
        return credentials.account_id
    if scheme == "Bearer":
        try:
            return credentials.account_of_token(secret)
        except RefusedCredential as error:
            raise ApiError(Code.UNAUTHENTICATED, str(error)) from None
    if scheme != "Api-Key" or not secret:
        raise ApiError(Code.UNAUTHENTICATED, "Authorization is missing: send an IAM token or an API key")
    if not credentials.knows_api_key(secret):
        raise ApiError(Code.UNAUTHENTICATED, f"Unknown api key '{_masked(secret)}'")
    return credentials.account_id


def named_folder(headers: Mapping[str, str]) -> str | None:
    """Return the folder that the headers name, if they name one."""
    return next((headers[name] for name in _FOLDER_HEADERS if name in headers), None)


def check_folder(backend: Backend, folder: str | None) -> None:
    """Refuse a folder that is not the one of the caller's service account.

    :raises ApiError: when it is another one.
    """
    own = backend.settings.folder_id
    if own is not None and folder is not None and folder != own:
        message = f"Specified folder ID '{folder}' does not match with service account folder ID '{own}'"
        raise ApiError(Code.INVALID_ARGUMENT, message)


def check_folder_named(backend: Backend, headers: Mapping[str, str]) -> None:
    """Refuse a request that names no folder, as the OpenAI-compatible APIs want to know it.

    :raises ApiError: when the headers don't name one.
    """
    if named_folder(headers) is None and not backend.settings.lenient:
        raise ApiError(Code.INVALID_ARGUMENT, FOLDER_MISSING)


def _masked(secret: str) -> str:
    return secret[:_SHOWN] + "…" if len(secret) > 2 * _SHOWN else "…"
