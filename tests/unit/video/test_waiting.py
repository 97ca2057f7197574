"""Frames that wait for their turn: bounded in number, bytes and time, and shared among accounts."""

from __future__ import annotations

import asyncio

import pytest

from likewise.errors import DeadlineExceeded, Overloaded
from likewise.requests import StreamTag
from likewise.video.stream import Stream
from likewise.video.waiting import FrameRoom

TAG = StreamTag("cam")


async def follow(
    room: FrameRoom, stream: Stream, account: str, go: asyncio.Event, size: int = 1, within_s: float = 1e9
) -> str:
    """Have a frame wait for its turn, and then for an event; return the account."""
    with room.place(account, size) as frame:
        async with stream.turn(TAG, room.waiting(frame, within_s)):
            await go.wait()
    return account


async def begun(*frames: object) -> list[asyncio.Task[str]]:
    """Begin frames, one after another."""
    tasks = []
    for each in frames:
        tasks.append(asyncio.ensure_future(each))  # type: ignore[call-overload]
        for _ in range(3):
            await asyncio.sleep(0)
    return tasks


@pytest.mark.parametrize(("limit", "limit_bytes"), [(4, 10**9), (100, 4)], ids=["number", "bytes"])
async def test_frames_beyond_the_room_are_refused_and_others_go_on(limit: int, limit_bytes: int) -> None:
    """The newest; the room is free again afterwards."""
    room, stream, go = FrameRoom(limit, limit_bytes), Stream(), asyncio.Event()
    tasks = await begun(*(follow(room, stream, "a", go) for _ in range(6)))
    assert len(room) == 4
    go.set()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(each, Overloaded) for each in found] == [False] * 4 + [True] * 2
    assert len(room) == 0
    assert not stream.busy


async def test_whoever_has_most_makes_room_for_others_and_keeps_the_frame_that_has_its_turn() -> None:
    """So one account cannot keep another out, nor be kept out by many small ones."""
    room, stream, other, go = FrameRoom(4), Stream(), Stream(), asyncio.Event()
    tasks = await begun(
        *(follow(room, stream, "greedy", go) for _ in range(4)), *(follow(room, other, "b", go) for _ in range(3))
    )
    go.set()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert ["refused" if isinstance(each, Overloaded) else each for each in found] == [
        "greedy", "greedy", "refused", "refused", "b", "b", "refused",
    ]  # fmt: skip
    assert len(room) == 0


async def test_a_single_frame_may_have_any_size() -> None:
    """It is bounded as a picture is."""
    room, go = FrameRoom(4, 10), asyncio.Event()
    go.set()
    assert await follow(room, Stream(), "a", go, 1000) == "a"


@pytest.mark.parametrize(("within_s", "error"), [(1e9, Overloaded), (0.001, DeadlineExceeded)])
async def test_nobody_waits_for_ever(within_s: float, error: type[Exception]) -> None:
    """Only waiting is limited: the frame that has its turn is computed to its end."""
    room, stream, go = FrameRoom(patience_s=0.01), Stream(), asyncio.Event()
    first, second = await begun(
        follow(room, stream, "a", go, within_s=within_s), follow(room, stream, "a", go, within_s=within_s)
    )
    with pytest.raises(error):
        await second
    assert not first.done()
    go.set()
    assert await first == "a"
    assert not stream.busy


async def test_a_client_that_leaves_frees_its_room() -> None:
    """Waiting or not."""
    room, stream, go = FrameRoom(), Stream(), asyncio.Event()
    tasks = await begun(*(follow(room, stream, "a", go) for _ in range(3)))
    for each in reversed(tasks):
        each.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert len(room) == 0
    assert not stream.busy
