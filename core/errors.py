"""The error tree.

TutelageError
├── SettingsError            the settings file or the environment is wrong
├── StartupError             a role cannot start: port taken, folder not writable, disk full, file missing
├── StateError               a store on disk is damaged, or was written by a newer Tutelage
├── RegistryError            the model registry does not answer, or has no such version
├── ModelFolderError         a student's folder is incomplete, altered, or of an unknown architecture
├── DataError                a data file cannot be used: missing column, unknown label, broken row
├── NotificationError        a notification could not be delivered: refused, or nobody there
├── TeacherError             the teacher refused, failed, or may not be used for this
│   ├── BudgetExceededError  the next call could exceed the announced budget, or the account has no credit left
│   ├── TeacherTimeoutError  it did not answer in time, however often it was asked
│   ├── UnreadableAnswerError it answered, but not with a chat completion
│   └── PermissionDeniedError the settings do not permit this use of the teacher or of the data
└── ApiError                 what an HTTP client did, or met; rendered in OpenAI's error shape
    ├── InvalidRequestError  400
    ├── AuthenticationError  401
    ├── KeyNotAllowedError   403
    ├── ModelNotFoundError   404
    ├── NotFoundError        404
    ├── MethodNotAllowedError 405
    ├── RequestTimeoutError  408
    ├── BodyTooLargeError    413
    ├── OverloadedError      429, with retry-after
    ├── RateLimitedError     429, with retry-after: requests or tokens a minute
    ├── QuotaExceededError   429, never to be retried: the dollars of a day or a month are spent
    ├── HeadTooLargeError    431
    ├── InternalError        500
    ├── UpstreamError        502
    ├── UnavailableError     503, with retry-after
    │   └── BreakerOpenError  whoever should answer has failed too often, and is left alone for a moment
    └── DeadlineError        504

Every message says what is wrong *and* how to put it right. The command line prints the message alone, in one line.
"""

from __future__ import annotations

from collections.abc import Sequence


class TutelageError(Exception):
    """Base of everything that Tutelage raises on purpose."""

    @property
    def message(self) -> str:
        """The text for a person, without a traceback."""
        return str(self)


class SettingsError(TutelageError):
    """The settings file or the environment is wrong."""


class StartupError(TutelageError):
    """A role cannot start on this machine as it is."""


class StateError(TutelageError):
    """A store on disk is damaged, or was written by a newer Tutelage."""


class RegistryError(TutelageError):
    """The model registry does not answer, or does not hold what was asked for."""


class ModelFolderError(TutelageError):
    """A student's folder is incomplete, altered, or of an unknown architecture."""


class DataError(TutelageError):
    """A data file cannot be used as it is."""


class NotificationError(TutelageError):
    """A notification could not be delivered. The message names no address: these hold secrets."""


class TeacherError(TutelageError):
    """The teacher refused, failed, or may not be used for this."""


class BudgetExceededError(TeacherError):
    """The next call could exceed the announced budget, or the account at the provider has no credit left."""


class TeacherTimeoutError(TeacherError):
    """The teacher did not answer in time, however often it was asked."""


class UnreadableAnswerError(TeacherError):
    """The teacher answered, but not with a chat completion."""


class PermissionDeniedError(TeacherError):
    """The settings do not permit this use of the teacher or of the data."""


class ApiError(TutelageError):
    """An error for an HTTP client, with what OpenAI's error shape needs."""

    status: int = 500
    type: str = "server_error"
    code: str | None = None
    headers: Sequence[tuple[bytes, bytes]] = ()
    """Further headers of the answer."""

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.param = param
        self.retry_after = retry_after
        if code is not None:
            self.code = code


class InvalidRequestError(ApiError):
    """The request cannot be understood."""

    status = 400
    type = "invalid_request_error"


class AuthenticationError(ApiError):
    """The request carries no API key, or none that is valid here. The message never repeats what it carries."""

    status = 401
    type = "invalid_request_error"
    code: str | None = "invalid_api_key"
    headers: Sequence[tuple[bytes, bytes]] = ((b"www-authenticate", b"Bearer"),)


class KeyNotAllowedError(ApiError):
    """The API key is valid, and may not use this task."""

    status = 403
    type = "invalid_request_error"
    code: str | None = "model_not_allowed"


class NotFoundError(ApiError):
    """There is nothing at this address, or no such exchange."""

    status = 404
    type = "invalid_request_error"
    code: str | None = "not_found"


class ModelNotFoundError(NotFoundError):
    """The request names a model that is neither a task nor an alias of one."""

    code: str | None = "model_not_found"


class MethodNotAllowedError(ApiError):
    """The address exists, but not for this method."""

    status = 405
    type = "invalid_request_error"
    code: str | None = "method_not_allowed"


class RequestTimeoutError(ApiError):
    """The client took too long to send its request."""

    status = 408
    type = "invalid_request_error"
    code: str | None = "request_timeout"


class BodyTooLargeError(ApiError):
    """The body exceeds the configured limit."""

    status = 413
    type = "invalid_request_error"
    code: str | None = "body_too_large"


class OverloadedError(ApiError):
    """More is under way than is allowed; nothing was queued."""

    status = 429
    type = "rate_limit_error"
    code: str | None = "overloaded"


class RateLimitedError(ApiError):
    """More requests or tokens a minute than the key or the task may have."""

    status = 429
    type = "rate_limit_error"
    code: str | None = "rate_limit_exceeded"


class QuotaExceededError(ApiError):
    """The dollars of the key or the task are spent: trying again does not help before the day or the month is over."""

    status = 429
    type = "insufficient_quota"
    code: str | None = "insufficient_quota"
    headers: Sequence[tuple[bytes, bytes]] = ((b"x-should-retry", b"false"),)


class HeadTooLargeError(ApiError):
    """The head of a request is larger than any that means well."""

    status = 431
    type = "invalid_request_error"
    code: str | None = "head_too_large"


class InternalError(ApiError):
    """A defect of ours. The details are in the log, never in the answer."""

    code: str | None = "internal_error"


class UpstreamError(ApiError):
    """Whoever should have answered failed or answered with rubbish."""

    status = 502
    type = "server_error"
    code: str | None = "upstream_error"


class UnavailableError(ApiError):
    """Nobody can answer at the moment."""

    status = 503
    type = "server_error"
    code: str | None = "unavailable"


class BreakerOpenError(UnavailableError):
    """Whoever should answer has failed too often lately and is left alone for a moment."""

    code: str | None = "breaker_open"


class DeadlineError(ApiError):
    """Nobody answered in time. A client that tries again by itself would have the same work begun once more."""

    status = 504
    type = "server_error"
    code: str | None = "deadline_exceeded"
    headers: Sequence[tuple[bytes, bytes]] = ((b"x-should-retry", b"false"),)
