"""The last frame that was computed, and its answer: what frames that are much like it are answered with."""

from __future__ import annotations

from likewise.types import Tensor
from likewise.video.layers import Floats
from likewise.video.method import Frame
from likewise.video.model import VideoModel


class Answered:
    """One frame with its answer. The frame is compared with what is stored, so slow changes are seen."""

    def __init__(self, model: VideoModel) -> None:
        self._model = model
        self.frame: Floats | None = None
        self.outputs: tuple[Tensor, ...] = ()
        self.since = 0
        """Frames that had this answer although they were a little different."""

    @property
    def nbytes(self) -> int:
        """Bytes that it takes."""
        return (self.frame.nbytes if self.frame is not None else 0) + sum(each.nbytes for each in self.outputs)

    def keep(self, frame: Floats, outputs: tuple[Tensor, ...]) -> None:
        """Take over a frame and its answer; whoever writes to the frame brings another answer."""
        self.frame, self.outputs, self.since = frame, outputs, 0

    def forget(self) -> None:
        """Have no answer."""
        self.frame, self.outputs = None, ()

    def again(self, dirty: float, same: bool = False) -> Frame:
        """Return the answer once more. same: whether the frame is the very same."""
        self.since += not same
        return Frame(self.outputs, 0.0, dirty)

    def whole(self, given: Floats) -> Frame:
        """Run the whole model on a frame, and keep what it answers. Raises ModelFailed."""
        self.keep(given, self._model.run(given))
        return Frame(self.outputs, 1.0, 1.0, full=True)
