"""What is kept of streams: bounded in number and bytes, and shared among accounts."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace

from likewise.requests import StreamTag
from likewise.video.stream import StreamStore


def test_accounts_have_streams_of_their_own() -> None:
    """Two accounts that use one name share nothing."""
    store = StreamStore()
    assert store.get(("f@1", "a", "cam")) is not store.get(("f@1", "b", "cam"))
    store.forget("f@1")
    assert not len(store)


def test_an_account_with_many_streams_gives_up_its_own() -> None:
    """By number, and by the bytes that they hold; even where all of its streams have a frame under way."""
    store = StreamStore(limit_bytes=1000, limit=10)
    quiet = "f@1", "quiet", "cam"
    kept = store.get(quiet)
    _holds(store, quiet, 300)
    for number in range(100):
        store.get(("f@1", "loud", str(number)))
    assert len(store) == 10
    for number in range(90, 99):
        _holds(store, ("f@1", "loud", str(number)), 400)
        assert store.nbytes <= 1000
    assert store.get(quiet) is kept
    assert store.nbytes == sum(stream.nbytes for stream in store.of("f@1"))


async def test_streams_that_are_under_way_hold_no_more_than_the_limit() -> None:
    """A thousand cameras of one account, each with a frame in its turn."""
    store = StreamStore(limit_bytes=1000)
    async with contextlib.AsyncExitStack() as stack:
        for number in range(1000):
            place = "f@1", "a", str(number)
            await stack.enter_async_context(store.get(place).turn(StreamTag(str(number))))
            _holds(store, place, 100)
            assert store.nbytes <= 1000
    assert len(store) == 10


def _holds(store: StreamStore, place: tuple[str, str, str], nbytes: int) -> None:
    stream = store.get(place)
    stream.method = SimpleNamespace(nbytes=nbytes)  # type: ignore[assignment]
    store.settle(place, stream)
