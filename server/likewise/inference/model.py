"""ONNX models; the only file that imports ONNX Runtime."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from likewise.errors import InvalidFunction, ModelFailed
from likewise.inference.onnx_file import external_paths
from likewise.types import Tensor

onnxruntime.set_default_logger_severity(4)  # its errors reach us as exceptions; no second copy on stderr

_DTYPES: dict[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
}
_OUTPUTS = {*_DTYPES, "tensor(uint16)", "tensor(uint32)", "tensor(uint64)", "tensor(int16)"}
"""What an output may be: what NumPy has a type for, and JSON numbers."""


Bound = tuple[onnxruntime.IOBinding, Tensor, list[Tensor]]
"""A binding with the buffers that it reads its input from and writes its outputs to, without the batch axis."""


_LARGE_BYTES = 1 << 15
"""An output that is handed over in the very memory that it was written to."""


class OnnxModel:
    """A loaded ONNX model with one input whose first axis is the batch.

    `shape` is the input's shape without the batch axis; None stands for an axis of any length. `outputs` are the names
    of the outputs that are computed, `files` its own and those beside it that hold some of its numbers.
    """

    def __init__(self, path: Path, threads: int = 1, *, first_output: bool = False) -> None:
        """Load the file. Raises InvalidFunction, naming the file and what is wrong with it.

        first_output: leave the others out. Its external data have to lie in its folder.
        """
        self.files = (path, *external_paths(path, path.parent))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        # Spinning workers would take the event loop's core between two inferences.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 4
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), sess_options=options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime raises a family without a common base
            raise InvalidFunction(
                f"{path}: ONNX Runtime cannot load it: {_first_line(error)}; export it again"
            ) from error
        inputs = self._session.get_inputs()
        if len(inputs) != 1:
            names = ", ".join(f"`{each.name}`" for each in inputs)
            raise InvalidFunction(f"{path}: takes {len(inputs)} inputs ({names}); export it with exactly one")
        if inputs[0].type not in _DTYPES:
            raise InvalidFunction(
                f"{path}: input `{inputs[0].name}` is {inputs[0].type}; export it with a numeric tensor"
            )
        axes = list(inputs[0].shape)
        if not axes:
            raise InvalidFunction(f"{path}: input `{inputs[0].name}` is a scalar; the first axis has to be the batch")
        if isinstance(axes[0], int) and axes[0] != 1:
            raise InvalidFunction(f"{path}: has a fixed batch of {axes[0]}; export it with a dynamic batch axis, or 1")
        self.path = path
        self.dynamic_batch = not isinstance(axes[0], int)
        self.shape: tuple[int | None, ...] = tuple(axis if isinstance(axis, int) else None for axis in axes[1:])
        self.dtype = np.dtype(_DTYPES[inputs[0].type])
        outputs = self._session.get_outputs()[: 1 if first_output else None]
        for output in outputs:
            if output.type not in _OUTPUTS:
                raise InvalidFunction(
                    f"{path}: output `{output.name}` is {output.type}; export it with tensors of numbers alone"
                    + (", for scikit-learn with `zipmap` off" if output.type.startswith(("seq", "map")) else "")
                )
        self.outputs: tuple[str, ...] = tuple(each.name for each in outputs)
        self._fetched = None if not first_output else list(self.outputs)
        self._input_name = inputs[0].name
        self.metadata: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)

    def check(self, shape: Sequence[int], origin: str) -> None:
        """Raise InvalidFunction unless a tensor of that shape, without the batch axis, can be its input."""
        fits = len(shape) == len(self.shape) and all(
            want is None or want == have for want, have in zip(self.shape, shape, strict=True)
        )
        if not fits:
            wanted = "×".join("any" if axis is None else str(axis) for axis in self.shape)
            channels_last = len(shape) == 3 and self.shape[-1:] in ((1,), (3,)) and self.shape[:1] not in ((1,), (3,))
            remedy = (
                "its channels come last (NHWC): export it with channels first (NCHW), or with a Transpose before it"
                if channels_last
                else "correct the spec's size (width, height), channels, sample_rate or seconds"
            )
            raise InvalidFunction(
                f"{origin}: {self.path.name} takes an input of {wanted or 'one number'}, but the spec prepares "
                f"{'×'.join(map(str, shape))}; {remedy}"
            )

    def run(self, batch: Tensor) -> Sequence[Tensor]:
        """Return the outputs for a batch, each with the batch as its first axis. Blocks; may be called from any thread.

        batch: shape (n, ...), converted to the model's dtype; n is 1 unless `dynamic_batch`.
        Raises ModelFailed where the model raises, or an output has no batch axis of n.
        """
        try:
            outputs = self._session.run(self._fetched, {self._input_name: np.ascontiguousarray(batch, self.dtype)})
        except Exception as error:  # as above: no common base
            raise ModelFailed(f"{self.path.name} raised: {_first_line(error)}") from error
        for name, output in zip(self.outputs, outputs, strict=True):
            if not isinstance(output, np.ndarray) or output.ndim == 0 or output.shape[0] != len(batch):
                raise ModelFailed(f"{self.path.name}: output `{name}` has no batch axis of {len(batch)}")
        return list(outputs)

    def run_one(self) -> Callable[[Tensor], Tensor]:
        """Return a function from one input to the first output for it; see `run_each`. A lone number has shape (1,)."""
        run_each = self.run_each(1)
        return lambda one: np.atleast_1d(run_each(one)[0])

    def run_each(self, count: int | None = None) -> Callable[[Tensor], list[Tensor]]:
        """Return a function from one input to its outputs, all without the batch axis, copied.

        count: the first so many outputs alone. Faster than `run` where the model is small: inputs and outputs stay
        bound between calls, on each thread its own. Where the input may have any length, or the model takes or gives
        what is not float32, it is `run`. Raises as `run`.
        """

        def plain(one: Tensor) -> list[Tensor]:
            return [output[0] for output in self.run(one[None])[:count]]

        if None in self.shape:
            return plain
        zeros = np.zeros((1, *(axis or 1 for axis in self.shape)), self.dtype)
        first = self.run(zeros)[:count]
        if {zeros.dtype, *(each.dtype for each in first)} != {np.dtype(np.float32)}:
            return plain
        session, threads = self._session, threading.local()
        larges = [each.nbytes > _LARGE_BYTES for each in first]
        fresh = [at for at, large in enumerate(larges) if large]

        def bind() -> Bound:
            binding, given, taken = session.io_binding(), np.zeros_like(zeros), [np.zeros_like(each) for each in first]
            binding.bind_input(self._input_name, "cpu", 0, np.float32, given.shape, given.ctypes.data)
            for name, each in zip(self.outputs, taken, strict=False):
                binding.bind_output(name, "cpu", 0, np.float32, each.shape, each.ctypes.data)
            threads.bound = bound = (
                binding,
                given.reshape(given.shape[1:]),
                [each.reshape(each.shape[1:]) for each in taken],
            )
            return bound

        def run_each(one: Tensor) -> list[Tensor]:
            bound: Bound = getattr(threads, "bound", None) or bind()
            binding, given, taken = bound
            try:
                for at in fresh:  # a new one each time is cheaper than a copy
                    taken[at] = np.empty_like(taken[at])
                    binding.bind_output(
                        self.outputs[at], "cpu", 0, np.float32, (1, *taken[at].shape), taken[at].ctypes.data
                    )
                given[...] = one
                session.run_with_iobinding(binding)
            except Exception as error:  # as above
                raise ModelFailed(f"{self.path.name} raised: {_first_line(error)}") from error
            return [each if large else each.copy() for each, large in zip(taken, larges, strict=True)]

        return run_each


def peeker(content: bytes, threads: int = 1) -> Callable[[Tensor], dict[str, Tensor]]:
    """Return a function from a batch to all outputs by name, of a model that was just put together in memory.

    Raises InvalidFunction where ONNX Runtime does not load it; the function raises ModelFailed.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(content, sess_options=options, providers=["CPUExecutionProvider"])
    except Exception as error:  # as above
        raise InvalidFunction(f"ONNX Runtime cannot load a part of the model: {_first_line(error)}") from error
    (given,), names = session.get_inputs(), [each.name for each in session.get_outputs()]

    def run(batch: Tensor) -> dict[str, Tensor]:
        try:
            return dict(zip(names, session.run(None, {given.name: batch}), strict=True))
        except Exception as error:  # as above
            raise ModelFailed(f"A part of the model raised: {_first_line(error)}") from error

    return run


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
