"""A model is tried before it is served: what does not fit its spec is refused, with a remedy."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from models import FLOAT, looping, onnx_model, scores
from onnx import TensorProto, helper

from likewise.errors import InvalidFunction
from likewise.function.assembly import Assembler, Defaults
from likewise.inference.workers import Workers

NODE = helper.make_node
ARRAY = '[input]\nkind = "array"\n[[keys]]\nextractor = "vector"\ndimension = 2\n[model]\n'
IMAGE = '[input]\nkind = "image"\n[[keys]]\nextractor = "gray"\n[model]\nsize = [4, 4]\n'


def double(shape, kind=FLOAT, batch="batch"):
    """A model whose output has the input's shape."""
    return onnx_model([("y", kind, shape)], shape, [NODE("Add", ["x", "x"], ["y"])], dtype=kind, batch=batch)


@pytest.fixture
def build(tmp_path):
    with ThreadPoolExecutor(1) as executor:
        clock = lambda: 100.0  # noqa: E731
        assembler = Assembler(Defaults(), Workers(executor, 1), executor, clock, random.Random(1).random)

        def make(toml, **files):
            folder = tmp_path / "f"
            (folder / "1").mkdir(parents=True, exist_ok=True)
            (folder / "function.toml").write_text(toml)
            for name, content in files.items():
                (folder / "1" / f"{name}.onnx").write_bytes(content)
            return assembler.build(folder)

        yield make


@pytest.mark.parametrize(
    ("model", "says"),
    [
        pytest.param(double([5, 2]), "5×2.*tensors", id="a list of scores for each of many"),
        pytest.param(double([None, 2]), "tensors", id="the same, of any length"),
        pytest.param(scores(1), "1 - p and p", id="a sigmoid"),
        pytest.param(double([]), "1 - p and p", id="one number"),
        pytest.param(double([2], TensorProto.INT64), "int64.*export the scores", id="whole numbers"),
        pytest.param(
            onnx_model([("y", TensorProto.INT64, [])], [3], [NODE("ArgMax", ["x"], ["y"], axis=1, keepdims=0)]),
            "number of the class already",
            id="argmax in the graph",
        ),
        pytest.param(
            onnx_model([("y", TensorProto.STRING, [2])], [2], [NODE("Cast", ["x"], ["y"], to=TensorProto.STRING)]),
            "tensors of numbers",
            id="text",
        ),
        pytest.param(double([100_000, 100_000]), "limit is 4000000; raise max_elements", id="4 GB claimed"),
        pytest.param(
            onnx_model([("y", FLOAT, None)], [2], [NODE("ReduceSum", ["x"], ["y"], keepdims=0)]),
            "no batch axis",
            id="no batch",
        ),
        pytest.param(
            onnx_model([("y", FLOAT, None)], [2], [NODE("ReduceSum", ["x", "zero"], ["y"])], {"zero": np.array([0])}),
            "no batch axis of 2",
            id="a batch of one, always",
        ),
        pytest.param(
            onnx_model(
                [("y", FLOAT, [2])],
                [2],
                [NODE("ReduceMean", ["x"], ["mean"], axes=[0], keepdims=1), NODE("Sub", ["x", "mean"], ["y"])],
            ),
            "depends on what else is in its batch.*batch axis of 1",
            id="less the mean of a batch",
        ),
        pytest.param(
            onnx_model([("y", FLOAT, None)], [2], [NODE("Einsum", ["x", "x"], ["y"], equation="bi,cj->bicj")]),
            "depends on what else is in its batch",
            id="as many rows as are in a batch",
        ),
    ],
)
def test_what_is_no_list_of_scores_is_no_label(build, model, says):
    """Each is told what to export, or what else to take."""
    with pytest.raises(InvalidFunction, match=says):
        build(ARRAY, model=model)


NOT_FINITE = onnx_model([("y", FLOAT, [2])], [2], [NODE("Div", ["x", "zero"], ["y"])], {"zero": np.zeros(2, "f4")})


@pytest.mark.parametrize(
    ("spec", "files"),
    [
        pytest.param(ARRAY, {"model": NOT_FINITE}, id="scores"),
        pytest.param(ARRAY + '[result]\nkind = "tensors"\n', {"model": NOT_FINITE}, id="tensors"),
        pytest.param(
            ARRAY.replace('"vector"\ndimension = 2', '"onnx"\nfile = "key.onnx"'),
            {"key": NOT_FINITE, "model": scores()},
            id="keys",
        ),
    ],
)
def test_a_model_that_never_gives_finite_numbers_is_refused(build, spec, files):
    """Every request would be answered with `model-failed`."""
    with pytest.raises(InvalidFunction, match=r"gives NaN or infinity for zeros and for noise.*check its weights"):
        build(spec, **files)


@pytest.mark.parametrize(
    "nodes",
    [
        pytest.param([NODE("Div", ["x", "x"], ["y"])], id="zeros"),
        pytest.param([NODE("Log", ["x"], ["y"])], id="what is not positive"),
        pytest.param([NODE("Neg", ["x"], ["less"]), NODE("Log", ["less"], ["y"])], id="what is not negative"),
    ],
)
def test_a_model_that_has_no_finite_numbers_for_some_inputs_is_served(build, nodes):
    """Zeros are no input that it has to be good for."""
    model = onnx_model([("y", FLOAT, [2])], [2], nodes)
    spec = ARRAY + '[result]\nkind = "tensors"\n'
    assert build(spec, model=model).runner is not None


def test_a_variant_takes_the_arrays_of_its_function(build):
    """One for arrays of another length would fail each time that it is asked."""
    for inputs in (2, 4):
        small = scores(inputs=inputs)
        table = '[[variants]]\nname = "small"\nfile = "small.onnx"\ncost = 0.1\nagreement = 0.9\nmemory_bytes = 1\n'
        spec = f"{ARRAY}{table}size_bytes = {len(small)}\n"
        if inputs == 2:
            assert build(spec, model=scores(), small=small).variants is not None
            continue
        with pytest.raises(InvalidFunction, match=r"small\.onnx takes 4 numbers, the function's model 2"):
            build(spec, model=scores(), small=small)


@pytest.mark.parametrize("count", [2, 4])
def test_labels_have_to_be_as_many_as_the_classes(build, count):
    """Also where the model's input may have any length."""
    labels = f"[result]\nlabels = {[f'l{i}' for i in range(count)]}\n".replace("'", '"')
    free = onnx_model([("y", FLOAT, None)], [None], [NODE("MatMul", ["x", "w"], ["y"])], {"w": np.ones((8, 3), "f4")})
    for model in (scores(3), free):
        with pytest.raises(InvalidFunction, match=rf"names {count} classes.* has 3"):
            build(ARRAY + labels, model=model)


@pytest.mark.parametrize("shape", [[3], [3, 1, 1], [1, 3]])
def test_axes_of_one_do_not_matter(build, shape):
    """Heads of convolutional models leave them."""
    assert build(ARRAY, model=double(shape)).runner is not None


def test_a_model_that_only_takes_lengths_that_were_not_tried_is_served_all_the_same(build):
    """Nothing is known to be wrong with it."""
    weights = {"w": np.ones((7, 3), np.float32)}
    free = onnx_model([("y", FLOAT, None)], [None], [NODE("MatMul", ["x", "w"], ["y"])], weights)
    assert build(ARRAY, model=free).runner is not None


def test_tensors_may_be_of_any_shape_and_number_type(build):
    """And a tolerance names outputs that there are."""
    tensors = ARRAY + '[result]\nkind = "tensors"\n'
    for kind in (FLOAT, TensorProto.INT64, TensorProto.DOUBLE):
        assert build(tensors, model=double([5, 2], kind)).runner is not None
    assert build(tensors + "[result.tolerance]\ny = 0.5\n", model=double([2])).runner is not None
    with pytest.raises(InvalidFunction, match=r"`z`.*outputs are `y`"):
        build(tensors + "[result.tolerance]\nz = 0.5\n", model=double([2]))


def test_a_type_that_cannot_hold_a_pixel_is_refused_for_images(build):
    """With the file's name."""
    kind = TensorProto.BOOL
    cast = [NODE("Cast", ["x"], ["f"], to=FLOAT), NODE("Flatten", ["f"], ["y"])]
    with pytest.raises(InvalidFunction, match=r"model\.onnx.*float32 or uint8"):
        build(IMAGE, model=onnx_model([("y", FLOAT, None)], [3, 4, 4], cast, dtype=kind))
    for kind in (TensorProto.UINT8, TensorProto.INT8):
        assert build(IMAGE, model=onnx_model([("y", FLOAT, None)], [3, 4, 4], cast, dtype=kind)).runner


def test_channels_last_is_refused_with_a_remedy_that_works(build):
    """The layout, not another size."""
    model = onnx_model([("y", FLOAT, None)], [4, 4, 3], [NODE("Flatten", ["x"], ["y"])])
    with pytest.raises(InvalidFunction, match='set layout = "nhwc"'):
        build(IMAGE, model=model)
    assert build(IMAGE + 'layout = "nhwc"\n', model=model).runner is not None


@pytest.mark.parametrize(
    ("model", "says"),
    [
        pytest.param(double([5, 2]), "one list of 1 to 4096", id="two axes"),
        pytest.param(double([4], TensorProto.INT64), "int64", id="integers"),
        pytest.param(double([5000]), "5000", id="too long"),
    ],
)
def test_a_key_is_one_list_of_float_numbers(build, model, says):
    """What would be flattened means nothing."""
    toml = '[input]\nkind = "array"\n[[keys]]\nextractor = "onnx"\nfile = "key.onnx"\n'
    with pytest.raises(InvalidFunction, match=says):
        build(toml, key=model)
    fn = build(toml, key=double([4]))
    assert {name: each.dimension for name, each in fn.key_types.items()} == {"onnx": 4}
    assert [(each.name, each.dimension, each.metric) for each in fn.key_types.values()] == [("onnx", 4, "cosine")]


def endless():
    """A model that goes on for ever: a loop with a condition that is always true."""
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [NODE("Identity", ["on"], ["still"]), NODE("Add", ["v", "v"], ["w"])],
        "body",
        [value("i", TensorProto.INT64, []), value("on", TensorProto.BOOL, []), value("v", FLOAT, None)],
        [value("still", TensorProto.BOOL, []), value("w", FLOAT, None)],
    )
    constants = [
        NODE("Constant", [], [name], value=helper.make_tensor(name, kind, [], [number]))
        for name, kind, number in (("most", TensorProto.INT64, 2**62), ("true", TensorProto.BOOL, True))
    ]
    return onnx_model([("y", FLOAT, [2])], [2], [*constants, NODE("Loop", ["most", "true", "x"], ["y"], body=body)])


def test_a_model_that_does_not_end_is_refused(build, monkeypatch):
    """Its registration would never be answered, and no other one after it."""
    monkeypatch.setattr("likewise.function.trial.TRIAL_S", 0.2)
    with pytest.raises(InvalidFunction, match=r"model\.onnx does not end within 0\.2 s"):
        build(f"{ARRAY}[result]\nkind = 'tensors'\n", model=endless())


def products():
    """A model from two numbers to two that takes 216 million multiply-adds."""
    nodes = [
        NODE("ReduceMean", ["x"], ["mean"], keepdims=0),
        NODE("Add", ["c", "mean"], ["d"]),
        NODE("MatMul", ["d", "c"], ["e"]),
        NODE("ReduceMean", ["e"], ["f"], keepdims=0),
        NODE("Add", ["x", "f"], ["y"]),
    ]
    return onnx_model([("y", FLOAT, [2])], [2], nodes, {"c": np.ones((600, 600), np.float32)})


@pytest.mark.parametrize(
    ("model", "quick"),
    [
        pytest.param(double([4]), True, id="small"),
        pytest.param(looping(), False, id="loop"),
        pytest.param(products(), False, id="large"),
    ],
)
def test_a_key_that_takes_long_is_made_off_the_event_loop(build, model, quick):
    """All others would wait for it; a loop may take long with other inputs."""
    fn = build('[input]\nkind = "array"\n[[keys]]\nextractor = "onnx"\nfile = "key.onnx"\n', key=model)
    assert fn.key_types["onnx"].quick is quick
    assert fn.reader.is_small("application/json", b"[1, 2, 3, 4]") is quick


@pytest.mark.parametrize(
    "nodes",
    [
        pytest.param([NODE("RandomNormalLike", ["x"], ["y"])], id="by itself"),
        pytest.param(
            [NODE("Exp", ["x"], ["e"]), NODE("Log", ["e"], ["l"]), NODE("Div", ["l", "x"], ["y"])], id="no number"
        ),
        pytest.param(
            [NODE("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]), NODE("DequantizeLinear", ["q", "s", "z"], ["y"])],
            id="hardly, quantized",
        ),
    ],
)
def test_outputs_that_vary_for_other_reasons_are_served(build, nodes):
    """A model may draw lots, divide nought by nought, or quantize by the range of a batch."""
    assert build(ARRAY + '[result]\nkind = "tensors"\n', model=onnx_model([("y", FLOAT, [2])], [2], nodes))
