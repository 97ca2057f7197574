"""Thin client for likewise, the edge cache for approximate computation reuse.

`Client` and `AsyncClient` are the way in; `likewise_client.testing` has a server for the tests of apps.
"""

from likewise_client._answer import Answer, Computed, Entry, Inserted, Outcome, Page, Ticket
from likewise_client._async_client import AsyncClient
from likewise_client._calls import CacheControl
from likewise_client._client import Client
from likewise_client._device.cache import DeviceCache, DeviceCacheInfo
from likewise_client._device.computing import OnDevice, OnDeviceInfo
from likewise_client._errors import (
    BadRequest,
    Conflict,
    ConnectionFailed,
    DeadlineExceeded,
    Forbidden,
    InvalidFunction,
    InvalidInput,
    InvalidValue,
    LikewiseClientError,
    MalformedAnswer,
    ModelFailed,
    NotCached,
    NotFound,
    Overloaded,
    ServerProblem,
    TimedOut,
    TooLarge,
    Unauthorized,
    Unavailable,
    UndecodableInput,
    UnknownEntry,
    UnknownFunction,
    UnsupportedMediaType,
)
from likewise_client._hedge import Hedge
from likewise_client._inserts import AsyncInserts, Inserts
from likewise_client._media import Sound
from likewise_client._nodes import Breaker
from likewise_client._retry import Retry
from likewise_client._reuse import KeyFunction, Reused
from likewise_client._stream import Stream
from likewise_client._telemetry import CacheInfo, Event
from likewise_client._typed import Detection, Detections, Label
from likewise_client._wire import Input

__version__ = "0.1.0"

__all__ = [
    "Answer",
    "AsyncClient",
    "AsyncInserts",
    "BadRequest",
    "Breaker",
    "CacheControl",
    "CacheInfo",
    "Client",
    "Computed",
    "Conflict",
    "ConnectionFailed",
    "DeadlineExceeded",
    "Detection",
    "Detections",
    "DeviceCache",
    "DeviceCacheInfo",
    "Entry",
    "Event",
    "Forbidden",
    "Hedge",
    "Input",
    "Inserted",
    "Inserts",
    "InvalidFunction",
    "InvalidInput",
    "InvalidValue",
    "KeyFunction",
    "Label",
    "LikewiseClientError",
    "MalformedAnswer",
    "ModelFailed",
    "NotCached",
    "NotFound",
    "OnDevice",
    "OnDeviceInfo",
    "Outcome",
    "Overloaded",
    "Page",
    "Retry",
    "Reused",
    "ServerProblem",
    "Sound",
    "Stream",
    "Ticket",
    "TimedOut",
    "TooLarge",
    "Unauthorized",
    "Unavailable",
    "UndecodableInput",
    "UnknownEntry",
    "UnknownFunction",
    "UnsupportedMediaType",
    "__version__",
]
