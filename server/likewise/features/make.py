"""Feature extractors by the names that functions use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from likewise.errors import InvalidFunction
from likewise.features.audio import LogMelExtractor, MfccExtractor
from likewise.features.content import BytesExtractor, PoolExtractor
from likewise.features.embedding import LayerExtractor, OnnxExtractor
from likewise.features.image import ColorExtractor, DctExtractor, GrayExtractor, HogExtractor
from likewise.features.vector import VectorExtractor
from likewise.ports import Extractor

_CLASSES: Mapping[str, Callable[..., Extractor]] = {
    "gray": GrayExtractor,
    "color": ColorExtractor,
    "dct": DctExtractor,
    "hog": HogExtractor,
    "mfcc": MfccExtractor,
    "logmel": LogMelExtractor,
    "vector": VectorExtractor,
    "pool": PoolExtractor,
    "bytes": BytesExtractor,
    "onnx": OnnxExtractor,
    "layer": LayerExtractor,
}
KINDS: Mapping[str, str] = {
    "gray": "image",
    "color": "image",
    "dct": "image",
    "hog": "image",
    "mfcc": "audio",
    "logmel": "audio",
    "vector": "array",
    "pool": "array",
    "bytes": "bytes",
}
"""The kind of input that an extractor takes; `onnx` and `layer` take any."""
EXTRACTORS = tuple(_CLASSES)
METRICS = ("cosine", "l2")


def make_extractor(name: str, kind: str, metric: str = "cosine", **options: Any) -> Extractor:
    """Return the feature extractor of that name for inputs of that kind ("image", "audio", "array" or "bytes").

    options: hog: color_weight; mfcc: sample_rate, coefficients, segments, bands; logmel: sample_rate, segments,
    bands; vector: dimension; onnx, layer: run, prepare, dimension (see OnnxExtractor).
    Raises InvalidFunction for an unknown name, a kind it does not take, or options it does not have.
    """
    if name not in _CLASSES:
        raise InvalidFunction(f"There is no extractor {name!r}; use one of {', '.join(EXTRACTORS)}.")
    if metric not in METRICS:
        raise InvalidFunction(f"metric is {metric!r}; use one of {', '.join(METRICS)}.")
    if KINDS.get(name, kind) != kind:
        fitting = [other for other in EXTRACTORS if KINDS.get(other, kind) == kind]
        raise InvalidFunction(f"The extractor {name!r} takes no {kind}; use one of {', '.join(fitting)}.")
    try:
        return _CLASSES[name](metric=metric, **options)
    except TypeError as error:
        raise InvalidFunction(f"The extractor {name!r} was given the wrong options: {error}.") from error
