"""Pieces of ONNX graphs that other rooms make: simplified, run with many inputs, or measured."""

from __future__ import annotations

import json
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import onnxruntime

from likewise.errors import InvalidFunction, ModelFailed
from likewise.inference.model import first_line, session_options
from likewise.inference.run_limit import RUN_LIMIT, run_options
from likewise.types import Tensor


def _options(threads: int = 1) -> onnxruntime.SessionOptions:
    options = session_options(threads)
    options.enable_mem_pattern = False  # shapes vary from frame to frame
    return options


def simplified(model: bytes, name: str) -> bytes:
    """Return an ONNX model with constants folded, normalization too, and identities left out, in standard operators.

    name: how errors call it. Raises InvalidFunction.
    """
    return _rewritten(model, name, onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC, "cannot be read for streams")


def optimized(model: bytes, name: str) -> bytes:
    """Return what ONNX Runtime makes of a model on this machine, its own operators and layouts included.

    Its nodes are in the order in which they run. name: how errors call it. Raises InvalidFunction.
    """
    return _rewritten(model, name, onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL, "ONNX Runtime cannot load it")


def _rewritten(model: bytes, name: str, level: onnxruntime.GraphOptimizationLevel, failed: str) -> bytes:
    options = _options()
    options.graph_optimization_level = level
    with tempfile.TemporaryDirectory(prefix="likewise-") as folder:
        path = Path(folder) / "model.onnx"
        options.optimized_model_filepath = str(path)
        try:
            onnxruntime.InferenceSession(model, sess_options=options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime raises a family without a common base
            raise InvalidFunction(f"{name}: {failed}: {first_line(error)}") from error
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
            return list(
                RUN_LIMIT.run(partial(self._session.run, None if outputs is None else list(outputs), dict(inputs)))
            )
        except Exception as error:  # as above
            raise ModelFailed(f"A part of a model raised: {first_line(error)}") from error


def peeker(model: bytes, threads: int = 1) -> Callable[[Tensor], dict[str, Tensor]]:
    """Return a function from a batch to all outputs by name, of a model with one input.

    Raises InvalidFunction where ONNX Runtime does not load it; the function raises ModelFailed.
    """
    piece = Piece(model, threads)
    (given,), names = piece._session.get_inputs(), [each.name for each in piece._session.get_outputs()]
    return lambda batch: dict(zip(names, piece.run({given.name: batch}), strict=True))


class Timed:
    """A model that is run for its time, as a server runs it."""

    def __init__(self, model: bytes | Path, threads: int = 1) -> None:
        """Load it, from a file as a server does, or from memory. Raises InvalidFunction."""
        self._session = _timed(model, session_options(threads))

    def inputs(self) -> dict[str, tuple[str, list[int | str | None]]]:
        """Return type, as `tensor(float)`, and shape of the inputs by name."""
        return {each.name: (each.type, list(each.shape)) for each in self._session.get_inputs()}

    def run(self, inputs: Mapping[str, Tensor]) -> None:
        """Run it once, and drop what comes out. Raises ModelFailed."""
        _run(self._session, inputs)


def profiled(
    model: bytes, inputs: Mapping[str, Tensor], threads: int, more: Callable[[int], bool]
) -> list[dict[str, Any]]:
    """Run a model as a server does, and return what ONNX Runtime took down of each node that ran, in order.

    Each has a `name` that ends in `_kernel_time`, and `dur` in µs. more: whether to run it again after so many times.
    Raises InvalidFunction and ModelFailed.
    """
    options = session_options(threads)
    options.enable_profiling = True
    with tempfile.TemporaryDirectory(prefix="likewise-") as folder:
        options.profile_file_prefix = f"{folder}/profile"
        session = _timed(model, options)
        runs = 0
        while more(runs):
            _run(session, inputs)
            runs += 1
        events = json.loads(Path(session.end_profiling()).read_bytes())
    return [each for each in events if str(each.get("name", "")).endswith("_kernel_time")]


def _timed(model: bytes | Path, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
    try:
        return onnxruntime.InferenceSession(
            model if isinstance(model, bytes) else str(model), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # as above
        raise InvalidFunction(f"ONNX Runtime cannot load it: {first_line(error)}") from error


def _run(session: onnxruntime.InferenceSession, inputs: Mapping[str, Tensor]) -> None:
    try:
        session.run(None, dict(inputs))
    except Exception as error:  # as above
        raise ModelFailed(f"The model raised: {first_line(error)}") from error


@contextmanager
def ending_after(seconds: float) -> Iterator[onnxruntime.RunOptions]:
    """Yield options of runs that are given up so many seconds from now: they raise, and `terminate` is true."""
    options = run_options()
    timer = threading.Timer(seconds, setattr, (options, "terminate", True))
    timer.daemon = True
    timer.start()
    try:
        yield options
    finally:
        timer.cancel()
