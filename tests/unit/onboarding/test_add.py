"""`likewise add`: from a file to a function, and refused with a remedy and without a trace where that cannot be."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from models import FLOAT, onnx_model, scores, with_external
from onnx import TensorProto, helper, numpy_helper

from likewise.__main__ import main
from likewise.function.parts import Parts
from likewise.function.spec_text import read_spec
from likewise.types import Image

NODE, UINT8 = helper.make_node, TensorProto.UINT8
Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `likewise add` on a model's bytes; return exit code and what was said."""

    def add(content: bytes, *options: str, file: str = "m.onnx") -> tuple[int, str]:
        (tmp_path / file).write_bytes(content)
        code = main(["add", str(tmp_path / file), "--functions", str(tmp_path / "functions"), *options])
        said = capsys.readouterr()
        return code, said.out + said.err

    return add


def written(folder: Path, bodies: dict[str, bytes]) -> str:
    """Write inputs; return their folder."""
    for name, body in bodies.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(body)
    return str(folder)


def picture_model(toys: Any, tmp_path: Path) -> bytes:
    """Return a model that tells which quadrant of a gray picture is bright."""
    toys.write_quadrants(tmp_path / "toys")
    return (tmp_path / "toys" / "quadrants" / "1" / "model.onnx").read_bytes()


def test_a_picture_classifier_is_served_after_one_command(
    run: Run, tmp_path: Path, toys: Any, live: Callable[..., Any]
) -> None:
    """Told nothing but the file, the labels and a folder of pictures."""
    pictures = {f"{at}.png": toys.picture(at % 4, at) for at in range(12)}
    (tmp_path / "names.txt").write_text("\n".join(toys.labels))
    code, said = run(
        picture_model(toys, tmp_path),
        *("--name", "bright", "--labels", str(tmp_path / "names.txt"), "--inputs", written(tmp_path / "in", pictures)),
    )
    assert code == 0, said
    assert "tried on 12 inputs: 4 different results" in said
    assert f"likewise serve --functions {tmp_path / 'functions'}" in said
    server = live(functions=tmp_path / "functions")
    for at in range(4):
        answer = server.http.post(
            "/v1/functions/bright/infer", content=toys.picture(at, 99), headers={"content-type": "image/png"}
        )
        assert answer.json()["label"] == toys.labels[at]


def trained_for(mean: float, std: float) -> bytes:
    """Return a classifier of flat gray pictures in three brightnesses, which needs pixels as (x / 255 - mean) / std."""
    levels = (np.array([0.2, 0.5, 0.8]) - mean) / std
    weights = (2 * levels[None, :] * np.ones((16, 1))).astype(np.float32) * 4
    offsets = (-16 * 4 * levels**2).astype(np.float32)
    nodes = [NODE("Flatten", ["x"], ["f"]), NODE("MatMul", ["f", "w"], ["m"]), NODE("Add", ["m", "b"], ["y"])]
    return onnx_model([("y", FLOAT, [3])], [1, 4, 4], nodes, {"w": weights, "b": offsets})


@pytest.mark.parametrize(
    ("mean", "std", "fields"),
    [(0.5, 0.5, {"mean": (0.5,), "std": (0.5,)}), (0.0, 1.0, {}), (0.0, 1 / 255, {"scale": 1.0})],
)
def test_how_pixels_are_scaled_is_found_out(
    run: Run, tmp_path: Path, mean: float, std: float, fields: dict[str, Any]
) -> None:
    """By what the model tells of pictures, without a word on what they show."""
    rng = np.random.default_rng(0)
    pictures = {}
    for at in range(24):
        level = (51, 127, 204)[at % 3]
        pixels = np.clip(rng.normal(level, 6, (4, 4)), 0, 255).astype(np.uint8)
        pictures[f"{at:02}.png"] = cv2.imencode(".png", pixels)[1].tobytes()
    code, said = run(trained_for(mean, std), "--inputs", written(tmp_path / "in", pictures))
    assert code == 0, said
    model = read_spec(tmp_path / "functions" / "m")[0].model
    assert model is not None
    found = {
        name: getattr(model, name) for name in ("scale", "mean", "std") if getattr(model, name) not in ((), None, 255.0)
    }
    assert found == fields, said


def test_sub_folders_named_like_labels_are_the_better_witness(run: Run, tmp_path: Path) -> None:
    """Then the share of right answers decides."""
    pictures = {}
    for at, name in enumerate(("dark", "middle", "light") * 4):
        pixels = np.full((4, 4), (51, 127, 204)[at % 3], np.uint8)
        pictures[f"{name}/{at}.png"] = cv2.imencode(".png", pixels)[1].tobytes()
    (tmp_path / "names.txt").write_text("dark\nmiddle\nlight\n")
    code, said = run(
        trained_for(0.5, 0.5), "--labels", str(tmp_path / "names.txt"), "--inputs", written(tmp_path / "in", pictures)
    )
    assert code == 0, said
    assert "right by sub-folder: from -1 to 1 1.00" in said


@pytest.mark.parametrize(
    ("model", "options", "document"),
    [
        pytest.param(
            onnx_model([("embedding", FLOAT, [8])], [8], [NODE("Identity", ["x"], ["embedding"])]),
            (),
            {"result": {"kind": "embedding"}, "keys": [{"extractor": "vector", "dimension": 8}]},
            id="embedding",
        ),
        pytest.param(
            onnx_model([("y", FLOAT, [5])], [5], [NODE("Sigmoid", ["x"], ["y"])]),
            (),
            {"result": {"kind": "multi-label", "scores": "probabilities"}},
            id="sigmoid",
        ),
        pytest.param(
            onnx_model([("y", FLOAT, [None, 9])], [None, 9], [NODE("Identity", ["x"], ["y"])]),
            (),
            {"result": {"kind": "tensors"}, "keys": [{"extractor": "pool"}]},
            id="any shape",
        ),
        pytest.param(
            onnx_model([("y", FLOAT, [100, 6])], [100, 6], [NODE("Identity", ["x"], ["y"])]),
            (),
            {"result": {"kind": "boxes", "rows": "score-class"}},
            id="boxes",
        ),
        pytest.param(
            onnx_model(
                [("y", FLOAT, [3])],
                [32],
                [NODE("MatMul", ["f", "w"], ["y"]), NODE("Cast", ["x"], ["f"], to=1)][::-1],
                {"w": np.ones((32, 3), np.float32)},
                dtype=TensorProto.INT32,
            ),
            ("--kind", "bytes"),
            {"input": {"kind": "bytes"}, "model": {"first": 32}, "keys": [{"extractor": "bytes"}]},
            id="bytes",
        ),
        pytest.param(
            onnx_model(
                [("y", FLOAT, [2])],
                [4000, 1],
                [NODE("ReduceMean", ["x"], ["m"], axes=[1], keepdims=0), NODE("Concat", ["m", "m"], ["y"], axis=1)],
                dtype=FLOAT,
            ),
            (),
            {"input": {"kind": "audio"}, "model": {"samples": 4000, "sample_rate": 16000}},
            id="sound",
        ),
        pytest.param(
            onnx_model([("y", FLOAT, [3, None, None])], [3, None, None], [NODE("Relu", ["x"], ["y"])]),
            ("--set", "model.max_side=64"),
            {"model": {"resize": "free", "max_side": 64}},
            id="pictures of any size",
        ),
        pytest.param(
            onnx_model([("y", UINT8, None)], [8, 8, 3], [NODE("Flatten", ["x"], ["y"])], dtype=UINT8),
            ("--result", "tensors"),
            {"model": {"layout": "nhwc"}, "result": {"kind": "tensors"}},
            id="channels last",
        ),
    ],
)
def test_what_a_file_says_is_written(
    run: Run, tmp_path: Path, model: bytes, options: tuple[str, ...], document: Any
) -> None:
    """Kinds, layouts, scores, keys; each with a comment on where it comes from."""
    code, said = run(model, *options)
    assert code == 0, said
    spec, _ = read_spec(tmp_path / "functions" / "m")
    found = spec.model_dump()
    for table, fields in document.items():
        there = found["keys"][0] if table == "keys" else found[table]
        wanted = fields[0] if table == "keys" else fields
        assert {name: there[name] for name in wanted} == wanted
    text = (tmp_path / "functions" / "m" / "function.toml").read_text()
    assert all(" # " in line for line in text.splitlines() if " = " in line and not line.startswith("#"))


def with_states() -> bytes:
    """Return a model with a state, a sample rate, and a new state among its outputs."""
    info = helper.make_tensor_value_info
    nodes = [
        NODE("Cast", ["sr"], ["rate"], to=FLOAT),
        NODE("ReduceMean", ["state"], ["s"], axes=[0, 2], keepdims=0),
        NODE("ReduceMax", ["input"], ["top"], axes=[1], keepdims=1),
        NODE("Mul", ["top", "rate"], ["scaled"]),
        NODE("Add", ["scaled", "s"], ["sum"]),
        NODE("Sigmoid", ["sum"], ["output"]),
        NODE("Identity", ["state"], ["stateN"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [info("input", FLOAT, ["n", 512]), info("state", FLOAT, [2, "n", 8]), info("sr", TensorProto.INT64, [])],
        [info("output", FLOAT, ["n", 1]), info("stateN", FLOAT, [2, "n", 8])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()


def test_states_and_sample_rates_are_fixed(run: Run, tmp_path: Path) -> None:
    """Zeros for a state, the sample rate of the sounds; the new state is no result."""
    code, said = run(with_states())
    assert code == 0, said
    spec, _ = read_spec(tmp_path / "functions" / "m")
    assert spec.model is not None
    assert spec.model.input == "input"
    assert spec.model.model_dump()["fixed"] == {"state": {"shape": (2, 1, 8), "fill": 0.0}, "sr": 16000}
    assert spec.result.kind == "multi-label"
    assert "model.fixed.sr = 16000" in said
    assert (
        run(with_states(), "--name", "other", "--set", "model.fixed.sr=8000", "--set", "model.sample_rate=8000")[0] == 0
    )
    other, _ = read_spec(tmp_path / "functions" / "other")
    assert other.model is not None
    assert other.model.fixed["sr"] == 8000


def test_names_and_alphabets_in_the_metadata_are_used(run: Run, tmp_path: Path) -> None:
    """A table by number as detectors have it, and one character per line."""

    def named(content: bytes, key: str, text: str) -> bytes:
        model = onnx.ModelProto.FromString(content)
        entry = model.metadata_props.add()
        entry.key, entry.value = key, text
        return model.SerializeToString()

    code, said = run(named(scores(), "names", "{0: 'cat', 1: 'dog', 2: 'owl'}"), "--name", "animals")
    assert code == 0, said
    assert (tmp_path / "functions" / "animals" / "1" / "labels.txt").read_text() == "cat\ndog\nowl\n"
    steps = onnx_model([("y", FLOAT, [None, 4])], [None, 4], [NODE("Softmax", ["x"], ["y"])])
    code, said = run(named(steps, "character", "a\nb\nc"), "--name", "letters")
    assert code == 0, said
    assert read_spec(tmp_path / "functions" / "letters")[0].result.kind == "text"
    # what looks like code is data
    assert run(named(scores(), "names", "__import__('os').system('true')"), "--name", "plain")[0] == 0


def hostile() -> dict[str, tuple[bytes, str]]:
    """Return files that must not be served, with what is said of them."""
    info = helper.make_tensor_value_info

    def of(nodes: list[Any], weights: dict[str, Any] | None = None) -> bytes:
        graph = helper.make_graph(
            nodes,
            "g",
            [info("x", FLOAT, ["n", 2])],
            [info("y", FLOAT, ["n", 2])],
            [numpy_helper.from_array(np.asarray(value), name) for name, value in (weights or {}).items()],
        )
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("acme", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()

    claimed = onnx.ModelProto.FromString(scores())
    claimed.graph.initializer[0].dims[0] = 1 << 30
    # a shape that only running the model tells
    grown = [
        NODE("Mul", ["a", "b"], ["s"]),
        NODE("ConstantOfShape", ["s"], ["c"]),
        NODE("ReduceMax", ["c"], ["r"], keepdims=0),
    ]
    return {
        "external data elsewhere": (with_external("../secret.bin"), "outside its folder"),
        "external data not there": (with_external("gone.bin"), "put it beside the model"),
        "operator": (of([NODE("Magic", ["x"], ["y"], domain="acme")]), "operator `acme::Magic`"),
        "operator of another opset": (of([NODE("Magic", ["x"], ["y"])]), "opset that the installed"),
        "cut off": (scores()[:-9], "copy it again"),
        "empty": (b"", "is empty"),
        "no model": (b"this is a text file\n" * 9, "no whole ONNX file"),
        "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(99), "no whole ONNX file"),
        "4 GB in a weight": (claimed.SerializeToString(), "claims a shape"),
        "4 GB in an input": (
            onnx_model([("y", FLOAT, [1 << 30])], [1 << 30], [NODE("Relu", ["x"], ["y"])]),
            "raise max_elements",
        ),
        "4 GB when it runs": (
            of([*grown, NODE("Add", ["x", "r"], ["y"])], {"a": np.array([1 << 16]), "b": np.array([1 << 15])}),
            "export it again",
        ),
        "no input": (_without_input(), "no input that is"),
        "a result that is never finite": (
            of([NODE("Sub", ["x", "x"], ["z"]), NODE("Div", ["z", "z"], ["y"])]),
            "check its weights",
        ),
        "an output that nothing makes": (of([NODE("Relu", ["x"], ["z"])]), "failed:This is an invalid model"),
        "letters that a terminal obeys": (with_external("\x1b[2J/../gone.bin"), "keeps data in `?[2J"),
        "a name twice": (of([NODE("Relu", ["x"], ["y"]), NODE("Neg", ["x"], ["y"])]), "Duplicate definition"),
        "a circle": (
            of([NODE("Add", ["x", "b"], ["a"]), NODE("Relu", ["a"], ["b"]), NODE("Relu", ["b"], ["y"])]),
            "acyclic",
        ),
    }


def _without_input() -> bytes:
    graph = helper.make_graph(
        [NODE("Constant", [], ["y"], value_floats=[1.0])], "g", [], [helper.make_tensor_value_info("y", FLOAT, [1])]
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()


@pytest.mark.parametrize("what", sorted(hostile()))
def test_a_hostile_file_is_refused_and_leaves_no_trace(run: Run, tmp_path: Path, what: str) -> None:
    """In one line, naming the remedy; the folder of functions is not even made."""
    content, says = hostile()[what]
    (tmp_path.parent / "secret.bin").write_bytes(bytes(24))
    code, said = run(content, "--max-memory", "1GiB")
    assert code == 2
    assert says in said
    assert said.startswith("likewise: ")
    assert "Traceback" not in said
    assert not (tmp_path / "functions").exists()


def test_a_model_that_never_ends_is_given_up(run: Run, tmp_path: Path) -> None:
    """After the time that it was given."""
    info = helper.make_tensor_value_info
    body = helper.make_graph(
        [NODE("Identity", ["c"], ["co"]), NODE("Add", ["a", "a"], ["ao"])],
        "b",
        [info("i", TensorProto.INT64, []), info("c", TensorProto.BOOL, []), info("a", FLOAT, None)],
        [info("co", TensorProto.BOOL, []), info("ao", FLOAT, None)],
    )
    graph = helper.make_graph(
        [NODE("Loop", ["n", "t", "x"], ["y"], body=body)],
        "g",
        [info("x", FLOAT, ["n", 2])],
        [info("y", FLOAT, ["n", 2])],
        [numpy_helper.from_array(np.array(1 << 60), "n"), numpy_helper.from_array(np.array(True), "t")],
    )
    content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()
    code, said = run(content, "--timeout", "2")
    assert code == 2
    assert "not done in 2 s; raise --timeout" in said
    assert not (tmp_path / "functions").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--labels", "{two}"), "gives 3 scores, and there are 2 labels"),
        (("--labels", "{gone}"), "check --labels"),
        (("--labels", "{empty}"), "is no file"),
        (("--labels", "{pipe}"), "is no file"),
        (("--labels", "{binary}"), "UTF-8"),
        (("--labels", "{long}"), "over 16777216 bytes"),
        (("--inputs", "{texts}"), "none is an input of kind `array`"),
        (("--inputs", "{empty}"), "holds no file"),
        (("--inputs", "{gone}"), "is no folder"),
        (("--inputs", "{broken}"), "none of 2 inputs can be used"),
        (("--inputs", "{good}", "--set", "model.fixed.q=1"), "has no input `q`"),
        (("--set", "model"), "write TABLE.FIELD=VALUE"),
        (("--set", "nothing.field=1"), "a table of input"),
        (("--set", "model.sizes=1"), "`model.sizes` is not known"),
        (("--set", "model.size=[1, 2]"), "no use to inputs of kind `array`"),
        (("--kind", "image"), "a picture has 3, or 2"),
        (("--result", "text"), "--labels FILE"),
        (("--result", "boxes"), "make no result of kind `boxes`"),
        (("--name", "No Name"), "lower-case letters"),
        (("--max-memory", "lots"), "--max-memory"),
        (("--most", "0"), "above 0"),
    ],
)
def test_what_cannot_be_is_told_with_the_remedy(run: Run, tmp_path: Path, options: tuple[str, ...], says: str) -> None:
    """And nothing is written."""
    names = ("two", "gone", "texts", "empty", "broken", "good", "pipe", "binary", "long")
    places = {name: tmp_path / name for name in names}
    places["two"].write_text("a\nb\n")
    os.mkfifo(places["pipe"])
    places["binary"].write_bytes(bytes(range(256)))
    places["long"].write_bytes(b"name\n" * (1 << 22))
    places["empty"].mkdir()
    written(places["texts"], {"a.txt": b"hello"})
    written(places["broken"], {"a.json": b'["x"]', "b.json": b"[1, 2, 3]"})
    written(places["good"], {"a.json": b"[1, 2]"})
    code, said = run(scores(), *(each.format(**places) for each in options))
    assert code == 2
    assert says in said
    assert not (tmp_path / "functions").exists()


def test_outputs_that_are_not_finite_are_refused(run: Run, tmp_path: Path) -> None:
    """On inputs that are fine."""
    model = onnx_model([("y", FLOAT, [2])], [2], [NODE("Div", ["x", "z"], ["y"])], {"z": np.zeros(2, np.float32)})
    code, said = run(model, "--inputs", written(tmp_path / "in", {"a.json": b"[1, 2]"}))
    assert code == 2
    assert "NaN or infinity" in said
    assert not (tmp_path / "functions").exists()


def test_a_result_that_is_too_large_is_told_before_it_is_served(run: Run) -> None:
    """With what makes it smaller."""
    model = onnx_model([("y", FLOAT, [400])], [400], [NODE("Relu", ["x"], ["y"])])
    code, said = run(model, "--result", "tensors", "--max-result-bytes", "512")
    assert code == 2
    assert "the server keeps 512; name fewer outputs" in said


def test_what_is_there_stays_as_it_is(run: Run, tmp_path: Path) -> None:
    """A name that is taken is refused; another model's failure touches nothing; a dry run writes nothing."""
    assert run(scores())[0] == 0
    before = {path: path.read_bytes() for path in (tmp_path / "functions").rglob("*") if path.is_file()}
    code, said = run(scores(seed=1))
    assert code == 2
    assert "is there already; take another --name, or: likewise functions remove m" in said
    assert run(scores()[:-3], "--name", "other")[0] == 2
    code, said = run(scores(), "--name", "third", "--dry-run")
    assert code == 0
    assert "[[keys]]" in said
    assert "Nothing was written" in said
    assert {path: path.read_bytes() for path in (tmp_path / "functions").rglob("*") if path.is_file()} == before
    assert [each.name for each in (tmp_path / "functions").iterdir()] == ["m"]


def test_external_data_come_along(run: Run, tmp_path: Path) -> None:
    """Copied beside the model."""
    (tmp_path / "w.bin").write_bytes(np.arange(6, dtype=np.float32).tobytes())
    code, said = run(with_external("w.bin"))
    assert code == 0, said
    assert (tmp_path / "functions" / "m" / "1" / "w.bin").read_bytes() == (tmp_path / "w.bin").read_bytes()


def test_functions_are_listed_checked_and_removed(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A fault is found by check, and the others stay."""
    assert run(scores())[0] == 0
    assert run(scores(), "--name", "other")[0] == 0
    where = ("--functions", str(tmp_path / "functions"))

    def functions(*words: str) -> tuple[int, str]:
        code = main(["functions", *words, *where])
        said = capsys.readouterr()
        return code, said.out + said.err

    assert functions("list")[1].splitlines()[0].split() == [
        "m@1",
        "array",
        "→",
        "label,",
        "model.onnx,",
        "keys",
        "vector",
    ]
    assert functions("check") == (0, "m: can be served\nother: can be served\n")
    (tmp_path / "functions" / "other" / "1" / "model.onnx").write_bytes(scores()[:-3])
    code, said = functions("check")
    assert code == 1
    assert "m: can be served" in said
    assert "other: " in said
    assert "copy it again" in said
    assert functions("remove", "other")[0] == 0
    assert [each.name for each in (tmp_path / "functions").iterdir()] == ["m"]
    for name in ("other", "../m", "m/1"):
        code, said = functions("remove", name)
        assert code == 2
        assert "there are: m" in said
    assert functions("remove", "m")[0] == 0
    assert "likewise add MODEL.onnx" in functions("list")[1]


def detector(output: list[Any], nodes: list[Any], shape: list[Any], weights: dict[str, Any] | None = None) -> bytes:
    """Return a model of pictures with one output of any shape, and the names of two classes."""
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "g",
        [info("images", FLOAT, shape)],
        [info("output0", FLOAT, output)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in (weights or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    entry = model.metadata_props.add()
    entry.key, entry.value = "names", "{0: 'cat', 1: 'dog'}"
    return model.SerializeToString()


def always(name: str) -> list[Any]:
    """Return nodes that say what a weight holds, whatever the picture."""
    nodes = [NODE("ReduceMax", ["images"], ["m"], keepdims=0), NODE("Mul", ["m", "none"], ["z"])]
    return [*nodes, NODE("Add", ["z", name], ["output0"])]


def test_a_detector_that_knows_its_classes_needs_no_word(run: Run, tmp_path: Path) -> None:
    """Columns of box and scores, as YOLO exports them."""
    rows = np.zeros((1, 6, 40), np.float32)
    rows[0, :, 3] = [16, 16, 8, 8, 0.1, 0.9]
    nodes = always("rows")
    code, said = run(detector([1, 6, 40], nodes, [1, 3, 32, 32], {"rows": rows, "none": np.float32(0)}))
    assert code == 0, said
    result = read_spec(tmp_path / "functions" / "m")[0].result
    assert (result.kind, result.rows, result.corners, result.nms) == ("boxes", "classes", "cxcywh", 0.45)
    assert '"box":[0.375,0.375,0.625,0.625],"score":0.9,"label":"dog"' in run_once(tmp_path)


def run_once(tmp_path: Path) -> str:
    """Return the result for a gray picture of the function that was added."""
    folder = tmp_path / "functions" / "m"
    spec, version = read_spec(folder)
    assert spec.model is not None
    found = Parts(spec, folder, version).computation(spec.model, 1)
    value = Image(np.full((32, 32, 3), 90, np.uint8))
    outputs = [output[0] for output in found.model.run(found.prepare(value)[None])]
    return found.encode(outputs, value).body.decode()


@pytest.mark.parametrize(("shape", "batch"), [([1, 3, 32, 32], "input"), ([3, 32, 32], "none")])
def test_what_has_no_batch_axis_is_found_out(run: Run, tmp_path: Path, shape: list[int], batch: str) -> None:
    """Outputs alone, as detectors with suppression have it, or the input as well."""
    rows = np.array([[8, 8, 24, 24, 0.9, 1], [0, 0, 8, 8, 0.8, 0]], np.float32)
    nodes = always("rows")
    code, said = run(detector([2, 6], nodes, shape, {"rows": rows, "none": np.float32(0)}))
    assert code == 0, said
    spec, _ = read_spec(tmp_path / "functions" / "m")
    assert spec.model is not None
    assert (spec.model.batch, spec.result.rows) == (batch, "score-class")
    assert '"box":[0.25,0.25,0.75,0.75],"score":0.9,"label":"dog"' in run_once(tmp_path)


def test_a_folder_that_cannot_be_written_is_named(run: Run, tmp_path: Path) -> None:
    """A file stands where the functions would go."""
    (tmp_path / "functions").write_text("")
    code, said = run(scores())
    assert code == 2
    assert f"{tmp_path / 'functions'}" in said
    assert "nothing was added" in said


def test_values_of_inputs_with_dots_and_colons_in_their_names(run: Run, tmp_path: Path) -> None:
    """As exporters call them."""
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        [NODE("Add", ["input.1", "serving:0"], ["y"])],
        "g",
        [info("input.1", FLOAT, ["n", 4]), info("serving:0", FLOAT, [1, 4])],
        [info("y", FLOAT, ["n", 4])],
    )
    content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()
    assert run(content, "--set", "model.fixed.serving:0=[[1, 2, 3, 4]]")[0] == 0
    model = read_spec(tmp_path / "functions" / "m")[0].model
    assert model is not None
    assert model.fixed == {"serving:0": [[1, 2, 3, 4]]}
    other = ("--set", "model.input=serving:0", "--set", "model.fixed.input.1=[[1, 2, 3, 4]]")
    assert run(content, "--name", "other", *other)[0] == 0


def test_inputs_that_are_all_alike_tell_nothing(run: Run, tmp_path: Path) -> None:
    """What is usual is assumed then, and said."""
    body = cv2.imencode(".png", np.full((4, 4), 127, np.uint8))[1].tobytes()
    code, said = run(
        trained_for(0.5, 0.5), "--inputs", written(tmp_path / "in", {f"{at}.png": body for at in range(4)})
    )
    assert code == 0, said
    assert "tells too little of 4 inputs" in said
    assert "model.scale" in said.partition("assumed:")[2]
