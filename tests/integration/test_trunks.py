"""Layers that two served functions have in common: computed once for an input that both get."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import orjson
import pytest
from graphs import GraphBuilder

from likewise.function.assembly import Assembler, Defaults
from likewise.function.function import Function
from likewise.inference.workers import Workers
from likewise.journal.memory import MemoryJournal
from likewise.pipeline import Pipeline
from likewise.requests import Control

SPEC = """
[input]
kind = "image"
[model]
size = [24, 24]
[result]
kind = "{kind}"
[[keys]]
extractor = "gray"
"""
NO_STORE = Control(no_store=True)


def network(head: int) -> bytes:
    """Return a network of common layers and a head of its own."""
    net = GraphBuilder(7, 3, 24, 24)
    x = "x"
    for _ in range(4):
        x = net.add("Relu", [net.conv(x, 8, 3, 1)], (8, 24, 24))
    net.rng = np.random.default_rng(head)
    x = net.add("Relu", [net.conv(x, 4, 3, 2)], (4, 12, 12))
    return net.model([net.add("GlobalAveragePool", [x], (4, 1, 1))])


def picture(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 24, 3), np.uint8)
    return cv2.imencode(".png", pixels)[1].tobytes()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[SimpleNamespace]:
    """Two functions, and what serves them."""
    with ThreadPoolExecutor(1) as pool, ThreadPoolExecutor(1) as readers:
        assembler = Assembler(Defaults(trunk_bytes=200_000), Workers(pool, 1), readers, time.time, lambda: 0.9)

        def build(name: str, head: int, kind: str = "tensors") -> Function:
            folder = tmp_path / name
            (folder / "1").mkdir(parents=True)
            (folder / "function.toml").write_text(SPEC.format(kind=kind))
            (folder / "1" / "model.onnx").write_bytes(network(head))
            return assembler.build(folder)

        pipeline = Pipeline(MemoryJournal(), time.time, 1 << 20)

        def ask(fn: Function, seed: int) -> list[float]:
            answer = asyncio.run(pipeline.answer(fn, "image/png", picture(seed), NO_STORE))
            found: list[float] = next(iter(orjson.loads(answer.result.body)["outputs"].values()))["data"]
            return found

        yield SimpleNamespace(build=build, ask=ask)


def trunks(fn: Function) -> list[dict[str, float]]:
    found = fn.statistics()["trunks"]
    assert isinstance(found, list)
    return found


def test_what_both_get_is_computed_once_and_stays_what_it_was(bench: SimpleNamespace) -> None:
    """Each function's answers are those of its whole model."""
    first, second = bench.build("first", 1), bench.build("second", 2)
    for seed in range(20):
        bench.ask(first, seed)
        bench.ask(second, seed)
    (found,) = trunks(second)
    assert found["used"]
    assert found["reused"] > 10
    for fn, other in ((first, second), (second, first)):
        seed = 100 + len(fn.name)
        bench.ask(other, seed)
        before = trunks(fn)[0]["reused"]
        whole = fn.shared.model.run(_tensor(picture(seed)))[0].ravel().tolist()
        assert bench.ask(fn, seed) == pytest.approx(whole, rel=1e-4, abs=1e-5)
        assert trunks(fn)[0]["reused"] == before + 1


def test_of_several_partners_the_one_with_common_inputs_counts(bench: SimpleNamespace) -> None:
    """A twin that nobody asks has more layers in common, and no inputs."""
    first, _, second = bench.build("first", 1), bench.build("twin", 1), bench.build("second", 2)
    for seed in range(20):
        bench.ask(first, seed)
        bench.ask(second, seed)
    assert [each["used"] for each in trunks(first)] == [False, True]
    assert trunks(second)[0]["reused"] > 10


def _tensor(body: bytes) -> np.ndarray:
    pixels = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None].astype(np.float32) / 255.0)


def test_functions_without_common_inputs_are_computed_as_wholes(bench: SimpleNamespace) -> None:
    """Nothing is cut or kept for them."""
    first, second = bench.build("first", 1), bench.build("second", 2)
    for seed in range(20):
        bench.ask(first, seed)
        bench.ask(second, 1000 + seed)
    (found,) = trunks(first)
    assert (found["used"], found["computed"], found["reused"]) == (False, 0, 0)


def test_what_is_kept_is_bounded(bench: SimpleNamespace) -> None:
    """By bytes: ten tensors of 18 kB."""
    first, second = bench.build("first", 1), bench.build("second", 2)
    for seed in range(40):
        bench.ask(first, seed)
        bench.ask(second, seed)
    kept = first.shared.places[0][0]
    assert 0 < sum(each.nbytes for each in kept._kept.values()) == kept._bytes <= 200_000


def test_a_function_alone_has_nothing_in_common(bench: SimpleNamespace) -> None:
    """It runs as it always did."""
    first = bench.build("first", 1)
    assert trunks(first) == []
    bench.ask(first, 1)
