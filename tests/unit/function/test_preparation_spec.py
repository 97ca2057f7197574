"""What a spec says of inputs and results: every field is checked, served and part of the fingerprint."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from models import FLOAT, onnx_model
from onnx import helper

from likewise.errors import InvalidFunction
from likewise.function.assembly import Assembler, Defaults
from likewise.function.fingerprint import fingerprint
from likewise.function.preparation_spec import FIELDS_OF, OF_ALL, Preparation
from likewise.function.result_spec import ResultSpec
from likewise.function.spec_text import parse_spec, parse_toml
from likewise.inference.workers import Workers

NODE = helper.make_node
IMAGE = {"input": {"kind": "image"}, "keys": [{"extractor": "gray"}]}
AUDIO = {"input": {"kind": "audio"}, "keys": [{"extractor": "mfcc"}]}
BYTES = {"input": {"kind": "bytes"}, "keys": [{"extractor": "bytes"}]}


def test_every_field_belongs_to_a_kind_of_input() -> None:
    """No field without a use."""
    assert set(Preparation.model_fields) == {each for fields in FIELDS_OF.values() for each in fields} | OF_ALL


@pytest.mark.parametrize(
    ("base", "model", "says"),
    [
        (IMAGE, {"size": [4, 4], "crop_from": 8}, "take crop"),
        (IMAGE, {"size": [4, 4], "fill": 8}, "take letterbox or height"),
        (IMAGE, {"size": [4, 4], "resize": "free"}, "keeps it free"),
        (IMAGE, {"resize": "crop"}, "needs `size"),
        (IMAGE, {"size": [4, 4], "resize": "zoom"}, "'stretch', 'crop'"),
        (IMAGE, {"size": [4, 4], "layout": "hwc"}, "'nchw', 'nhwc'"),
        (IMAGE, {"size": [4, 4], "scale": 0}, "model.scale"),
        (IMAGE, {"size": [4, 4], "samples": 3}, "`samples`, which inputs of kind `image`"),
        (IMAGE, {"size": [4, 4], "fixed": {"a": "b"}}, "numbers for `a`"),
        (IMAGE, {"size": [4, 4], "fixed": {"a": [1, ["x"]]}}, "numbers for `a`"),
        (IMAGE, {"size": [4, 4], "fixed": {"a": {"shape": [2], "full": 1}}}, "full"),
        (IMAGE, {"size": [4, 4], "batch": "outputs"}, "'both', 'input' or 'none'"),
        (AUDIO, {"sample_rate": 8000}, "either `seconds` or `samples`"),
        (AUDIO, {"sample_rate": 8000, "seconds": 1, "samples": 3}, "either `seconds` or `samples`"),
        (BYTES, {"last": 3}, "needs `first`"),
        (BYTES, {"first": 3, "seconds": 3}, "`seconds`, which inputs of kind `bytes`"),
    ],
)
def test_a_preparation_that_cannot_be_is_named_with_its_remedy(base: Any, model: Any, says: str) -> None:
    """Field and what to write instead."""
    with pytest.raises(InvalidFunction, match=says):
        parse_spec({**base, "model": model}, "spec")


@pytest.mark.parametrize(
    ("result", "says"),
    [
        ({"kind": "label", "threshold": 0.5}, "`threshold` is for kind `multi-label` or `boxes`"),
        ({"kind": "label", "outputs": ["a", "b"]}, "at most 1"),
        ({"kind": "tensors", "outputs": ["a", "a"]}, "names one twice"),
        ({"kind": "text"}, "needs `alphabet`"),
        ({"kind": "boxes", "rows": "map", "corners": "xyxy"}, "no use to rows `map`"),
        ({"kind": "boxes", "grow": 1.0}, "no use to rows `score-class`"),
        ({"kind": "boxes", "equality": "cosine"}, "take equality `boxes` or `bytes`"),
        ({"kind": "embedding", "similarity": 0.9, "equality": "close"}, "`similarity` is for equality `cosine`"),
        ({"kind": "boxes", "iou": 0}, "result.iou"),
        ({"kind": "label", "top": 0}, "result.top"),
        ({"kind": "multi-label", "labels": []}, "two names|at least"),
        ({"kind": "label", "windows": "mean"}, "`windows` is for sounds with `overlap`"),
    ],
)
def test_a_result_that_cannot_be_is_named_with_its_remedy(result: Any, says: str) -> None:
    """Field and what to write instead."""
    with pytest.raises(InvalidFunction, match=says):
        parse_spec({**IMAGE, "model": {"size": [4, 4]}, "result": result}, "spec")


@pytest.mark.parametrize(
    ("result", "equality"),
    [("multi-label", "labels"), ("boxes", "boxes"), ("embedding", "cosine")],
)
def test_each_kind_has_its_equality(result: str, equality: str) -> None:
    """Unless the spec says otherwise."""
    assert parse_spec({**IMAGE, "result": {"kind": result}}, "spec").result.equality == equality


OTHER: dict[str, Any] = {
    "size": (8, 8),
    "channels": 1,
    "layout": "nhwc",
    "color": "bgr",
    "scale": 2.0,
    "mean": (0.5,),
    "std": (0.5,),
    "resize": "crop",
    "crop_from": 9,
    "min_side": 3,
    "max_side": 9,
    "multiple": 4,
    "align": "corner",
    "fill": 3.0,
    "interpolation": "area",
    "sample_rate": 9000,
    "seconds": 2.0,
    "samples": 3,
    "overlap": 2,
    "full_scale": 2.0,
    "first": 9,
    "last": 9,
    "padding": 9,
    "strip": True,
    "block": 9,
    "input": "x",
    "fixed": {"a": 1},
    "batch": "none",
}
RESULT: dict[str, Any] = {
    "kind": "boxes",
    "outputs": ("a",),
    "top": 2,
    "scores": "logits",
    "threshold": 0.3,
    "blank": "last",
    "rows": "map",
    "corners": "yxyx",
    "unit": "fractions",
    "nms": 0.4,
    "max_boxes": 9,
    "pixel": 0.2,
    "grow": 1.0,
    "normalize": False,
    "decimals": 3,
    "windows": "each",
    "equality": "bytes",
    "iou": 0.3,
    "similarity": 0.4,
}


def test_every_field_of_a_preparation_is_part_of_the_fingerprint() -> None:
    """Of the model's and of a key's: what is prepared otherwise makes other results."""
    spec = parse_spec({**IMAGE, "model": {"size": [4, 4]}}, "spec")
    assert set(OTHER) == set(Preparation.model_fields)
    seen = {fingerprint(spec, (), {"model.onnx": ()})}
    assert spec.model is not None
    for field, value in OTHER.items():
        changed = spec.model_copy(update={"model": spec.model.model_copy(update={field: value})})
        seen.add(fingerprint(changed, (), {"model.onnx": ()}))
        of_key = spec.model_copy(update={"keys": (spec.keys[0].model_copy(update={field: value}),)})
        seen.add(fingerprint(of_key, (), {"model.onnx": ()}))
    assert len(seen) == 1 + 2 * len(OTHER)


def test_every_field_of_results_is_part_of_the_fingerprint() -> None:
    """But for names of files, whose content is, and the tolerance, which counts where it is used."""
    spec = parse_spec(IMAGE, "spec")
    assert set(RESULT) == set(ResultSpec.model_fields) - {"labels", "alphabet", "tolerance"}
    seen = {fingerprint(spec, (), {}), fingerprint(spec, ("a", "b"), {})}
    for field, value in RESULT.items():
        changed = spec.model_copy(update={"result": spec.result.model_copy(update={field: value})})
        seen.add(fingerprint(changed, (), {}))
    assert len(seen) == 2 + len(RESULT)


def test_what_is_written_out_as_the_default_changes_nothing() -> None:
    """So a spec keeps what was computed as fields come to be."""
    plain = parse_spec({**IMAGE, "model": {"size": [4, 4]}}, "spec")
    full = parse_spec(
        {
            **IMAGE,
            "model": {"size": [4, 4], "layout": "nchw", "color": "rgb", "resize": "stretch", "mean": [0.0, 0, 0]},
        },
        "spec",
    )
    assert fingerprint(plain, (), {"model.onnx": ()}) == fingerprint(full, (), {"model.onnx": ()})


@pytest.fixture
def build(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Put functions together from TOML and a model."""
    with ThreadPoolExecutor(1) as executor:
        assembler = Assembler(Defaults(), Workers(executor, 1), executor, lambda: 100.0, random.Random(1).random)

        def make(toml: str, model: bytes, **files: str) -> Any:
            folder = tmp_path / "f"
            (folder / "1").mkdir(parents=True, exist_ok=True)
            (folder / "function.toml").write_text(toml)
            (folder / "1" / "model.onnx").write_bytes(model)
            for name, text in files.items():
                (folder / "1" / f"{name}.txt").write_text(text)
            return assembler.build(folder)

        yield make


def same(shape: list[Any], kind: int = FLOAT) -> bytes:
    """Return a model whose output is its input."""
    return onnx_model([("y", kind, shape)], shape, [NODE("Identity", ["x"], ["y"])], dtype=kind)


HEAD = '[input]\nkind = "{}"\n[[keys]]\nextractor = "{}"\n[model]\n{}\n[result]\n{}\n'
TENSORS = 'kind = "tensors"'


@pytest.mark.parametrize(
    ("kind", "extractor", "model", "shape"),
    [
        ("image", "gray", 'size = [8, 6]\nlayout = "nhwc"', [6, 8, 3]),
        ("image", "gray", 'size = [8, 6]\nlayout = "nhw"\nchannels = 1', [6, 8]),
        ("image", "gray", 'resize = "free"\nmultiple = 8', [3, None, None]),
        ("image", "gray", 'resize = "height"\nsize = [32, 8]', [3, 8, None]),
        ("image", "gray", 'resize = "letterbox"\nsize = [32, 8]', [3, 8, 32]),
        ("audio", "mfcc", "sample_rate = 8000\nsamples = 400", [400, 1]),
        ("audio", "mfcc", "sample_rate = 8000\nsamples = 400", [1, 400]),
        ("audio", "mfcc", "sample_rate = 8000\nsamples = 400\noverlap = 100", [400]),
        ("audio", "mfcc", "sample_rate = 8000\nseconds = 0.05", [None]),
        ("bytes", "bytes", "first = 4\nlast = 4", [8]),
        ("array", "pool", "", [None, 70, 80]),
    ],
)
def test_models_of_each_shape_are_served(
    build: Callable[..., Any], kind: str, extractor: str, model: str, shape: list[Any]
) -> None:
    """Where the spec prepares what the file takes."""
    assert build(HEAD.format(kind, extractor, model, TENSORS), same(shape)).runner is not None


def test_a_fixed_shape_is_not_fed_pictures_of_any_size(build: Callable[..., Any]) -> None:
    """Told when the function is put together."""
    with pytest.raises(InvalidFunction, match="takes an input of 3×8×8, but the spec prepares 3×any×any"):
        build(HEAD.format("image", "gray", 'resize = "free"', TENSORS), same([3, 8, 8]))


@pytest.mark.parametrize(
    ("result", "shape", "says"),
    [
        ('kind = "boxes"', [5, 9], "make no result of kind `boxes`.*six"),
        ('kind = "text"\nalphabet = "names.txt"', [5, 9], "8 without the blank"),
        ('kind = "multi-label"\nlabels = "names.txt"', [9], "9 scores, the labels name 3"),
        ('kind = "multi-label"', [5, 9], "one score for each"),
    ],
)
def test_outputs_that_make_no_such_result_are_refused_at_once(
    build: Callable[..., Any], result: str, shape: list[int], says: str
) -> None:
    """With what was expected."""
    toml = HEAD.format("array", "pool", "", result)
    with pytest.raises(InvalidFunction, match=says):
        build(toml, same(shape), names="a\nb\nc\n")


def test_an_alphabet_may_hold_a_space(build: Callable[..., Any]) -> None:
    """Lines are taken as they are."""
    fn = build(
        HEAD.format("array", "pool", "", 'kind = "text"\nalphabet = "names.txt"'), same([5, 4]), names="a\n \nb\n"
    )
    result = fn.runner._encode([np.eye(4, dtype=np.float32)[[1, 2, 3]]])
    assert b'"a b"' in result.body


def test_the_docs_name_every_field_and_kind() -> None:
    """docs/functions.md is complete."""
    text = (Path(__file__).parents[3] / "docs" / "functions.md").read_text()
    fields = {*Preparation.model_fields, *ResultSpec.model_fields}
    assert [name for name in sorted(fields) if f"`{name}`" not in text and f"\n{name} =" not in text] == []


def test_specs_with_fixed_inputs_are_read_from_toml() -> None:
    """Numbers, lists, and shapes filled with one number."""
    spec = parse_toml(
        '[input]\nkind = "array"\n[[keys]]\nextractor = "pool"\n[model]\ninput = "x"\n'
        "[model.fixed]\nrate = 16000\nflag = true\nlist = [[1.5, 2]]\nstate = { shape = [2, 1, 128], fill = 0 }\n",
        "spec",
    )
    assert spec.model is not None
    fixed = spec.model.fixed_inputs
    assert fixed["state"].tensor(np.dtype(np.float32), [2, None, 128]).shape == (2, 1, 128)
    assert fixed["rate"].tensor(np.dtype(np.int64), []).tolist() == 16000
    assert fixed["flag"].tensor(np.dtype(np.bool_), []).tolist() is True
