"""The headers of a request: the credential, the folder, and what the vendor asks for beside them."""

from __future__ import annotations

from typing import Any

from airflow_provider.yandex_ai_studio.api.call import Call
from airflow_provider.yandex_ai_studio.client.body import ENCODINGS


def headers_for(
    call: Call[Any],
    *,
    authorization: str | None,
    folder_id: str | None,
    data_logging: bool,
    client_request_id: str,
) -> dict[str, str]:
    """
    Return the headers of a request.

    The folder goes along with IAM tokens only: the vendor asks not to send it with the key of a service
    account, which has a folder of its own.
    """
    headers = {
        "Accept": "application/json",
        "Accept-Encoding": ENCODINGS,
        "x-client-request-id": client_request_id,
        **call.headers,
    }
    if call.body is not None:
        headers["Content-Type"] = "application/json"
    if not call.authorized or authorization is None:
        return headers
    headers["Authorization"] = authorization
    if folder_id and authorization.startswith("Bearer "):
        headers["x-folder-id"] = folder_id
    if folder_id and call.project:
        headers["OpenAI-Project"] = folder_id
    if not data_logging:
        headers["x-data-logging-enabled"] = "false"
    return headers
