"""Methods that compute some frames in full and none in part: skipping, and key frames whose features are moved."""

from __future__ import annotations

import cv2
import numpy as np

from likewise.types import Tensor
from likewise.video.layers import Floats
from likewise.video.method import Frame, Thresholds
from likewise.video.methods.base import Checked
from likewise.video.model import VideoModel

SKIP_SHARE = 0.02
"""Share of changed blocks up to which a frame has the last one's answer."""
SKIP_MOST = 30
"""Frames in a row that have it at most."""
KEY_EVERY = 2
"""Of so many frames one is computed in full; more often than not the next ones' features have moved too far."""
DETECT = Thresholds(0.0, 15.0, 4, float("inf"))


class _Whole(Checked):
    """What both keep: the last frame that was computed, and what came out."""

    def __init__(self, model: VideoModel, epsilon: float = 0.05) -> None:
        super().__init__(model, epsilon)
        self.last: Floats | None = None
        self.outputs: tuple[Tensor, ...] = ()
        self.since = 0

    @property
    def nbytes(self) -> int:
        """See `Method.nbytes`."""
        return (self.last.nbytes if self.last is not None else 0) + sum(each.nbytes for each in self.outputs)


class Skip(_Whole):
    """The last answer once more, where little has changed since it was computed."""

    def frame(self, given: Floats) -> Frame | None:
        """See `Method.frame`."""
        if self.last is not None and self.since < SKIP_MOST:
            dirty = self.change.find(given, self.last, DETECT)
            if dirty <= SKIP_SHARE:
                self.since += 1
                return Frame(self.outputs, 0.0, dirty)
        self.last, self.since = given, 0
        self.outputs = self.model.run(given)
        return Frame(self.outputs, 1.0, 1.0, full=True)


class KeyFrame(_Whole):
    """Features of key frames, moved along the optical flow; the rest of the model runs on them.

    Source: Zhu et al., Deep Feature Flow, CVPR 2017, with the flow of Kroeger et al. (DIS) in place of a network's.
    """

    def __init__(self, model: VideoModel, epsilon: float = 0.05) -> None:
        super().__init__(model, epsilon)
        self._cut = model.cut
        self._halves = None if self._cut is None else model.halves(self._cut)
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self._features: Floats | None = None
        self._work = 0.0
        if self._cut is not None:
            self._work = self._share(self._cut)

    def _share(self, cut: str) -> float:
        """Return the share of the work that comes after the cut."""
        plan, seen, work = self.model.plan, {cut}, 0
        for layer in plan.layers:
            if any(name in seen for name in layer.inputs):
                seen.add(layer.output)
                work += layer.work * plan.sizes[layer.output].height * plan.sizes[layer.output].width
        return work / max(plan.work, 1)

    @property
    def nbytes(self) -> int:
        """See `Method.nbytes`."""
        return super().nbytes + (self._features.nbytes if self._features is not None else 0)

    def frame(self, given: Floats) -> Frame | None:
        """See `Method.frame`."""
        if self._halves is None:
            return None
        first, second = self._halves
        if self.last is None or self._features is None or self.since + 1 >= KEY_EVERY:
            *outputs, features = first.run({self.model.plan.input: given[None]})
            self.last, self.since = given, 0
            self.outputs, self._features = tuple(outputs), features
            return Frame(self.outputs, 1.0, 1.0, full=True)
        self.since += 1
        dirty = self.change.find(given, self.last, DETECT)
        if not dirty:
            return Frame(self.outputs, 0.0, 0.0)
        flow = self._flow.calc(self._gray(given), self._gray(self.last), None)  # type: ignore[call-overload]
        _, _, height, width = self._features.shape
        small = cv2.resize(flow, (width, height), interpolation=cv2.INTER_AREA)
        x = np.arange(width, dtype=np.float32)[None] + small[..., 0] * np.float32(width / given.shape[2])
        y = np.arange(height, dtype=np.float32)[:, None] + small[..., 1] * np.float32(height / given.shape[1])
        warped = np.stack(
            [cv2.remap(each, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) for each in self._features[0]]
        )
        outputs = second.run({str(self._cut): warped[None]})
        return Frame(tuple(outputs), self._work, dirty)

    def _gray(self, given: Floats) -> Tensor:
        levels = (given / self.model.unit[:, None, None]).mean(0)
        gray: Tensor = np.clip(levels - levels.min(), 0, 255).astype(np.uint8)
        return gray
