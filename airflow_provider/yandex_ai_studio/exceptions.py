"""
Everything this package raises.

YandexAIStudioError
├── ConfigurationError            the task, the connection or a parameter is wrong; nothing was sent     (no retry)
├── ConnectionNotFound            Airflow has no such connection, or can't reach what holds it
├── RequestError                  the service, or the way to it, refused one request
│   ├── BadRequest                400: the request itself is wrong                                       (no retry)
│   ├── AuthenticationError       401: the credential is not accepted, or there is no token for it
│   ├── PermissionDenied          403: role, folder, model access or billing                             (no retry)
│   ├── NotFound                  404: no such operation, or its result has expired
│   ├── RateLimited               429: a quota is used up
│   └── ServiceUnavailable        5xx, no connection, no answer in time, or an answer that makes no sense
├── OperationError                the request was taken, and paid work ended without an answer
│   ├── OperationFailed           the service reports an error, or neither an error nor an answer
│   ├── OperationCancelled        somebody cancelled it                                                 (no retry)
│   ├── OperationExpired          the service no longer knows it: results are kept for 3 days
│   └── OperationTimeout          it still runs after the deadline
├── SubmissionUnknown             a submission was begun, and nobody knows whether it was taken            (no retry)
├── ContentFiltered               the answer was withheld by the service's content filter               (no retry)
├── AnswerRefused                 the model declined to answer                                          (no retry)
├── AnswerUnreadable              the answer has a form that this release can't read                    (no retry)
├── InvalidOutput                 the answer is not the structured output that was asked for
├── RowsFailed                    rows of a bulk run failed for good; the others are kept
├── BudgetExceeded                a bulk run would go beyond its bound of tokens or cost                  (no retry)
└── TriggerEventError             the triggerer sent an event that this release does not understand

"No retry" means that Airflow fails the task at once: to repeat it would only give the same answer. From the sensor,
which submits nothing, no ``OperationError`` is retried; nor is ``OperationTimeout`` with ``on_timeout="fail"``.
"""

from __future__ import annotations

from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowNotFoundException

__all__ = [
    "AnswerRefused",
    "AnswerUnreadable",
    "AuthenticationError",
    "BadRequest",
    "BudgetExceeded",
    "ConfigurationError",
    "ConnectionNotFound",
    "ContentFiltered",
    "InvalidOutput",
    "NotFound",
    "OperationCancelled",
    "OperationError",
    "OperationExpired",
    "OperationFailed",
    "OperationTimeout",
    "PermissionDenied",
    "RateLimited",
    "RequestError",
    "RowsFailed",
    "ServiceUnavailable",
    "SubmissionUnknown",
    "TriggerEventError",
    "YandexAIStudioError",
]


class YandexAIStudioError(AirflowException):
    """Base of all errors of this package."""


class ConfigurationError(YandexAIStudioError, AirflowFailException):
    """A parameter or a connection is wrong. Nothing was sent, nothing is billed."""


class ConnectionNotFound(YandexAIStudioError, AirflowNotFoundException):
    """
    Airflow has no such connection. It says so, too, where a secrets backend gives no answer for now.

    So another attempt may find it. Nothing was sent, nothing is billed.
    """


class RequestError(YandexAIStudioError):
    """
    One request was refused, or its answer did not arrive.

    :param message: What happened and what to do next.
    :param status: The HTTP status, or None where no answer came.
    :param grpc_code: The service's own code (``google.rpc.Code``), where it sent one.
    :param request_id: The id to give to the vendor's support, where it sent one.
    :param arrived: False when it is certain that the service did not take the request.
    :param lasting: Whether to wait won't help: somebody must change a connection, a certificate or a network.
    :param retry_after: Seconds that the service asks to wait before the next try, a minute at most; else 0.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        grpc_code: int | None = None,
        request_id: str | None = None,
        arrived: bool = True,
        lasting: bool = False,
        retry_after: float = 0.0,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.grpc_code = grpc_code
        self.request_id = request_id
        self.arrived = arrived
        self.lasting = lasting
        self.retry_after = retry_after


class BadRequest(RequestError, AirflowFailException):
    """The service does not accept the request as it is (HTTP 400 and its kin)."""


class AuthenticationError(RequestError):
    """The service does not accept the credential (HTTP 401), or nobody issues a token for it."""


class PermissionDenied(RequestError, AirflowFailException):
    """The credential is valid, but not allowed to do this (HTTP 403)."""


class NotFound(RequestError):
    """The service does not know what was asked for (HTTP 404)."""


class RateLimited(RequestError):
    """A quota of the service is used up (HTTP 429)."""


class ServiceUnavailable(RequestError):
    """The service, or the way to it, is out of order for now."""


class OperationError(YandexAIStudioError):
    """
    A submitted operation ended without an answer.

    :param message: What happened, what became of the operation, and what to do next.
    :param operation_id: The operation.
    :param code: The error code that the service gave (``google.rpc.Code``, or a word of the Responses API).
    """

    def __init__(self, message: str, *, operation_id: str | None = None, code: int | str | None = None) -> None:
        super().__init__(message)
        self.operation_id = operation_id
        self.code = code


class OperationFailed(OperationError):
    """The service ended the operation with an error, or without any outcome."""


class OperationCancelled(OperationError, AirflowFailException):
    """The operation was cancelled before it had an answer."""


class OperationExpired(OperationError):
    """The service no longer knows the operation."""


class OperationTimeout(OperationError):
    """The operation still runs after the task's deadline."""


class SubmissionUnknown(YandexAIStudioError, AirflowFailException):
    """The way to the service broke inside a submission: it may have been taken, under an id that nobody knows."""


class ContentFiltered(YandexAIStudioError, AirflowFailException):
    """The service withheld the answer because of its content."""


class AnswerRefused(YandexAIStudioError, AirflowFailException):
    """The model declined to answer, and said so instead of an answer."""


class AnswerUnreadable(YandexAIStudioError, AirflowFailException):
    """The operation is done, and its answer has a form that this release can't read."""


class InvalidOutput(YandexAIStudioError):
    """The model's answer does not keep to the form that was asked for."""


class RowsFailed(YandexAIStudioError):
    """Rows of a bulk run failed for good. Another attempt asks only these again."""


class BudgetExceeded(YandexAIStudioError, AirflowFailException):
    """A bulk run was stopped before it could go beyond its bound. What was generated is kept."""


class TriggerEventError(YandexAIStudioError):
    """The event that woke the task is not one of this release's trigger."""
