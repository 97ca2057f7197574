"""Key networks as ONNX files: what goes into one, what a key takes by it, and how it is written beside the spec."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from likewise.features.embedding import OnnxExtractor
from likewise.features.prepare import Prepare
from likewise.files import PUBLIC, write_atomic
from likewise.inference.model import OnnxModel
from likewise.tuning.candidates import Material
from likewise.tuning.timing import measured
from likewise.types import Tensor


def prepared(material: Material, prepare: Prepare) -> Tensor:
    """Return all inputs that were read as a network takes them, shape (n, ...)."""
    return np.stack([prepare(value) for value in material.values()])


def timed(content: bytes, prepare: Prepare, dimension: int, material: Material) -> float:
    """Return the seconds that a key takes by a file, the input being decoded."""
    (key_s,) = measured([OnnxExtractor(runner(content), prepare, dimension)], material.sample)
    return key_s


def runner(content: bytes) -> Callable[[Tensor], Tensor]:
    """Return what runs a file on one prepared input."""
    with tempfile.TemporaryDirectory(prefix="likewise-") as folder:
        path = Path(folder) / "key.onnx"
        path.write_bytes(content)
        return OnnxModel(path).run_one()


def write(name: str, content: bytes, options: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
    """Write a file into a version's folder, and return its table in [[keys]]. options: of its preparation."""
    file = f"key-{hashlib.sha256(content).hexdigest()[:12]}.onnx"
    write_atomic(folder / file, content, PUBLIC)
    return {"name": name, "extractor": "onnx", "metric": "cosine", "file": file, **options}
