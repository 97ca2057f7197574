"""What Redis refuses, whether that says something of the server or of the command, and what an operator can do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    MovedError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    ResponseError,
    SlotNotCoveredError,
    TryAgainError,
)

from likewise.errors import UNFIT, JournalError

_STATES = {
    "OOM": "has no memory left: raise its maxmemory, or lower stream_entries",
    "NOAUTH": "does not take the user and password of redis_url, or wants some: write redis://USER:PASSWORD@HOST:PORT/0",
    "NOPERM": "does not let this user do what a journal does: allow it the commands of streams, sets and hashes",
    "READONLY": "is a replica here, which takes no records: let redis_url name the primary",
    "MASTERDOWN": "is a replica here that has lost its primary: let redis_url name the primary, or bring it back",
    "LOADING": "is loading its data: wait until it has",
    "CLUSTERDOWN": "is a cluster here with slots that no master serves: bring those masters back, see CLUSTER INFO",
    "MOVED": "is part of a cluster here: write redis+cluster://HOST:PORT into redis_url",
    "TRYAGAIN": "is moving slots between masters: wait until it has",
    "MISCONF": "cannot write its own files: see the disk of its machine",
    "NOREPLICAS": "misses replicas that its min-replicas-to-write asks for: bring them back",
    "BUSY": "is busy with a script: wait, or end it with SCRIPT KILL",
    "UNBLOCKED": "changes its role: wait until it has",
}
"""What a server's refusal says of its own state, or of this connection's rights, by the word that it begins with."""
_SAME = {"WRONGPASS": "NOAUTH", "ASK": "MOVED"}
_CLASSES: tuple[tuple[type[Exception], str], ...] = (
    (OutOfMemoryError, "OOM"),
    (AuthenticationError, "NOAUTH"),
    (NoPermissionError, "NOPERM"),
    (ReadOnlyError, "READONLY"),
    (MasterDownError, "MASTERDOWN"),
    (BusyLoadingError, "LOADING"),
    (AskError, "MOVED"),
    (MovedError, "MOVED"),
    (TryAgainError, "TRYAGAIN"),
    (SlotNotCoveredError, "CLUSTERDOWN"),
    (ClusterDownError, "CLUSTERDOWN"),
)
"""The library has classes for some of them, whose text lacks the word."""


class CommandRefused(JournalError):
    """A server that works does not do what it was asked, such as to append to a key that is no stream."""


def is_about_the_data(error: Exception) -> bool:
    """Say whether an error is an answer to the command itself, such as WRONGTYPE, from a server that works."""
    return type(error) in (ResponseError, NoScriptError) and _state(error) == ""


def refusal(error: Exception) -> JournalError:
    """Return what to tell of an error of the client library, with a remedy where there is one."""
    state = _state(error)
    if state:
        return JournalError(f"Redis {_STATES[state]} ({state}).")
    if is_about_the_data(error):
        return CommandRefused(f"Redis refuses a command: {error}. See that the keys of the journal are its alone.")
    if isinstance(error, RedisClusterException) and not isinstance(error, RedisError):
        return JournalError(f"Redis does not act as a cluster: {error} See CLUSTER INFO, and redis_url.")
    said = str(error).rstrip(".")
    return JournalError(f"Redis does not answer: {type(error).__name__}: {said}. See that it runs and can be reached.")


@contextmanager
def understood() -> Iterator[None]:
    """Raise JournalError where an answer is not of the kind that the command has."""
    try:
        yield
    except UNFIT as error:
        raise JournalError(
            f"Redis answers what it should not: {type(error).__name__}: {str(error)[:200]}. See that redis_url names a "
            "Redis of version 6.2 or newer, and nothing else."
        ) from error


def _state(error: Exception) -> str:
    for kind, word in _CLASSES:
        if isinstance(error, kind):
            return word
    word = str(error).partition(" ")[0]
    word = _SAME.get(word, word)
    return word if isinstance(error, ResponseError) and word in _STATES else ""
