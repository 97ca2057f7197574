"""What a registered function does while it is built, it does to a process of its own."""

from __future__ import annotations

from time import monotonic

import numpy as np
import pytest
from models import FLOAT, folds_for_minutes, onnx_model, scores
from onnx import TensorProto, helper, numpy_helper

from likewise.errors import InvalidFunction
from likewise.function.assembly import Defaults
from likewise.function.proving import prover

SPEC = """
[input]
kind = "array"
[model]
[result]
kind = "tensors"
[[keys]]
extractor = "vector"
dimension = 2
"""
NODE = helper.make_node
VALUE = helper.make_tensor_value_info


def filled(shape):
    """Return the nodes of a constant `c0` of a shape."""
    one = numpy_helper.from_array(np.array([1e-3], np.float32))
    shape = numpy_helper.from_array(np.array(shape, np.int64))
    return [NODE("Constant", [], ["shape"], value=shape), NODE("ConstantOfShape", ["shape"], ["c0"], value=one)]


def summed(nodes, name, functions=(), **weights):
    """Return a model that adds the mean of a tensor to its input."""
    end = [NODE("ReduceMean", [name], ["mean"], keepdims=0), NODE("Add", ["x", "mean"], ["y"])]
    content = onnx_model([("y", FLOAT, [2])], [2], [*nodes, *end], weights)
    if not functions:
        return content
    model = helper.onnx.ModelProto.FromString(content)
    model.opset_import.append(helper.make_opsetid("d", 1))
    model.functions.extend(functions)
    return model.SerializeToString()


def laughs():
    """Return a model of 2 kB with functions within functions, which are a thousand million nodes written out."""
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("d", 1)]
    functions = [
        helper.make_function(
            "d",
            f"F{i}",
            ["a"],
            ["b"],
            [NODE(f"F{i + 1}", ["a"], ["t"], domain="d"), NODE(f"F{i + 1}", ["t"], ["b"], domain="d")],
            opsets,
        )
        for i in range(30)
    ]
    functions.append(helper.make_function("d", "F30", ["a"], ["b"], [NODE("Neg", ["a"], ["b"])], opsets))
    return summed([NODE("F0", ["x"], ["z"], domain="d")], "z", functions)


def one_operator():
    """Return a model with an operator for which nothing ends: a product of four matrices, one number at a time."""
    return summed([*filled([9000, 9000]), NODE("Einsum", ["c0"] * 4, ["z"], equation="ab,bc,cd,de->ae")], "z")


def endless_sequence():
    """Return a model that makes a list longer for ever."""
    kind = helper.make_tensor_sequence_value_info
    body = helper.make_graph(
        [NODE("Identity", ["on"], ["still"]), NODE("SequenceInsert", ["s", "c0"], ["t"])],
        "body",
        [VALUE("i", TensorProto.INT64, []), VALUE("on", TensorProto.BOOL, []), kind("s", FLOAT, None)],
        [VALUE("still", TensorProto.BOOL, []), kind("t", FLOAT, None)],
    )
    nodes = [
        NODE("SequenceEmpty", [], ["s0"], dtype=FLOAT),
        NODE("Loop", ["most", "true", "s0"], ["all"], body=body),
        NODE("ConcatFromSequence", ["all"], ["z"], axis=0),
    ]
    return summed([*filled([10]), *nodes], "z", most=np.array(2**40), true=np.array(True))


@pytest.fixture
def prove(tmp_path):
    """Prove a function of one model."""

    def prove(model, seconds=300.0, size_bytes=1 << 30):
        (tmp_path / "f" / "1").mkdir(parents=True)
        (tmp_path / "f" / "1" / "model.onnx").write_bytes(model)
        (tmp_path / "f" / "function.toml").write_text(SPEC)
        prover(Defaults(), size_bytes, seconds)(tmp_path / "f")

    return prove


def test_a_good_function_passes(prove):
    """As it would be built here, limits included."""
    prove(scores())


@pytest.mark.parametrize("model", [folds_for_minutes, laughs, one_operator, endless_sequence])
def test_what_does_not_end_is_ended(prove, model):
    """Whatever it is that does not: folding, reading, one operator, or a loop; with the remedy."""
    started = monotonic()
    with pytest.raises(InvalidFunction, match=r"was not done in 4 s; give it less .* or raise registration_timeout_s"):
        prove(model(), 4.0)
    assert monotonic() - started < 60


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (lambda: summed([*filled([1 << 14, 1 << 14])], "c0"), "memory"),
        (
            lambda: summed(
                [NODE("Range", ["a", "b", "c"], ["z"])],
                "z",
                **{n: np.float32(v) for n, v in (("a", 0), ("b", 1e12), ("c", 1))},
            ),
            "memory",
        ),
        (lambda: b"not a model", "no whole ONNX file"),
    ],
)
def test_what_cannot_be_built_is_refused_with_the_reason(prove, model, says):
    """As it would be here: more memory than there is, or no model at all."""
    with pytest.raises(InvalidFunction, match=says):
        prove(model(), size_bytes=64 << 20)


def test_a_process_that_ends_by_itself_is_named(prove, monkeypatch):
    """Such as one that a model breaks."""
    monkeypatch.setattr("likewise.function.proving.MODULE", "this")
    with pytest.raises(InvalidFunction, match=r"could not be tried|ended the process"):
        prove(scores())
