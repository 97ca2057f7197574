"""Every error that may reach a person, with the HTTP status it suggests.

LikewiseError
├── BadRequest                400  malformed: bytes that are not what they claim to be
│   └── UndecodableInput      400
├── Unauthorized              401
├── Forbidden                 403
├── NotFound                  404
│   ├── UnknownFunction
│   └── UnknownEntry
├── MethodNotAllowed          405
├── RequestTimeout            408
├── Conflict                  409
│   └── LateFrame             409  of a stream that is further, where the client wants that told
├── TooLarge                  413
├── UnsupportedMediaType      415
├── ExpectationFailed         417
├── InvalidValue              422  well-formed, but not acceptable: wrong dimension, NaN, out of range
│   └── InvalidFunction       422  a function's spec or model; names the file, the field and the remedy
├── HeadTooLarge              431
├── ModelFailed               500
├── Overloaded                503  with retry_after_s
├── DeadlineExceeded          504  the time that the client gave it passed before it was computed
├── NotCached                 504  `only-if-cached` and nothing safe to reuse (RFC 9111, section 5.2.1.7)
├── SettingsError             (start-up only)
├── JournalError              503
└── StorageUnavailable        503  what was registered cannot be kept, or removed, on this disk
"""

from __future__ import annotations

UNFIT = (AttributeError, LookupError, TypeError, ValueError, OverflowError)
"""What comes of reading a document, such as a state that was kept or sent, that is not what it should be."""


class LikewiseError(Exception):
    """Base of everything this server raises on purpose.

    `detail` says what is wrong with this very request and what to do about it, in one or two sentences.
    """

    status = 500
    title = "Internal error"
    slug = "internal"
    """Last part of the problem type, stable for clients to test."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class BadRequest(LikewiseError):
    """The bytes do not parse."""

    status = 400
    title = "Bad request"
    slug = "bad-request"


class UndecodableInput(BadRequest):
    """An image, sound, array or JSON text that does not decode."""

    title = "Input cannot be decoded"
    slug = "undecodable-input"


class Unauthorized(LikewiseError):
    """No access key, or one that is not known."""

    status = 401
    title = "Access key needed"
    slug = "unauthorized"


class Forbidden(LikewiseError):
    """A known access key without the scope that this takes, or none where the request is not trusted without."""

    status = 403
    title = "Not allowed"
    slug = "forbidden"


class NotFound(LikewiseError):
    """No such thing here."""

    status = 404
    title = "Not found"
    slug = "not-found"


class UnknownFunction(NotFound):
    """No function of that name, or not in that version."""

    title = "Unknown function"
    slug = "unknown-function"


class UnknownEntry(NotFound):
    """No entry with that id."""

    title = "Unknown entry"
    slug = "unknown-entry"


class MethodNotAllowed(LikewiseError):
    """The route has no such method."""

    status = 405
    title = "Method not allowed"
    slug = "method-not-allowed"


class RequestTimeout(LikewiseError):
    """A request that did not arrive in time."""

    status = 408
    title = "Request took too long to arrive"
    slug = "request-timeout"


class ExpectationFailed(LikewiseError):
    """An Expect header that asks for something unknown."""

    status = 417
    title = "Expectation cannot be met"
    slug = "expectation-failed"


class HeadTooLarge(LikewiseError):
    """A request head over its limit."""

    status = 431
    title = "Request head too large"
    slug = "head-too-large"


class Conflict(LikewiseError):
    """It is there already, or it cannot be done in this state."""

    status = 409
    title = "Conflict"
    slug = "conflict"


class LateFrame(Conflict):
    """A frame that came after a newer one of its stream."""

    title = "Late frame"
    slug = "late-frame"


class TooLarge(LikewiseError):
    """A body, an input or a result over its limit."""

    status = 413
    title = "Too large"
    slug = "too-large"


class UnsupportedMediaType(LikewiseError):
    """A media type that this function does not take."""

    status = 415
    title = "Unsupported media type"
    slug = "unsupported-media-type"


class InvalidValue(LikewiseError):
    """It parses, but cannot be accepted: a wrong dimension, NaN, a number out of range."""

    status = 422
    title = "Invalid value"
    slug = "invalid-value"


class InvalidFunction(InvalidValue):
    """A function's spec, model or labels cannot be served; the detail names file, field and remedy."""

    title = "Invalid function"
    slug = "invalid-function"


class ModelFailed(LikewiseError):
    """The model raised, or returned what it should not."""

    status = 500
    title = "The model failed"
    slug = "model-failed"


class Overloaded(LikewiseError):
    """The queue for inference is full; try again after `retry_after_s` seconds."""

    status = 503
    title = "Overloaded"
    slug = "overloaded"

    def __init__(self, detail: str, retry_after_s: float = 1.0) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class DeadlineExceeded(LikewiseError):
    """The time that the client gave the request passed while it waited; it is not computed any more."""

    status = 504
    title = "Deadline exceeded"
    slug = "deadline-exceeded"


class NotCached(LikewiseError):
    """`Cache-Control: only-if-cached`, and nothing that is safe to reuse."""

    status = 504
    title = "Not cached"
    slug = "not-cached"


class SettingsError(LikewiseError):
    """A setting that cannot be used; raised at start-up alone."""

    slug = "settings"


class StorageUnavailable(LikewiseError):
    """The data folder cannot be written now: its disk is full, or it belongs to somebody else."""

    status = 503
    title = "Storage unavailable"
    slug = "storage"


class JournalError(LikewiseError):
    """The journal cannot be read or written."""

    status = 503
    title = "Journal unavailable"
    slug = "journal"
