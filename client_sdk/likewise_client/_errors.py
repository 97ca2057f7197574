"""Every error of this package.

LikewiseClientError
├── InvalidInput (also a ValueError)   this side: cannot be encoded or sent; nothing left the device
├── Unavailable                        worth trying again later, or computing on the device
│   ├── ConnectionFailed               no answer: refused, reset, no route, TLS
│   └── TimedOut                       no answer in time
├── MalformedAnswer                    an answer that the protocol does not allow
└── ServerProblem                      the server said no: slug, status, title, detail (RFC 9457)
    ├── BadRequest               400
    │   └── UndecodableInput     400
    ├── Unauthorized             401
    ├── Forbidden                403
    ├── NotFound                 404
    │   ├── UnknownFunction      404
    │   └── UnknownEntry         404
    ├── Conflict                 409
    ├── TooLarge                 413
    ├── UnsupportedMediaType     415
    ├── InvalidValue             422
    │   └── InvalidFunction      422
    ├── ModelFailed              500
    ├── Overloaded (also Unavailable)  429, 503, with retry_after_s
    ├── NotCached                504
    └── DeadlineExceeded (also TimedOut)  504
"""

from __future__ import annotations


class LikewiseClientError(Exception):
    """Base of everything this package raises on purpose."""


class InvalidInput(LikewiseClientError, ValueError):
    """An input, key, result or argument that cannot be sent; the message says what to do."""


class Unavailable(LikewiseClientError):
    """The server cannot answer now; what a device does meanwhile is compute for itself."""


class ConnectionFailed(Unavailable):
    """No connection, or one that broke.

    `sent`: whether the server may have seen the request. False means it certainly has not.
    """

    def __init__(self, message: str, *, sent: bool = False) -> None:
        super().__init__(message)
        self.sent = sent


class TimedOut(Unavailable):
    """No answer within the client's timeout, or the call's deadline. The server may have seen the request."""


class MalformedAnswer(LikewiseClientError):
    """An answer that the protocol does not allow: another kind of server, or one key taken for several."""


class ServerProblem(LikewiseClientError):
    """The server answered with a problem document (RFC 9457), or with a bare error status."""

    def __init__(self, status: int, title: str, detail: str = "", slug: str = "") -> None:
        super().__init__(f"{title} ({status}): {detail}" if detail else f"{title} ({status})")
        self.status = status
        """HTTP status, 400 to 599."""
        self.title = title
        """Short and the same for all problems of this type."""
        self.detail = detail
        """What is wrong with this request and what to do; may be empty."""
        self.slug = slug
        """Last part of the problem type, stable to test, such as "unknown-function"; empty without one."""

    def __reduce__(self) -> tuple[type[ServerProblem], tuple[int, str, str, str]]:
        """Pickle by what it was made of, so that it crosses process borders."""
        return type(self), (self.status, self.title, self.detail, self.slug)


class BadRequest(ServerProblem):
    """The bytes do not parse."""


class UndecodableInput(BadRequest):
    """An input that is not what its media type says."""


class Unauthorized(ServerProblem):
    """No access key, or an unknown one; see `access_key` and LIKEWISE_ACCESS_KEY."""


class Forbidden(ServerProblem):
    """The access key lacks the scope that this takes."""


class NotFound(ServerProblem):
    """No such thing on the server."""


class UnknownFunction(NotFound):
    """No function of that name and version."""


class UnknownEntry(NotFound):
    """No entry with that id."""


class Conflict(ServerProblem):
    """Cannot be done in this state."""


class TooLarge(ServerProblem):
    """An input or result over the server's limit."""


class UnsupportedMediaType(ServerProblem):
    """A media type that the function does not take."""


class InvalidValue(ServerProblem):
    """Well-formed but not acceptable: a wrong dimension, NaN, out of range."""


class InvalidFunction(InvalidValue):
    """A function that cannot be served."""


class ModelFailed(ServerProblem):
    """The model raised on the server."""


class Overloaded(ServerProblem, Unavailable):
    """The server's queue is full."""

    retry_after_s: float = 0.0
    """Seconds after which the server wants to be asked again; 0 where it did not say."""


class NotCached(ServerProblem):
    """`only-if-cached`, and nothing that is safe to reuse."""


class DeadlineExceeded(ServerProblem, TimedOut):
    """The call's deadline passed while its input waited for the model; it was not computed."""


BY_SLUG: dict[str, type[ServerProblem]] = {
    "bad-request": BadRequest,
    "undecodable-input": UndecodableInput,
    "unauthorized": Unauthorized,
    "forbidden": Forbidden,
    "not-found": NotFound,
    "unknown-function": UnknownFunction,
    "unknown-entry": UnknownEntry,
    "conflict": Conflict,
    "too-large": TooLarge,
    "unsupported-media-type": UnsupportedMediaType,
    "invalid-value": InvalidValue,
    "invalid-function": InvalidFunction,
    "model-failed": ModelFailed,
    "overloaded": Overloaded,
    "not-cached": NotCached,
    "deadline-exceeded": DeadlineExceeded,
}

BY_STATUS: dict[int, type[ServerProblem]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    413: TooLarge,
    415: UnsupportedMediaType,
    422: InvalidValue,
    429: Overloaded,
    503: Overloaded,
}
"""For answers without a type that this version knows: a proxy's, or a newer server's."""
