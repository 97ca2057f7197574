"""What a file describes: exact counts, also without its weights, and clear errors for what is none."""

from __future__ import annotations

import resource
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from likewise.errors import InvalidFunction, InvalidValue
from likewise.estimation.description import Description
from likewise.estimation.graph import describe
from likewise.estimation.isolation import asked, described
from likewise.inference.graphs import optimized, simplified

Save = Callable[[onnx.ModelProto], Path]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    def save(model: onnx.ModelProto) -> Path:
        onnx.save(model, tmp_path / "model.onnx")
        return tmp_path / "model.onnx"

    return save


def _model(
    nodes: Sequence[onnx.NodeProto],
    inputs: dict[str, Sequence[int | str]],
    weights: dict[str, np.ndarray],
    output: str = "out",
    domains: Sequence[str] = (),
) -> onnx.ModelProto:
    graph = helper.make_graph(
        list(nodes), "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )  # fmt: skip
    imports = [helper.make_opsetid("", 17), *(helper.make_opsetid(each, 1) for each in domains)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def _convolutional() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["a"], kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["a"], ["r"]),
        helper.make_node("Conv", ["r", "d"], ["c"], kernel_shape=[3, 3], group=16),
        helper.make_node("GlobalAveragePool", ["c"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "g", "h"], ["out"], transB=1),
    ]
    weights = {
        "w": np.ones((16, 3, 3, 3)), "b": np.ones(16), "d": np.ones((16, 1, 3, 3)), "g": np.ones((10, 16)),
        "h": np.ones(10),
    }  # fmt: skip
    return _model(nodes, {"x": ["n", 3, 32, 32]}, {name: each.astype(np.float32) for name, each in weights.items()})


PARAMETERS = 16 * 27 + 16 + 16 * 9 + 160 + 10
MACS = 16 * 16 * 16 * 27 + 16 * 14 * 14 * 9 + 160
ACTIVATIONS = 2 * 16 * 16 * 16 + 16 * 14 * 14 + 16 + 16 + 10


def _described(path: Path, batch: int = 1, **shapes: Sequence[int | None]) -> Description:
    return describe(path, shapes, batch, simplified, optimized)


def _counts(found: Description) -> tuple[int, int, int]:
    return found.parameters, found.macs, found.activations


def test_counts_are_those_done_by_hand(save: Save) -> None:
    assert _counts(_described(save(_convolutional()))) == (PARAMETERS, MACS, ACTIVATIONS)


def test_multiply_adds_and_activations_grow_with_the_batch(save: Save) -> None:
    assert _counts(_described(save(_convolutional()), 5)) == (PARAMETERS, 5 * MACS, 5 * ACTIVATIONS)


@pytest.mark.parametrize(
    ("node", "inputs", "weights", "macs"),
    [
        pytest.param(
            helper.make_node("MatMul", ["x", "y"], ["out"]), {"x": [4, 7, 5], "y": [4, 5, 3]}, {}, 4 * 7 * 5 * 3,
            id="a product of two tensors",
        ),
        pytest.param(
            helper.make_node("Gemm", ["x", "w"], ["out"], transA=1), {"x": [5, 7]}, {"w": (5, 3)}, 7 * 5 * 3,
            id="a product with the left side turned",
        ),
        pytest.param(
            helper.make_node("Conv", ["x", "w"], ["out"], kernel_shape=[5]), {"x": [1, 2, 20]}, {"w": (6, 2, 5)},
            6 * 16 * 10, id="a convolution in one dimension",
        ),
        pytest.param(
            helper.make_node("ConvTranspose", ["x", "w"], ["out"], kernel_shape=[2, 2], strides=[2, 2]),
            {"x": [1, 4, 3, 3]}, {"w": (4, 6, 2, 2)}, 4 * 9 * 6 * 4, id="a transposed convolution",
        ),
        pytest.param(
            helper.make_node("LSTM", ["x", "w", "r"], ["out"], hidden_size=6), {"x": [9, 2, 5]},
            {"w": (1, 24, 5), "r": (1, 24, 6)}, 9 * 2 * 24 * (5 + 6), id="a recurrent cell",
        ),
        pytest.param(
            helper.make_node("GRU", ["x", "w", "r"], ["out"], hidden_size=6), {"x": [9, 2, 5]},
            {"w": (1, 18, 5), "r": (1, 18, 6)}, 9 * 2 * 18 * (5 + 6), id="another recurrent cell",
        ),
        pytest.param(
            helper.make_node("Einsum", ["x", "y"], ["out"], equation="bik,bjk->bij"),
            {"x": [2, 3, 4], "y": [2, 5, 4]}, {}, 2 * 3 * 4 * 5, id="a sum over letters",
        ),
        pytest.param(helper.make_node("Add", ["x", "y"], ["out"]), {"x": [3, 4], "y": [3, 4]}, {}, 0, id="a sum"),
    ],
)  # fmt: skip
def test_multiply_adds_of_each_kind(
    save: Save, node: onnx.NodeProto, inputs: dict[str, Sequence[int]], weights: dict[str, tuple[int, ...]], macs: int
) -> None:
    numbers = {name: np.ones(shape, np.float32) for name, shape in weights.items()}
    found = _described(save(_model([node], inputs, numbers)))
    assert found.macs == macs
    assert found.parameters == sum(each.size for each in numbers.values())


def test_weights_may_be_in_a_file_that_is_missing(save: Save, tmp_path: Path) -> None:
    model = _convolutional()
    whole = _described(save(model))
    onnx.save(model, tmp_path / "out.onnx", save_as_external_data=True, location="weights", size_threshold=0)
    (tmp_path / "weights").unlink()
    found = _described(tmp_path / "out.onnx")
    assert _counts(found) == _counts(whole)
    assert [each.operator for each in found.layers] == [each.operator for each in whole.layers]
    assert "taken as zeros" in found.notes[0]


def test_weights_may_be_left_out(save: Save) -> None:
    """Their shapes are said, and their numbers are not."""
    model = _convolutional()
    for tensor in model.graph.initializer:
        tensor.ClearField("raw_data")
    assert _counts(_described(save(model))) == (PARAMETERS, MACS, ACTIVATIONS)


@pytest.mark.parametrize("place", ["input", "value_info"])
def test_weights_may_be_declared_alone(save: Save, place: str) -> None:
    model = _convolutional()
    for tensor in model.graph.initializer:
        info = helper.make_tensor_value_info(tensor.name, TensorProto.FLOAT, tensor.dims)
        getattr(model.graph, place).append(info)
    del model.graph.initializer[:]
    assert _counts(_described(save(model))) == (PARAMETERS, MACS, ACTIVATIONS)


def test_a_weight_of_which_nothing_is_said_is_named(save: Save) -> None:
    model = _convolutional()
    del model.graph.initializer[2]
    with pytest.raises(InvalidFunction, match=r"reads `d`, which is no input"):
        _described(save(model))


def test_open_axes_are_asked_for_and_taken(save: Save) -> None:
    model = _model([helper.make_node("MatMul", ["x", "w"], ["out"])], {"x": ["n", "t", 4]}, {"w": np.ones((4, 2))})
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.ones((4, 2), np.float32), "w"))
    path = save(model)
    with pytest.raises(InvalidValue, match=r"axis 1 of input `x` .*--input-shape x="):
        _described(path)
    assert _described(path, x=[3, 7, None]).macs == 3 * 7 * 4 * 2
    with pytest.raises(InvalidValue, match=r"axis 2 of .* is 4, not 5"):
        _described(path, x=[3, 7, 5])
    with pytest.raises(InvalidValue, match="has 2 axes, and the input has 3"):
        _described(path, x=[3, 7])
    with pytest.raises(InvalidValue, match="its inputs are `x`"):
        _described(path, y=[3])


def test_a_name_stands_for_one_length_in_all_inputs(save: Save) -> None:
    node = helper.make_node("Add", ["x", "y"], ["out"])
    found = _described(save(_model([node], {"x": [2, "t"], "y": [2, "t"]}, {})), x=[2, 9])
    assert found.activations == 18


def test_a_shape_that_is_computed_is_followed(save: Save) -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["n"]),
        helper.make_node("Concat", ["n", "rest"], ["to"], axis=0),
        helper.make_node("Reshape", ["x", "to"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["out"]),
    ]
    weights = {"zero": np.array([0]), "rest": np.array([-1]), "w": np.ones((12, 5), np.float32)}
    found = _described(save(_model(nodes, {"x": ["n", 3, 4]}, weights)), 2)
    assert found.macs == 2 * 12 * 5
    assert not [each.unknown for each in found.layers if each.unknown]


def test_inner_graphs_are_not_estimated_and_their_parameters_count(save: Save) -> None:
    def branch(name: str, value: int) -> onnx.GraphProto:
        weights = numpy_helper.from_array(np.full((4,), value, np.float32), f"w{name}")
        out = helper.make_tensor_value_info(name, TensorProto.FLOAT, [4])
        return helper.make_graph([helper.make_node("Add", ["x", f"w{name}"], [name])], name, [], [out], [weights])

    nodes = [
        helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
        helper.make_node("Cast", ["sum"], ["yes"], to=TensorProto.BOOL),
        helper.make_node("If", ["yes"], ["out"], then_branch=branch("t", 1), else_branch=branch("e", 2)),
    ]
    found = _described(save(_model(nodes, {"x": [4]}, {})))
    assert found.parameters == 8
    assert [each.operator for each in found.layers if each.unknown] == ["If"]


def test_operators_of_others_are_not_estimated(save: Save) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Magic", ["r"], ["out"], domain="acme")]
    found = _described(save(_model(nodes, {"x": [2, 3]}, {}, domains=["acme"])))
    assert not found.optimized
    assert [each.operator for each in found.layers if each.unknown] == ["acme::Magic"]
    assert found.activations == 6


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has 0 bytes"),
        (b"no model at all, just some text that is longer", "no whole ONNX file|holds no graph"),
        (b"\x08\x08", "holds no graph"),
    ],
)
def test_what_is_no_model_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(InvalidFunction, match=message):
        _described(path)
    with pytest.raises(InvalidFunction, match="cannot be read"):
        _described(tmp_path / "none.onnx")


def test_claims_beyond_all_bounds_are_refused(save: Save) -> None:
    model = _convolutional()
    model.graph.initializer[0].dims[:] = [1 << 40, 3, 3, 3]
    with pytest.raises(InvalidFunction, match="claim more than"):
        _described(save(model))
    model.graph.initializer[0].dims[:] = [-4, 3, 3, 3]
    with pytest.raises(InvalidFunction, match="which no tensor can have"):
        _described(save(model))


def test_large_claims_are_described_without_being_allocated(save: Save) -> None:
    """2 TB of weights, of which the file has none."""
    model = _convolutional()
    tensor = model.graph.initializer[3]
    tensor.ClearField("raw_data")
    tensor.dims[:] = [1 << 35, 16]
    found = _described(save(model))
    assert not found.optimized
    assert found.parameters == PARAMETERS - 160 + (1 << 39)


def test_files_are_cut_anywhere_without_breaking(save: Save, tmp_path: Path) -> None:
    content = save(_convolutional()).read_bytes()
    path = tmp_path / "cut.onnx"
    rng = np.random.default_rng(3)
    for at in rng.integers(1, len(content), 25):
        path.write_bytes(content[:at])
        with pytest.raises(InvalidFunction):
            _described(path)


def test_a_process_of_its_own_says_the_same(save: Save) -> None:
    path = save(_convolutional())
    assert described(path, {}, 2) == _described(path, 2)
    with pytest.raises(InvalidValue, match="no such input"):
        described(path, {"z": [1]}, 1)


def test_a_process_that_dies_or_hangs_is_an_error(save: Save) -> None:
    path = save(_convolutional())
    with pytest.raises(InvalidFunction, match="without breaking the process"):
        asked({"task": "describe", "path": str(path)})  # what it asks for is not whole: the process ends with an error
    with pytest.raises(InvalidFunction, match="not read within"):
        described(path, {}, 1, timeout_s=0.001)


def _calls(name: str, *called: str) -> onnx.FunctionProto:
    nodes = [helper.make_node(each, ["a" if not at else f"t{at - 1}"],
                              ["b" if at == len(called) - 1 else f"t{at}"], domain="" if each == "Relu" else "f")
             for at, each in enumerate(called)]  # fmt: skip
    return helper.make_function(
        "f", name, ["a"], ["b"], nodes, [helper.make_opsetid("", 17), helper.make_opsetid("f", 1)]
    )


@pytest.mark.parametrize(
    ("functions", "why"),
    [
        ([_calls("F", "F")], "calls itself"),
        ([_calls("F", "G"), _calls("G", "F", "Relu")], "calls itself"),
        ([_calls("F", "F20", "F20"), *(_calls(f"F{at}", *(f"F{at - 1}",) * 3) for at in range(1, 21)),
          _calls("F0", "Relu")], "nodes with those of its functions"),
    ],
)  # fmt: skip
def test_functions_that_never_end_are_refused_at_once(
    save: Save, functions: list[onnx.FunctionProto], why: str
) -> None:
    """In a circle, or three times each of three times each."""
    model = _model([helper.make_node("F", ["x"], ["out"], domain="f")], {"x": [1, 4]}, {}, domains=["f"])
    model.functions.extend(functions)
    with pytest.raises(InvalidFunction, match=why):
        described(save(model), {}, 1, timeout_s=60.0)


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(_model([helper.make_node("Relu", ["x"], ["out"])], {"x": [1, 2**62, 2**62]}, {}), id="input"),
        pytest.param(
            _model(
                [helper.make_node("Concat", [f"t{at}" if at else "x"] * 2, [f"t{at + 1}" if at < 59 else "out"], axis=0)
                 for at in range(60)],
                {"x": [1, 3, 8, 8]}, {},
            ),
            id="doubled",
        ),
    ],
)  # fmt: skip
def test_more_numbers_than_any_machine_has_are_refused(save: Save, model: onnx.ModelProto) -> None:
    """With what to look at, and not as a process that broke."""
    with pytest.raises(InvalidFunction, match="which no machine has"):
        described(save(model), {}, 1)


def test_constants_that_are_made_of_nothing_take_no_memory(save: Save) -> None:
    """Eight billion numbers of a file of 200 bytes are not made in order to describe it."""
    ends = {"a": np.array(0), "b": np.array(2**33), "d": np.array(1)}
    nodes = [
        helper.make_node("Range", ["a", "b", "d"], ["r"]),
        helper.make_node("Cast", ["r"], ["c"], to=1),
        helper.make_node("Add", ["x", "c"], ["out"]),
    ]
    found = described(save(_model(nodes, {"x": [1, 8]}, ends)), {}, 1, timeout_s=100.0)
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    assert found.layers
    assert before < 3 << 20  # KiB
