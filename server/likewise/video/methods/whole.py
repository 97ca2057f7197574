"""Methods that compute some frames in full and none in part: skipping, and key frames whose features are moved."""

from __future__ import annotations

import cv2
import numpy as np

from likewise.types import Tensor
from likewise.video.layers import Floats
from likewise.video.method import Frame, Thresholds
from likewise.video.methods.answered import Answered
from likewise.video.methods.base import Checked
from likewise.video.model import VideoModel

SKIP_SHARE = 0.02
"""Share of changed blocks up to which a frame has the last one's answer."""
SKIP_MOST = 30
"""Frames in a row that have it at most."""
KEY_EVERY = 2
"""Of so many frames one is computed in full; more often than not the next ones' features have moved too far."""
DETECT = Thresholds(0.0, 15.0, 4, float("inf"))


class Skip(Checked):
    """The last answer once more, where little has changed since it was computed."""

    def __init__(self, model: VideoModel, epsilon: float = 0.05) -> None:
        super().__init__(model, epsilon)
        self._last = Answered(model)

    @property
    def nbytes(self) -> int:
        """See `Method.nbytes`."""
        return self._last.nbytes

    def frame(self, given: Floats) -> Frame | None:
        """See `Method.frame`."""
        last = self._last
        if last.frame is not None and last.since < SKIP_MOST:
            dirty = self.change.find(given, last.frame, DETECT)
            if dirty <= SKIP_SHARE:
                return last.again(dirty)
        return last.whole(given)


class KeyFrame(Checked):
    """Features of key frames, moved along the optical flow; the rest of the model runs on them.

    Source: Zhu et al., Deep Feature Flow, CVPR 2017, with the flow of Kroeger et al. (DIS) in place of a network's.
    """

    def __init__(self, model: VideoModel, epsilon: float = 0.05) -> None:
        super().__init__(model, epsilon)
        self._last = Answered(model)
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
        return self._last.nbytes + (self._features.nbytes if self._features is not None else 0)

    def frame(self, given: Floats) -> Frame | None:
        """See `Method.frame`."""
        if self._halves is None:
            return None
        first, second = self._halves
        last = self._last
        if last.frame is None or self._features is None or last.since + 1 >= KEY_EVERY:
            *outputs, features = first.run({self.model.plan.input: given[None]})
            last.keep(given, tuple(outputs))
            self._features = features
            return Frame(last.outputs, 1.0, 1.0, full=True)
        dirty = self.change.find(given, last.frame, DETECT)
        found = last.again(dirty)
        if not dirty:
            return found
        flow = self._flow.calc(self._gray(given), self._gray(last.frame), None)  # type: ignore[call-overload]
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
