"""Where tokens come from."""

from __future__ import annotations

from typing import Any

from airflow_provider.yandex_ai_studio.api import values
from airflow_provider.yandex_ai_studio.api.call import Call
from airflow_provider.yandex_ai_studio.api.endpoints import Endpoints
from airflow_provider.yandex_ai_studio.api.models import IssuedToken

JWT_AUDIENCE = "https://iam.api.cloud.yandex.net/iam/v1/tokens"
"""What a JWT must be made out to, through whatever gateway it goes there."""

CHECK_KEY = (
    "Check the service-account key in the Airflow connection (Admin > Connections): do the key and its account still "
    "exist? Behind a base URL, check that /iam/v1/tokens leads to the vendor."
)
CHECK_MACHINE = (
    "Check that a service account is attached to the virtual machine or function that this runs on, or give the "
    "Airflow connection (Admin > Connections) a key."
)


def exchange_jwt(endpoints: Endpoints, jwt: str, *, now: float) -> Call[IssuedToken]:
    """
    Exchange a signed JWT for an IAM token.

    :param now: Seconds since the epoch.

    .. seealso:: https://yandex.cloud/en/docs/iam/operations/iam-token/create-for-sa
    """

    def parse(data: Any) -> IssuedToken:
        expires_at = values.time(data["expiresAt"])
        return IssuedToken(values.text(data["iamToken"]), expires_at.timestamp() if expires_at else now)

    return Call(
        aim="exchange the service-account key for an IAM token",
        method="POST",
        url=f"{endpoints.iam}/iam/v1/tokens",
        body={"jwt": jwt},
        parse=parse,
        authorized=False,
        credential=CHECK_KEY,
    )


def metadata_token(endpoints: Endpoints, *, now: float) -> Call[IssuedToken]:
    """
    Ask the metadata service of a virtual machine or function for the token of its service account.

    :param now: Seconds since the epoch.

    .. seealso:: https://yandex.cloud/en/docs/compute/operations/vm-connect/auth-inside-vm
    """
    return Call(
        aim="get an IAM token from the metadata service (does this run on a virtual machine with a service account?)",
        method="GET",
        url=f"{endpoints.metadata}/computeMetadata/v1/instance/service-accounts/default/token",
        parse=lambda data: IssuedToken(values.text(data["access_token"]), now + values.count(data.get("expires_in"))),
        headers={"Metadata-Flavor": "Google"},
        authorized=False,
        timeout=METADATA_TIMEOUT,
        credential=CHECK_MACHINE,
    )


METADATA_TIMEOUT = 5.0
"""Seconds; the service is on the same host, or not there at all."""
