"""Models take no more memory than there is for them."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from likewise.errors import ModelFailed
from likewise.inference.graphs import Piece
from likewise.inference.memory import available_bytes
from likewise.inference.model import OnnxModel, limit_memory


@pytest.fixture(autouse=True)
def limited() -> Iterator[None]:
    """64 MiB for the models of a test."""
    limit_memory(64 << 20)
    yield
    limit_memory(available_bytes() // 2)


def greedy(path: Path, numbers: int) -> OnnxModel:
    """Return a model of some bytes that computes so many numbers on its way to a single one."""
    graph = helper.make_graph(
        [
            helper.make_node("Expand", ["input", "shape"], ["many"]),
            helper.make_node("ReduceSum", ["many", "axes"], ["sum"], keepdims=1),
        ],
        "g",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 1])],
        [helper.make_tensor_value_info("sum", TensorProto.FLOAT, ["batch", 1])],
        [
            numpy_helper.from_array(np.array([1, numbers], np.int64), "shape"),
            numpy_helper.from_array(np.array([1], np.int64), "axes"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return OnnxModel(path)


def test_what_fits_is_computed(tmp_path: Path) -> None:
    """4 MB on the way."""
    assert greedy(tmp_path / "small.onnx", 1 << 20).run(np.ones((1, 1), np.float32))[0].tolist() == [[1 << 20]]


def test_a_small_file_with_huge_tensors_is_refused_before_they_are_made(tmp_path: Path) -> None:
    """512 MB on the way: the remedy is named, nothing is allocated, and the next model is fine."""
    model = greedy(tmp_path / "huge.onnx", 1 << 27)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ModelFailed, match="model_memory_bytes"):
        model.run(np.ones((1, 1), np.float32))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + (256 << 10)
    test_what_fits_is_computed(tmp_path)


def test_pieces_of_models_count_as_well(tmp_path: Path) -> None:
    """Those that streams run: the limit is that of all models together."""
    greedy(tmp_path / "huge.onnx", 1 << 27)
    piece = Piece((tmp_path / "huge.onnx").read_bytes())
    with pytest.raises(ModelFailed, match="model_memory_bytes"):
        piece.run({"input": np.ones((1, 1), np.float32)})


@pytest.mark.parametrize(("text", "counts"), [("1048576\n", True), ("max\n", False), ("", False)])
def test_a_container_may_have_less_than_its_machine(tmp_path: Path, text: str, counts: bool) -> None:
    """Its limit counts, where there is one."""
    (tmp_path / "memory.max").write_text(text)
    found = available_bytes((tmp_path / "memory.max", tmp_path / "missing"))
    assert (found == 1 << 20) is counts
    assert found <= available_bytes(())
