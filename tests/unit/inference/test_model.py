"""A loaded model answers the same, however it is called."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from likewise.errors import ModelFailed
from likewise.inference.model import OnnxModel
from likewise.priority import WORK

FUNCTIONS = Path(__file__).parents[3] / "functions"


@pytest.fixture
def model() -> OnnxModel:
    return OnnxModel(FUNCTIONS / "digits" / "1" / "key.onnx")


def test_one_input_is_answered_as_in_a_batch(model: OnnxModel) -> None:
    """The short way for one input gives what the batch gives, and keeps nothing that a later call could change."""
    inputs = np.random.default_rng(0).uniform(0, 1, (20, *model.shape)).astype(np.float32)  # type: ignore[misc]
    together = model.run(inputs)[0]
    run_one = model.run_one()
    alone = [run_one(one) for one in inputs]
    np.testing.assert_allclose(alone, together, atol=1e-5)


def test_threads_do_not_see_each_others_inputs(model: OnnxModel) -> None:
    """Each thread has buffers of its own."""
    inputs = np.random.default_rng(1).uniform(0, 1, (400, *model.shape)).astype(np.float32)  # type: ignore[misc]
    run_one = model.run_one()
    expected = [run_one(one) for one in inputs]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(run_one, inputs))
    np.testing.assert_array_equal(found, expected)


def test_a_number_in_and_a_number_out_is_the_least_that_a_model_can_take(tmp_path: Path) -> None:
    """Without any axis but the batch, too, every call answers for its own input."""
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "x"], ["y"])],
        "g",
        [info("x", TensorProto.FLOAT, ["batch"])],
        [info("y", TensorProto.FLOAT, ["batch"])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), tmp_path / "m.onnx")
    run_one = OnnxModel(tmp_path / "m.onnx").run_one()
    assert [run_one(np.float32(x)).tolist() for x in (1, 2, 3)] == [[2], [4], [6]]  # type: ignore[arg-type]


def test_an_input_of_the_wrong_shape_is_named(model: OnnxModel) -> None:
    """It is the model that fails, not the server."""
    with pytest.raises(ModelFailed, match=r"key\.onnx"):
        model.run_one()(np.zeros((3, 7), np.float32))


@pytest.mark.skipif(sys.platform != "linux", reason="threads have a priority of their own on Linux")
def test_the_threads_of_a_model_give_way_to_the_event_loop() -> None:
    """Those that ONNX Runtime starts, too: only whoever starts a thread can say so."""
    before = set(Path("/proc/self/task").iterdir())
    model = OnnxModel(FUNCTIONS / "digits" / "1" / "key.onnx", threads=2)
    started = set(Path("/proc/self/task").iterdir()) - before
    own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    found = []
    for each in started:
        with contextlib.suppress(ProcessLookupError):  # it only loaded the model
            found.append(os.getpriority(os.PRIO_PROCESS, int(each.name)))
    assert set(found) == {max(own, WORK)}
    assert model.shape
