"""Each preparation and each kind of result through a real server, against what NumPy makes of the same input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from models import FLOAT, onnx_model
from onnx import TensorProto, helper

NODE = helper.make_node
RNG = np.random.default_rng(8)
PICTURE = RNG.integers(0, 256, (6, 10, 3)).astype(np.uint8)
"""Red first, 6 high and 10 wide."""
SOUND = RNG.uniform(-0.9, 0.9, 2000).astype(np.float32)
MEAN, STD = np.array([0.5, 0.4, 0.3]), np.array([0.2, 0.25, 0.3])
GRAY = PICTURE @ np.array([0.299, 0.587, 0.114])


@dataclass(frozen=True)
class Case:
    """A function, an input for it, and the numbers that its model is to see, or the document that is to come back."""

    model: bytes
    spec: str
    media: str
    body: bytes
    expected: Any
    files: tuple[tuple[str, str], ...] = ()
    within: float = 1e-5


def shown(shape: list[Any], dtype: int = FLOAT) -> bytes:
    """Return a model that gives the tensor that it is given, as floats."""
    return onnx_model([("y", FLOAT, shape)], shape, [NODE("Cast", ["x"], ["y"], to=FLOAT)], dtype=dtype)


def picture(
    table: str, shape: list[Any], expected: Any, dtype: int = FLOAT, within: float = 1e-5, pixels: Any = PICTURE
) -> Case:
    spec = f'[input]\nkind = "image"\n[model]\nfile = "m.onnx"\n{table}\n[result]\nkind = "tensors"\n'
    body = cv2.imencode(".png", pixels[:, :, ::-1])[1].tobytes()
    return Case(shown(shape, dtype), f'{spec}[[keys]]\nextractor = "gray"\n', "image/png", body, expected, (), within)


def result(table: str, output: Any, expected: Any, files: tuple[tuple[str, str], ...] = ()) -> Case:
    """Return a case of a model whose output is its input, shape as that of `output`."""
    output = np.asarray(output, np.float32)
    shape = list(output.shape)
    spec = f'[input]\nkind = "array"\n[model]\nfile = "m.onnx"\n[result]\n{table}\n[[keys]]\nextractor = "pool"\n'
    body = repr(output.astype(float).tolist()).encode()
    return Case(shown(shape), spec, "application/json", body, expected, files)


def sound(table: str, result: str, model: bytes, expected: Any) -> Case:
    data = SOUND.astype("<f4").tobytes()
    head = b"WAVEfmt " + b"".join(
        number.to_bytes(size, "little")
        for number, size in ((16, 4), (3, 2), (1, 2), (8000, 4), (32000, 4), (4, 2), (32, 2))
    )
    rest = head + b"data" + len(data).to_bytes(4, "little") + data
    body = b"RIFF" + len(rest).to_bytes(4, "little") + rest
    spec = f'[input]\nkind = "audio"\n[model]\nfile = "m.onnx"\nsample_rate = 8000\n{table}\n[result]\n{result}\n'
    return Case(model, f'{spec}[[keys]]\nextractor = "mfcc"\n', "audio/wav", body, expected)


def first_of(array: np.ndarray) -> np.ndarray:
    """Return an array with its channels first."""
    return np.moveaxis(array, 2, 0)


def letterboxed() -> np.ndarray:
    canvas = np.full((10, 10, 3), 114.0)
    canvas[2:8] = PICTURE
    return first_of(canvas / 255)


def windows(samples: int, overlap: int) -> np.ndarray:
    """Return windows as the documentation has them: the first begins half an overlap before the sound."""
    hop, padded = samples - overlap, np.concatenate([np.zeros(overlap // 2), SOUND, np.zeros(samples)])
    count = -(-(len(SOUND) + overlap // 2) // hop)
    return np.array([padded[at * hop : at * hop + samples] for at in range(count)])


def softmax(scores: Any) -> np.ndarray:
    powers = np.exp(np.asarray(scores) - np.max(scores))
    return powers / powers.sum()


def with_factor() -> bytes:
    """Return a model of two inputs, which gives their product."""
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        [NODE("Mul", ["x", "factor"], ["y"])],
        "g",
        [info("x", FLOAT, ["n", 3, 6, 10]), info("factor", FLOAT, [3, 1, 1])],
        [info("y", FLOAT, ["n", 3, 6, 10])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()


LOGITS = [0.5, 2.0, -1.0, 1.5]
BOXES = [[1, 1, 5, 5, 0.9, 1], [1.2, 1, 5.2, 5, 0.8, 1], [1, 1, 5, 5, 0.7, 0], [6, 6, 8, 8, 0.1, 0]]
STEPS = np.eye(4)[[1, 1, 0, 2, 0, 2, 3]] * 0.9 + 0.025
HALF = [[4.0, 3.0], [0.0, -1.0]]


def box(at: int, label: str, size: float = 8.0) -> dict[str, Any]:
    left, top, right, bottom, score, _ = BOXES[at]
    return {"box": [left / size, top / size, right / size, bottom / size], "score": score, "label": label}


def cases() -> dict[str, Case]:
    size = "size = [10, 6]"
    unit = PICTURE / 255.0
    mean_of = onnx_model([("y", FLOAT, [1])], [400], [NODE("ReduceMean", ["x"], ["y"], axes=[1], keepdims=1)])
    cut = windows(400, 100)
    factor = picture(f"{size}\n[model.fixed]\nfactor = [[[1]], [[2]], [[3]]]", [3, 6, 10], 0)
    return {
        "nchw, mean, std": picture(
            f"{size}\nmean = [0.5, 0.4, 0.3]\nstd = [0.2, 0.25, 0.3]", [3, 6, 10], first_of((unit - MEAN) / STD)
        ),
        "nhwc, bgr, scale 1": picture(
            f'{size}\nlayout = "nhwc"\ncolor = "bgr"\nscale = 1\nmean = [104, 117, 123]',
            [6, 10, 3],
            PICTURE[:, :, ::-1] - np.array([104.0, 117.0, 123.0]),
        ),
        "gray": picture(f"{size}\nchannels = 1", [1, 6, 10], GRAY[None] / 255, within=0.6 / 255),
        "uint8": picture(f'{size}\nlayout = "nhwc"', [6, 10, 3], PICTURE, TensorProto.UINT8),
        "int8": picture(size, [3, 6, 10], first_of(PICTURE.astype(float)) - 128, TensorProto.INT8),
        "float16": picture(size, [3, 6, 10], first_of(unit), TensorProto.FLOAT16, within=1e-3),
        "crop": picture('size = [6, 4]\nresize = "crop"\ncrop_from = 6', [3, 4, 6], first_of(unit[1:5, 2:8])),
        "letterbox": picture('size = [10, 10]\nresize = "letterbox"', [3, 10, 10], letterboxed()),
        "any size": picture('resize = "free"', [3, None, None], first_of(unit)),
        "any size, another": picture(
            'resize = "free"', [3, None, None], first_of(unit[:3, :7]), pixels=PICTURE[:3, :7]
        ),
        "enlarged": picture(
            'size = [20, 12]\ninterpolation = "nearest"', [3, 12, 20], first_of(unit.repeat(2, 0).repeat(2, 1))
        ),
        "another input": Case(
            with_factor(), factor.spec, factor.media, factor.body, first_of(unit) * np.array([1, 2, 3])[:, None, None]
        ),
        "sound": sound("samples = 2400", 'kind = "tensors"', shown([2400]), np.pad(SOUND, (0, 400))),
        "windows, each": sound("samples = 400\noverlap = 100", 'kind = "tensors"\nwindows = "each"', shown([400]), cut),
        "windows, mean": sound(
            "samples = 400\noverlap = 100", 'kind = "tensors"\nwindows = "mean"', mean_of, [cut.mean()]
        ),
        "windows, joined": sound(
            "samples = 400\noverlap = 100", 'kind = "tensors"\nwindows = "join"', shown([400]), cut[:, 50:-50].ravel()
        ),
        "label of logits, top 3": result(
            'kind = "label"\ntop = 3\nlabels = ["a", "b", "c", "d"]',
            LOGITS,
            {
                "label": "b",
                "confidence": softmax(LOGITS)[1],
                "top": [{"label": "abcd"[at], "confidence": softmax(LOGITS)[at]} for at in (1, 3, 0)],
            },
        ),
        "label of probabilities": result('kind = "label"', [0.1, 0.7, 0.2], {"label": "1", "confidence": 0.7}),
        "several labels": result(
            'kind = "multi-label"\nthreshold = 0.8\nscores = "logits"\nlabels = ["a", "b", "c", "d"]',
            LOGITS,
            {
                "labels": ["b", "d"],
                "scores": {"b": 1 / (1 + np.exp(-2.0)), "d": 1 / (1 + np.exp(-1.5))},
            },
        ),
        "boxes": result(
            'kind = "boxes"\nunit = "fractions"\nlabels = ["cat", "dog"]',
            np.array(BOXES) / [8, 8, 8, 8, 1, 1],
            {"boxes": [box(0, "dog"), box(1, "dog"), box(2, "cat")]},
        ),
        "boxes, suppressed": result(
            'kind = "boxes"\nunit = "fractions"\nlabels = ["cat", "dog"]\nnms = 0.5',
            np.array(BOXES) / [8, 8, 8, 8, 1, 1],
            {"boxes": [box(0, "dog"), box(2, "cat")]},
        ),
        "text": result(
            'kind = "text"\nalphabet = "abc.txt"\nscores = "probabilities"',
            STEPS,
            {"text": "abbc"},
            (("abc.txt", "a\nb\nc\n"),),
        ),
        "embedding": result('kind = "embedding"', [3.0, 0.0, 4.0], {"embedding": [0.6, 0.0, 0.8]}),
        "tensors": result('kind = "tensors"', HALF, HALF),
    }


def compare(found: Any, expected: Any, within: float, place: str) -> None:
    """Compare what is expected; more may be there."""
    if isinstance(expected, dict):
        for name, value in expected.items():
            compare(found[name], value, within, f"{place}, {name}")
    elif isinstance(expected, list) and expected and isinstance(expected[0], dict):
        assert len(found) == len(expected), place
        for at, (one, other) in enumerate(zip(found, expected, strict=True)):
            compare(one, other, within, f"{place}, {at}")
    elif isinstance(expected, str) or (isinstance(expected, list) and isinstance(expected[0], str)):
        assert found == expected, place
    else:
        np.testing.assert_allclose(found, expected, atol=within, err_msg=place)


def test_each_comes_to_what_numpy_comes_to(live: Callable[..., Any], tmp_path: Path) -> None:
    """The tensor that a model is given, and the document that is made of what it gives."""
    every = cases()
    names = {f"case{at}": what for at, what in enumerate(every)}
    for name, what in names.items():
        version = tmp_path / "functions" / name / "1"
        version.mkdir(parents=True)
        (version.parent / "function.toml").write_text(every[what].spec)
        for file, content in (("m.onnx", every[what].model), *every[what].files):
            (version / file).write_bytes(content.encode() if isinstance(content, str) else content)
    server = live(functions=tmp_path / "functions")
    for name, what in names.items():
        case = every[what]
        for _ in range(2):  # computed, and the very same input again
            answer = server.http.post(
                f"/v1/functions/{name}/infer", content=case.body, headers={"Content-Type": case.media}
            )
            assert answer.status_code == 200, (what, answer.text)
            document = answer.json()
            if isinstance(case.expected, dict):
                compare(document, case.expected, case.within, what)
                continue
            tensor = document["outputs"]["y"]
            assert tensor["shape"] == list(np.shape(case.expected)), what
            compare(tensor["data"], np.ravel(case.expected), case.within, what)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e39"])
def test_results_that_are_not_finite_are_an_error_of_the_request(
    live: Callable[..., Any], tmp_path: Path, number: str
) -> None:
    """Nothing is cached, and the next request is served."""
    version = tmp_path / "functions" / "half" / "1"
    version.mkdir(parents=True)
    nodes = [NODE("Div", ["one", "x"], ["y"])]
    (version / "m.onnx").write_bytes(onnx_model([("y", FLOAT, [2])], [2], nodes, {"one": np.ones(2, np.float32)}))
    spec = '[input]\nkind = "array"\n[model]\nfile = "m.onnx"\n[result]\nkind = "label"\nscores = "logits"\n'
    (version.parent / "function.toml").write_text(f'{spec}[[keys]]\nextractor = "vector"\ndimension = 2\n')
    server = live(functions=tmp_path / "functions")

    def ask(body: str) -> Any:
        headers = {"Content-Type": "application/json"}
        return server.http.post("/v1/functions/half/infer", content=body.encode(), headers=headers)

    assert ask("[1, 2]").json()["label"] == "0"
    for body in ("[0, 1]", f"[{number}, 1]"):
        answer = ask(body)
        assert answer.status_code in (400, 422, 500, 502), (body, answer.status_code, answer.text)
        assert answer.headers["content-type"].startswith("application/problem+json")
    assert ask("[1, 2]").json()["label"] == "0"
    assert len(server.http.get("/v1/functions/half/entries").json()["entries"]) == 1
