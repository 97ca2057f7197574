"""The frames of one camera, in order, for one function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from likewise_client._wire import Input

One = TypeVar("One")


class Stream(Generic[One]):
    """What `client.stream` returns: sends frames to the node that keeps the stream's state."""

    def __init__(self, infer: Callable[..., One], function: str, name: str, drop_late: bool) -> None:
        self._infer = infer
        self.function = function
        self.name = name
        self._drop_late = drop_late

    def infer(self, frame: Input, *, media_type: str | None = None, number: int | None = None) -> One:
        """Return the function's result for the next frame; see `Client.infer`.

        number: the frame's place in the stream, ascending from 0 up, by which the server tells a late one. Without
            numbers wait for one answer before sending the next frame, or they may change places on their way.
        """
        return self._infer(
            self.function,
            frame,
            media_type=media_type,
            stream=self.name,
            drop_late=self._drop_late,
            frame_number=number,
        )
