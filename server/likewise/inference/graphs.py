"""Pieces of ONNX graphs that other rooms make: simplified, run with many inputs, or as one matrix product."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from likewise.errors import InvalidFunction, ModelFailed
from likewise.inference.model import first_line, session_options
from likewise.types import Tensor

Floats = NDArray[np.float32]
Product = Callable[[Floats, Floats], None]
"""Writes rows (n, k) times a fixed matrix (k, m) to the second argument (n, m)."""


def _options(threads: int = 1) -> onnxruntime.SessionOptions:
    options = session_options(threads)
    options.enable_mem_pattern = False  # shapes vary from frame to frame
    return options


def simplified(model: bytes, name: str) -> bytes:
    """Return an ONNX model with constants folded, normalization too, and identities left out, in standard operators.

    name: how errors call it. Raises InvalidFunction.
    """
    options = _options()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    with tempfile.TemporaryDirectory(prefix="likewise-") as folder:
        path = Path(folder) / "model.onnx"
        options.optimized_model_filepath = str(path)
        try:
            onnxruntime.InferenceSession(model, sess_options=options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime raises a family without a common base
            raise InvalidFunction(f"{name}: cannot be read for streams: {first_line(error)}") from error
        return path.read_bytes()


class Piece:
    """A part of a model, from any number of inputs to its outputs. Any thread may run it."""

    def __init__(self, model: bytes, threads: int = 1) -> None:
        """Load it. Raises InvalidFunction."""
        try:
            self._session = onnxruntime.InferenceSession(
                model, sess_options=_options(threads), providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # as above
            raise InvalidFunction(f"A part of a model cannot be loaded: {first_line(error)}") from error

    def run(self, inputs: Mapping[str, Tensor], outputs: Sequence[str] | None = None) -> list[Tensor]:
        """Return the outputs, those named or all. Raises ModelFailed."""
        try:
            return list(self._session.run(None if outputs is None else list(outputs), dict(inputs)))
        except Exception as error:  # as above
            raise ModelFailed(f"A part of a model raised: {first_line(error)}") from error


def peeker(model: bytes, threads: int = 1) -> Callable[[Tensor], dict[str, Tensor]]:
    """Return a function from a batch to all outputs by name, of a model with one input.

    Raises InvalidFunction where ONNX Runtime does not load it; the function raises ModelFailed.
    """
    piece = Piece(model, threads)
    (given,), names = piece._session.get_inputs(), [each.name for each in piece._session.get_outputs()]
    return lambda batch: dict(zip(names, piece.run({given.name: batch}), strict=True))


def product(model: bytes) -> Product:
    """Return the matrix product of a model with input `rows` and output `product`. Any thread may call it."""
    session = Piece(model)._session
    threads = threading.local()  # what is bound belongs to one call at a time

    def run(rows: Floats, out: Floats) -> None:
        binding = getattr(threads, "binding", None)
        if binding is None:
            binding = threads.binding = session.io_binding()
        binding.bind_input("rows", "cpu", 0, np.float32, rows.shape, rows.ctypes.data)
        binding.bind_output("product", "cpu", 0, np.float32, out.shape, out.ctypes.data)
        session.run_with_iobinding(binding)

    return run
