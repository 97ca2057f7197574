"""ONNX models; the only file that imports ONNX Runtime."""

from __future__ import annotations

import json
import re
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime

from likewise.errors import InvalidFunction, ModelFailed
from likewise.inference.fixed import Fixed
from likewise.inference.onnx_file import external_paths
from likewise.inference.onnx_graph import describe, foreign_operators
from likewise.inference.run_limit import ENDED, RUN_LIMIT
from likewise.priority import WORK, give_way
from likewise.types import Tensor

onnxruntime.set_default_logger_severity(4)  # its errors reach us as exceptions; no second copy on stderr

_DTYPES: dict[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
    "tensor(uint16)": np.uint16,
    "tensor(int16)": np.int16,
    "tensor(uint32)": np.uint32,
    "tensor(int32)": np.int32,
    "tensor(uint64)": np.uint64,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
}
"""What inputs and outputs may be: what NumPy has a type for, and JSON numbers."""

Batch = Literal["both", "input", "none"]
"""What has a batch axis: input and outputs, the input alone, or neither."""

Bound = tuple[onnxruntime.IOBinding, Tensor, list[Tensor]]
"""A binding with the buffers that it reads its input from and writes its outputs to, without the batch axis."""

_SOURCE = re.compile(r"/onnxruntime_src/[^ ]{1,200}:\d{1,6} [^()]{0,500}\([^()]{0,2000}\) ")
"""Where in its source ONNX Runtime found a fault, which comes before what the fault is."""
_LARGE_BYTES = 1 << 15
"""An output for which ONNX Runtime's own memory, which is warm, is worth more than what stays bound saves."""


def limit_memory(size_bytes: int) -> None:
    """Let all models that are loaded from now on take at most so many bytes together, weights and tensors.

    One that wants more raises before it gets any. The limit is the process's: a later one counts for later models.
    """
    place = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    arena = onnxruntime.OrtArenaCfg({"max_mem": size_bytes, "arena_extend_strategy": 1})  # no more than is asked for
    onnxruntime.create_and_register_allocator(place, arena)


class OnnxModel:
    """A loaded ONNX model of which one input comes from a request, with the batch as its first axis.

    `shape` is that input's shape without the batch axis; None stands for an axis of any length. `batch` says what has
    one. `outputs` are the names of the outputs that are computed, `files` its own and those beside it that hold some of
    its numbers.
    """

    def __init__(
        self,
        path: Path,
        threads: int = 1,
        *,
        first_output: bool = False,
        input: str | None = None,
        fixed: Mapping[str, Fixed] | None = None,
        outputs: Sequence[str] = (),
        batch: Batch = "both",
    ) -> None:
        """Load the file. Raises InvalidFunction, naming the file and what is wrong with it.

        Its external data have to lie in its folder. first_output: leave the others out, where `outputs` names none.
        input: the one that comes from a request; None: the one that is not fixed. fixed: values of all others, by name.
        batch: what has a batch axis; without one on both sides one input is computed at a time.
        """
        self.files = (path, *external_paths(path, path.parent))
        self.path = path
        self._session = session = _load(path, threads)
        inputs = session.get_inputs()
        self._fixed = {name: self._value(_input(path, inputs, name), each) for name, each in (fixed or {}).items()}
        taken = self._taken(inputs, input)
        if taken.type not in _DTYPES:
            raise InvalidFunction(f"{path}: input `{taken.name}` is {taken.type}; export it with a numeric tensor")
        axes = list(taken.shape)
        if not axes and batch != "none":
            raise InvalidFunction(f"{path}: input `{taken.name}` is a scalar; the first axis has to be the batch")
        if batch != "none" and isinstance(axes[0], int) and axes[0] not in (-1, 1):
            raise InvalidFunction(f"{path}: has a fixed batch of {axes[0]}; export it with a dynamic batch axis, or 1")
        self.batch = batch
        # fixed inputs whose own axes may have any length could have the batch among them: one at a time is right
        bound = all(isinstance(axis, int) for each in inputs if each.name in self._fixed for axis in each.shape)
        self.dynamic_batch = batch == "both" and bound and not (isinstance(axes[0], int) and axes[0] == 1)
        self.shape: tuple[int | None, ...] = tuple(
            axis if isinstance(axis, int) and axis > 0 else None for axis in axes[batch != "none" :]
        )
        self.dtype = np.dtype(_DTYPES[taken.type])
        self._input_name: str = taken.name
        self.outputs = self._wanted(session.get_outputs(), outputs, first_output)
        self._fetched = list(self.outputs)
        self.metadata: dict[str, str] = dict(session.get_modelmeta().custom_metadata_map)

    @property
    def plain(self) -> bool:
        """Whether it takes one input and nothing beside it, with a batch axis on both sides."""
        return not self._fixed and self.batch == "both"

    def _value(self, declared: Any, fixed: Fixed) -> Tensor:
        """Return the tensor of an input that is always the same. Raises InvalidFunction where it does not fit."""
        if declared.type not in _DTYPES:
            raise InvalidFunction(f"{self.path}: input `{declared.name}` is {declared.type}, which cannot be fixed")
        axes = [axis if isinstance(axis, int) and axis > 0 else None for axis in declared.shape]
        try:
            return fixed.tensor(np.dtype(_DTYPES[declared.type]), axes)
        except ValueError as error:
            raise InvalidFunction(f"{self.path}: [model.fixed] {declared.name}: {error}") from None

    def _taken(self, inputs: Sequence[Any], name: str | None) -> Any:
        path = self.path
        if name is not None:
            taken = _input(path, inputs, name)
            if name in self._fixed:
                raise InvalidFunction(f"{path}: `{name}` is named as the input and in [model.fixed]; leave one out")
        else:
            left = [each for each in inputs if each.name not in self._fixed]
            if not left:
                raise InvalidFunction(f"{path}: all its inputs are in [model.fixed]; leave out the one from requests")
            taken = left[0]
        loose = [each.name for each in inputs if each.name not in (*self._fixed, taken.name)]
        if loose:
            names = ", ".join(f"`{each.name}`" for each in inputs)
            raise InvalidFunction(
                f"{path}: takes {len(inputs)} inputs ({names}), and exactly one comes from a request; give the others "
                f"values in [model.fixed], such as `{loose[0]}`, or export it with one"
            )
        return taken

    def _wanted(self, found: Sequence[Any], names: Sequence[str], first: bool) -> tuple[str, ...]:
        path = self.path
        known = {each.name: each for each in found}
        strange = [name for name in names if name not in known]
        if strange:
            there = ", ".join(f"`{name}`" for name in known)
            raise InvalidFunction(f"{path}: result.outputs names `{strange[0]}`; its outputs are {there}; correct it")
        taken = [known[name] for name in names] or list(found[: 1 if first else None])
        for output in taken:
            if output.type not in _DTYPES:
                raise InvalidFunction(
                    f"{path}: output `{output.name}` is {output.type}; export it with tensors of numbers alone"
                    + (", for scikit-learn with `zipmap` off" if output.type.startswith(("seq", "map")) else "")
                )
        return tuple(each.name for each in taken)

    def check(self, shape: Sequence[int | None], origin: str) -> None:
        """Raise InvalidFunction unless a tensor of that shape, without the batch axis, can be its input.

        shape: None for an axis that differs from input to input.
        """
        fits = len(shape) == len(self.shape) and all(
            want is None or want == have for want, have in zip(self.shape, shape, strict=True)
        )
        if not fits:
            wanted, prepared = (
                "×".join("any" if axis is None else str(axis) for axis in each) for each in (self.shape, shape)
            )
            channels_last = len(shape) == 3 and self.shape[-1:] in ((1,), (3,)) and self.shape[:1] not in ((1,), (3,))
            remedy = (
                'its channels come last: set layout = "nhwc"'
                if channels_last
                else "correct the spec's size (width, height), channels, layout, resize, sample_rate or seconds"
            )
            raise InvalidFunction(
                f"{origin}: {self.path.name} takes an input of {wanted or 'one number'}, but the spec prepares "
                f"{prepared}; {remedy}"
            )

    def run(self, batch: Tensor, options: onnxruntime.RunOptions | None = None) -> Sequence[Tensor]:
        """Return the outputs for a batch, each with the batch as its first axis. Blocks; may be called from any thread.

        batch: shape (n, ...), converted to the model's dtype; n is 1 unless `dynamic_batch`. options: of the run, which
        has no limit then. Raises ModelFailed where it raises or is ended, or an output has no batch axis of n.
        """
        given = batch[0] if self.batch == "none" else batch
        try:
            feed = {self._input_name: np.ascontiguousarray(given, self.dtype), **self._fixed}
            run = partial(self._session.run, self._fetched, feed)
            outputs = RUN_LIMIT.run(run) if options is None else run(options)
        except Exception as error:  # ONNX Runtime raises a family without a common base
            raise ModelFailed(f"{self.path.name} raised: {first_line(error)}") from error
        if self.batch != "both":
            return [np.asarray(output)[None] for output in outputs]
        for name, output in zip(self.outputs, outputs, strict=True):
            if not isinstance(output, np.ndarray) or output.ndim == 0 or output.shape[0] != len(batch):
                raise ModelFailed(f"{self.path.name}: output `{name}` has no batch axis of {len(batch)}")
        return list(outputs)

    def profile(self, one: Tensor) -> list[Mapping[str, Any]]:
        """Return what ONNX Runtime tells of each operator that it ran for one input, without its batch axis.

        `op_name`, `input_type_shape` and `output_type_shape` say what was computed: lists of `{type: shape}`.
        Raises ModelFailed.
        """
        options = onnxruntime.SessionOptions()
        options.enable_profiling = True
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.add_session_config_entry("session.disable_prepacking", "1")  # so that weights are inputs
        options.log_severity_level = 4
        with tempfile.TemporaryDirectory(prefix="likewise-") as folder:
            options.profile_file_prefix = f"{folder}/profile"
            try:
                session = onnxruntime.InferenceSession(str(self.path), options, providers=["CPUExecutionProvider"])
                given = one if self.batch == "none" else one[None]
                session.run(None, {self._input_name: np.ascontiguousarray(given, self.dtype), **self._fixed})
                events = json.loads(Path(session.end_profiling()).read_bytes())
            except Exception as error:  # as above
                raise ModelFailed(f"{self.path.name} raised: {first_line(error)}") from error
        return [each["args"] for each in events if str(each.get("name", "")).endswith("_kernel_time")]

    def run_one(self) -> Callable[[Tensor], Tensor]:
        """Return a function from one input to the first output for it; see `run_each`. A lone number has shape (1,)."""
        run_each = self.run_each(1)

        def run_one(one: Tensor) -> Tensor:
            (output,) = run_each(one)
            return output if output.ndim else output.reshape(1)

        return run_one

    def run_each(self, count: int | None = None) -> Callable[[Tensor], list[Tensor]]:
        """Return a function from one input to its outputs, all without the batch axis, copied.

        count: the first so many outputs alone. Faster than `run` where the model is small: inputs and outputs stay
        bound between calls, on each thread its own. Where the input may have any length, or the model takes or gives
        what is not float32, or gives much, it is `run`. Raises as `run`.
        """

        def plain(one: Tensor) -> list[Tensor]:
            return [output[0] for output in self.run(one[None])[:count]]

        if None in self.shape or not self.plain:
            return plain
        zeros = np.zeros((1, *(axis or 1 for axis in self.shape)), self.dtype)
        first = self.run(zeros)[:count]
        if {zeros.dtype, *(each.dtype for each in first)} != {np.dtype(np.float32)}:
            return plain
        if max(each.nbytes for each in first) > _LARGE_BYTES:
            return plain
        session, threads = self._session, threading.local()

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
                given[...] = one
                RUN_LIMIT.run(partial(session.run_with_iobinding, binding))
            except Exception as error:  # as above
                raise ModelFailed(f"{self.path.name} raised: {first_line(error)}") from error
            return [each.copy() for each in taken]

        return run_each


def session_options(threads: int = 1) -> onnxruntime.SessionOptions:
    """Return how any model, or piece of one, is run: within `limit_memory`, and without workers that spin."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    # Spinning workers would take the event loop's core between two inferences.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.use_env_allocators", "1")  # see `limit_memory`
    options.log_severity_level = 4
    return options


def _load(path: Path, threads: int) -> onnxruntime.InferenceSession:
    try:
        if threads == 1:
            return _session(path, threads)
        with ThreadPoolExecutor(1, "likewise-load", give_way, (WORK,)) as loader:  # ONNX Runtime's threads inherit that
            return loader.submit(_session, path, threads).result()
    except Exception as error:  # ONNX Runtime raises a family without a common base
        strange = foreign_operators(describe(path))
        if strange:
            raise InvalidFunction(
                f"{path}: uses the operator `{strange[0]}`, which ONNX Runtime does not have by itself; export it with "
                "standard operators, or with the operator as a function in the model"
            ) from error
        remedy = "export it again"
        if _is_unknown_operator(error):
            remedy = "export it with standard operators of an opset that the installed ONNX Runtime has, or update that"
        raise InvalidFunction(f"{path}: ONNX Runtime cannot load it: {first_line(error)}; {remedy}") from error


def _session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(
        str(path), sess_options=session_options(threads), providers=["CPUExecutionProvider"]
    )


def _is_unknown_operator(error: Exception) -> bool:
    """Say whether loading failed for an operator that is not known: ONNX Runtime says so in its text alone."""
    return "No Op registered for" in str(error) or "is not a registered function/op" in str(error)


def _input(path: Path, inputs: Sequence[Any], name: str) -> Any:
    """Return the input of that name. Raises InvalidFunction."""
    for each in inputs:
        if each.name == name:
            return each
    there = ", ".join(f"`{each.name}`" for each in inputs)
    raise InvalidFunction(f"{path}: has no input `{name[:64]}`; its inputs are {there}; correct the name")


def first_line(error: Exception) -> str:
    """Return what an error of ONNX Runtime says, in a line, or the remedy where a model may not take more memory."""
    if any(word in str(error) for word in ("Available memory of", "bad_alloc", "bad allocation")):
        return "it wants more memory than is left of model_memory_bytes; raise that, or let it take less"
    if ENDED in str(error):
        return f"it took over its share of {RUN_LIMIT.seconds:g} s; send another input, or raise inference_timeout_s"
    said = _SOURCE.sub("", str(error)).strip()
    return (said.splitlines() or [type(error).__name__])[0][:300]
