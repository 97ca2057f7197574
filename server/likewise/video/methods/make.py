"""The factory of video methods."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from likewise.errors import InvalidValue
from likewise.video.method import Method
from likewise.video.methods.auto import Auto
from likewise.video.methods.cbinfer import CBinfer
from likewise.video.methods.deepcache import DeepCache
from likewise.video.methods.deepmon import DeepMon
from likewise.video.methods.whole import KeyFrame, Skip
from likewise.video.model import VideoModel

METHODS: Final[Mapping[str, Callable[[VideoModel, float], Method]]] = {
    "auto": Auto,
    "cbinfer": CBinfer,
    "deepmon": DeepMon,
    "deepcache": DeepCache,
    "skip": Skip,
    "keyframe": KeyFrame,
}
"""By name: makes one for a stream of a model; the number is the share of answers that may be wrong."""


def make_method(name: str, model: VideoModel, epsilon: float = 0.05) -> Method:
    """Return a method for one new stream. Raises InvalidValue for a name that is none."""
    if name not in METHODS:
        raise InvalidValue(f"There is no video method `{name[:64]}`; there are {', '.join(METHODS)}.")
    return METHODS[name](model, epsilon)
