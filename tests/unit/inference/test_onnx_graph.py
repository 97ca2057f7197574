"""What a file says of its graph, read without the library that wrote it, and against what that says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from models import FLOAT, onnx_model, scores
from onnx import TensorProto, helper, numpy_helper

from likewise.errors import InvalidFunction
from likewise.inference.fixed import Fixed
from likewise.inference.model import OnnxModel
from likewise.inference.onnx_file import external_files
from likewise.inference.onnx_graph import describe, foreign_operators, parse
from likewise.inference.windows import WindowedModel

FUNCTIONS = Path(__file__).parents[3] / "functions"
NODE = helper.make_node
X, Y = ("x", FLOAT, ["n", 2]), ("y", FLOAT, ["n", 2])


@pytest.mark.parametrize("file", sorted(FUNCTIONS.glob("*/1/*.onnx")), ids=lambda each: f"{each.parts[-3]}-{each.stem}")
def test_it_says_what_the_library_says(file: Path) -> None:
    """Inputs, outputs, opsets, operators and the number of parameters."""
    found, model = describe(file), onnx.load(file)
    weights = {each.name for each in model.graph.initializer}

    def shape(value: onnx.ValueInfoProto) -> list[object]:
        axes = value.type.tensor_type.shape.dim
        return [value.name, *(axis.dim_value or axis.dim_param or None for axis in axes)]

    assert [[each.name, *(each.shape or ())] for each in found.inputs] == [
        shape(each) for each in model.graph.input if each.name not in weights
    ]
    assert [[each.name, *(each.shape or ())] for each in found.outputs] == [shape(each) for each in model.graph.output]
    assert {each.dtype for each in found.inputs} == {"float32"}
    assert found.opsets == {each.domain: each.version for each in model.opset_import}
    assert found.producer == model.producer_name
    names = [each.op_type for each in model.graph.node]
    assert found.operators == {name: names.count(name) for name in names}
    floats = [each for each in model.graph.initializer if each.data_type == FLOAT]
    assert found.parameters >= sum(int(np.prod(each.dims)) for each in floats)


def built(nodes: list, inputs: list, outputs: list, weights: dict | None = None, **more: object) -> bytes:
    """Return a model of any inputs and outputs."""
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "g",
        [info(*each) for each in inputs],
        [info(*each) for each in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in (weights or {}).items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("acme", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9, **more).SerializeToString()


def test_types_and_axes_of_every_sort() -> None:
    """Named, free and unknown axes, scalars, types that are no numbers."""
    model = onnx.ModelProto.FromString(
        built(
            [NODE("Identity", ["a"], ["y"])],
            [("a", FLOAT, ["n", 3, None]), ("b", TensorProto.INT64, [])],
            [("y", FLOAT, None)],
        )
    )
    model.graph.input.append(
        helper.make_value_info("s", helper.make_sequence_type_proto(helper.make_tensor_type_proto(1, [])))
    )
    entry = model.metadata_props.add()
    entry.key, entry.value = "names", "{0: 'a'}"
    graph = parse(memoryview(model.SerializeToString()))
    assert [(each.name, each.dtype, each.shape) for each in graph.inputs] == [
        ("a", "float32", ("n", 3, None)),
        ("b", "int64", ()),
        ("s", "sequence", None),
    ]
    assert graph.outputs[0].shape is None
    assert graph.metadata == {"names": "{0: 'a'}"}


def test_operators_that_nobody_defines_are_named() -> None:
    """Those of subgraphs too; not those that the file defines itself, or that ONNX Runtime adds."""
    branch = helper.make_graph(
        [NODE("Inner", [], ["b"], domain="acme")], "b", [], [helper.make_tensor_value_info("b", FLOAT, [1])]
    )
    nodes = [
        NODE("Gelu", ["x"], ["m"], domain="com.microsoft"),
        NODE("Mine", ["m"], ["o"], domain="own"),
        NODE("If", ["c"], ["y"], then_branch=branch, else_branch=branch),
    ]
    function = helper.make_function(
        "own", "Mine", ["a"], ["b"], [NODE("Relu", ["a"], ["b"])], [helper.make_opsetid("", 17)]
    )
    content = built(nodes, [("x", FLOAT, [1]), ("c", TensorProto.BOOL, [])], [("y", FLOAT, [1])], functions=[function])
    assert foreign_operators(parse(memoryview(content))) == ["acme::Inner"]


def test_a_model_with_an_operator_of_its_own_is_told_so(tmp_path: Path) -> None:
    """Where it is loaded, too."""
    (tmp_path / "m.onnx").write_bytes(built([NODE("Magic", ["x"], ["y"], domain="acme")], [X], [Y]))
    with pytest.raises(InvalidFunction, match=r"operator `acme::Magic`.*standard operators"):
        OnnxModel(tmp_path / "m.onnx")
    (tmp_path / "n.onnx").write_bytes(built([NODE("Nope", ["x"], ["y"])], [X], [Y]))
    with pytest.raises(InvalidFunction, match=r"Nope.*of an opset that"):
        OnnxModel(tmp_path / "n.onnx")


@pytest.mark.parametrize("operator", ["ConstantOfShape", "Expand"])
@pytest.mark.parametrize("constant", [True, False])
def test_four_gigabytes_that_a_node_would_fill_are_a_claim(operator: str, constant: bool) -> None:
    """Whether the shape is a weight or the output of a Constant."""
    shape = np.array([1 << 15, 1 << 15])
    nodes = [NODE("Constant", [], ["s"], value=numpy_helper.from_array(shape))] if constant else []
    taken = ["s"] if operator == "ConstantOfShape" else ["x", "s"]
    nodes += [NODE(operator, taken, ["c"]), NODE("ReduceMax", ["c"], ["r"], keepdims=0), NODE("Add", ["x", "r"], ["y"])]
    content = built(nodes, [("x", FLOAT, ["n", 1])], [("y", FLOAT, ["n", 1])], {} if constant else {"s": shape})
    with pytest.raises(InvalidFunction, match=f"{operator} claims a shape of 1073741824"):
        external_files(content, "m")


@given(st.integers(0, 400), st.integers(0, 255))
def test_damage_raises_what_it_should_and_nothing_else(at: int, byte: int) -> None:
    """Whatever byte is another, wherever the file ends."""
    whole = bytearray(scores())
    whole[at % len(whole)] = byte
    for content in (bytes(whole), bytes(whole)[: at % len(whole)]):
        try:
            parse(memoryview(content))
        except (ValueError, IndexError, OverflowError):
            continue


def test_models_with_several_inputs(tmp_path: Path) -> None:
    """One from the request, the others fixed; what does not fit is named."""
    nodes = [
        NODE("Cast", ["rate"], ["r"], to=FLOAT),
        NODE("Mul", ["x", "r"], ["m"]),
        NODE("Add", ["m", "state"], ["y"]),
    ]
    path = tmp_path / "m.onnx"
    inputs = [X, ("rate", TensorProto.INT64, []), ("state", FLOAT, [1, 2])]
    path.write_bytes(built([*nodes, NODE("Identity", ["y"], ["z"])], inputs, [Y, ("z", FLOAT, ["n", 2])]))
    fixed = {"rate": Fixed(3), "state": Fixed(0.5, (1, 2))}
    model = OnnxModel(path, fixed=fixed, outputs=["z"])
    assert model.dynamic_batch
    assert [each.tolist() for each in model.run(np.ones((2, 2)))] == [[[3.5, 3.5], [3.5, 3.5]]]
    assert model.outputs == ("z",)
    assert OnnxModel(path, fixed={"rate": Fixed(3), "state": Fixed([[1, 2]])}).run_one()(np.ones(2)).tolist() == [4, 5]
    for wrong, says in (
        ({"fixed": {"rate": Fixed(3)}}, r"\[model.fixed\], such as `state`"),
        ({"fixed": {**fixed, "q": Fixed(1)}}, "has no input `q`"),
        ({"fixed": {**fixed, "rate": Fixed(0.5)}}, "int64 cannot"),
        ({"fixed": {**fixed, "rate": Fixed([1])}}, r"shape \[1\]"),
        ({"fixed": {**fixed, "state": Fixed([[1], [2, 3]])}}, "ragged"),
        ({"fixed": {**fixed, "state": Fixed(0, (1 << 14, 1 << 14))}}, "the limit is"),
        ({"fixed": fixed, "input": "rate"}, "named as the input and in"),
        ({"fixed": {**fixed, "x": Fixed(0, (1, 2))}}, "leave out the one from requests"),
        ({"fixed": fixed, "outputs": ["q"]}, "result.outputs names `q`"),
    ):
        with pytest.raises(InvalidFunction, match=says):
            OnnxModel(path, **wrong)  # type: ignore[arg-type]


def test_a_fixed_input_of_any_length_takes_the_batch(tmp_path: Path) -> None:
    """It may have the batch among its axes, so inputs are computed one at a time."""
    path = tmp_path / "m.onnx"
    path.write_bytes(built([NODE("Add", ["x", "s"], ["y"])], [X, ("s", FLOAT, ["n", 2])], [Y]))
    assert not OnnxModel(path, fixed={"s": Fixed(1.0, (1, 2))}).dynamic_batch


def test_outputs_without_a_batch_axis(tmp_path: Path) -> None:
    """As detectors have it: the input alone has one, or neither."""
    path = tmp_path / "m.onnx"
    path.write_bytes(built([NODE("ReduceSum", ["x"], ["y"], keepdims=0)], [("x", FLOAT, [1, 2])], [("y", FLOAT, [])]))
    model = OnnxModel(path, batch="input")
    assert model.shape == (2,)
    assert model.run(np.ones((1, 2)))[0].tolist() == [2]
    path.write_bytes(built([NODE("Add", ["x", "x"], ["y"])], [("x", FLOAT, [2, None])], [("y", FLOAT, [2, None])]))
    model = OnnxModel(path, batch="none")
    assert model.shape == (2, None)
    assert not model.dynamic_batch
    assert model.run(np.ones((1, 2, 3)))[0].shape == (1, 2, 3)


def test_windows_are_rows_of_the_batch(tmp_path: Path) -> None:
    """Computed together, and given back by input."""
    path = tmp_path / "m.onnx"
    path.write_bytes(onnx_model([("y", FLOAT, [3])], [3], [NODE("Add", ["x", "x"], ["y"])]))
    found = WindowedModel(OnnxModel(path)).run(np.arange(2 * 70 * 3, dtype=np.float32).reshape(2, 70, 3))
    assert np.array_equal(found[0], 2 * np.arange(2 * 70 * 3).reshape(2, 70, 3))
