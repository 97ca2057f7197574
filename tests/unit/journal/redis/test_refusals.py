"""Refusals: which say something of the server, and that each comes with a remedy."""

from __future__ import annotations

import pytest
from redis import exceptions
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    MovedError,
    OutOfMemoryError,
    RedisClusterException,
    ResponseError,
)

from likewise.journal.redis.refusals import is_about_the_data, refusal


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("WRONGTYPE Operation against a key holding the wrong kind of value", True),
        ("ERR wrong number of arguments", True),
        ("READONLY You can't write against a read only replica.", False),
        ("MISCONF Redis is configured to save RDB snapshots", False),
        ("NOREPLICAS Not enough good replicas to write.", False),
        ("MASTERDOWN Link with MASTER is down", False),
    ],
)
def test_refusals_for_the_servers_state_are_told_from_those_of_a_command(text: str, data: bool) -> None:
    """The first end connections, the others would end them in vain."""
    assert is_about_the_data(ResponseError(text)) is data
    assert not is_about_the_data(BusyLoadingError(text))


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (OutOfMemoryError("command not allowed when used memory > 'maxmemory'."), "raise its maxmemory"),
        (AuthenticationError("Authentication required."), "write redis://USER:PASSWORD@HOST:PORT/0"),
        (ResponseError("WRONGPASS invalid username-password pair"), "write redis://USER:PASSWORD@HOST:PORT/0"),
        (MovedError("866 127.0.0.1:7001"), r"write redis\+cluster://HOST:PORT"),
        (ResponseError("MISCONF Redis is configured to save RDB snapshots"), "the disk of its machine"),
        (ResponseError("WRONGTYPE Operation against a key"), "the keys of the journal are its alone"),
        (RedisClusterException("Cluster mode is not enabled on this node"), "See CLUSTER INFO"),
        (exceptions.ConnectionError("Error 111 connecting to 127.0.0.1:1."), "can be reached"),
        (exceptions.TimeoutError("Timeout reading from here"), "can be reached"),
        (AttributeError("'NoneType' object has no attribute 'writelines'"), "can be reached"),
    ],
)
def test_each_comes_with_a_remedy(error: Exception, remedy: str) -> None:
    """An operator reads what to do, not what the client library calls it."""
    with pytest.raises(Exception, match=remedy):
        raise refusal(error)
