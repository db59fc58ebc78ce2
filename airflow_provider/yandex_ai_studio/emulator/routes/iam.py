"""Where IAM tokens come from: the exchange for a signed JWT, and the metadata service of a machine."""

from __future__ import annotations

from airflow_provider.yandex_ai_studio.emulator.request import Answer, Request
from airflow_provider.yandex_ai_studio.emulator.state.backend import Backend
from airflow_provider.yandex_ai_studio.emulator.state.clock import timestamp
from airflow_provider.yandex_ai_studio.emulator.state.credentials import TOKEN_SECONDS, RefusedCredential
from airflow_provider.yandex_ai_studio.emulator.wire import messages, proto_json
from airflow_provider.yandex_ai_studio.emulator.wire.errors import ApiError, Code


def exchange(backend: Backend, request: Request) -> Answer:
    """Exchange a JWT that an authorized key has signed for an IAM token."""
    asked = messages.CREATE_IAM_TOKEN_REQUEST(proto_json.decode(request.body))
    if "jwt" not in asked:
        raise ApiError(Code.INVALID_ARGUMENT, "jwt is missing, and it is the only identity that is emulated")
    try:
        token = backend.credentials.exchange(asked["jwt"])
    except RefusedCredential as error:
        raise ApiError(Code.UNAUTHENTICATED, str(error)) from None
    return Answer.of_json({"iamToken": token.value, "expiresAt": timestamp(token.expires_at)})


def metadata_token(backend: Backend, request: Request) -> Answer:
    """Return a token of the account that the virtual machine would have."""
    if request.headers.get("Metadata-Flavor") != "Google":
        raise ApiError(Code.PERMISSION_DENIED, "the header Metadata-Flavor: Google is missing")
    token = backend.credentials.issue_token(backend.credentials.account_id)
    return Answer.of_json({"access_token": token.value, "expires_in": int(TOKEN_SECONDS), "token_type": "Bearer"})
