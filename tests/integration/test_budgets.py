"""A function that has used up its budget: what is still answered, and what is refused."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from likewise.errors import InvalidFunction, Overloaded
from likewise.function.assembly import Assembler, Defaults
from likewise.function.governor import CostLimits
from likewise.inference.batching import Workers
from likewise.journal.memory import MemoryJournal
from likewise.pipeline import Pipeline
from likewise.requests import NO_CONTROL, Answer, Control, Outcome

FUNCTIONS = Path(__file__).parents[2] / "functions"


def picture(seed: int) -> bytes:
    """Return a picture of noise as a PNG file."""
    pixels = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), np.uint8)
    return cv2.imencode(".png", pixels)[1].tobytes()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[SimpleNamespace]:
    """The bundled signs with a budget, a coin of the test's own, and variants that are sure of themselves."""
    shutil.copytree(FUNCTIONS / "signs", tmp_path / "signs")
    coin = SimpleNamespace(next=0.999)
    with ThreadPoolExecutor(1) as pool, ThreadPoolExecutor(1) as readers:
        assembler = Assembler(
            Defaults(costs=CostLimits(inference=0.5)), Workers(pool, 1), readers, time.time, lambda: coin.next
        )
        fn = assembler.build(tmp_path / "signs")
        assert fn.governor is not None
        for rung in fn.variants.ladder._rungs:
            rung.calibration.weights = (6.0, 0.0, 0.0, 0.0, 0.0, 0.0)
        pipeline = Pipeline(MemoryJournal(), time.time, 1 << 20)
        yield SimpleNamespace(fn=fn, coin=coin, pipeline=pipeline, folder=tmp_path / "signs", assembler=assembler)


def ask(bench: SimpleNamespace, body: bytes, control: Control = NO_CONTROL) -> Answer:
    return asyncio.run(bench.pipeline.answer(bench.fn, "image/png", body, control))


def test_an_exhausted_budget_refuses_what_must_be_computed_and_nothing_else(bench: SimpleNamespace) -> None:
    """Repeats and variants go on, and so do probes, which are owed."""
    fresh = Control(no_cache=True)
    assert ask(bench, picture(1), fresh).outcome is Outcome.MISS
    bench.assembler._budgets.whole.use(1000.0)
    with pytest.raises(Overloaded, match="budget of inference"):
        ask(bench, picture(2), fresh)
    with pytest.raises(Overloaded):
        ask(bench, picture(2), Control(no_store=True))
    assert ask(bench, picture(1)).outcome is Outcome.EXACT
    assert ask(bench, picture(3)).outcome is Outcome.VARIANT
    bench.coin.next = 0.0
    assert ask(bench, picture(4)).outcome is Outcome.PROBE
    assert bench.fn.statistics()["budget"]["refused"] == 2
    assert bench.fn.policies["cnn"]._budget.ledger().reserved == 0.0


def test_an_emergency_target_above_the_target_stops_the_start(bench: SimpleNamespace) -> None:
    """It names the field."""
    path = bench.folder / "function.toml"
    path.write_text(path.read_text() + "\n[budget]\nemergency_target = 0.99\n")
    with pytest.raises(InvalidFunction, match="emergency_target"):
        bench.assembler.build(bench.folder)


def test_a_function_has_budgets_of_its_own(bench: SimpleNamespace) -> None:
    """From its spec."""
    path = bench.folder / "function.toml"
    path.write_text(path.read_text() + "\n[budget]\ninference = 0.2\npower_w = 1.5\nlatency_ms = 50\n")
    limits = bench.assembler.build(bench.folder).governor._limits
    assert (limits.per_s, limits.latency_s) == (pytest.approx(0.1), pytest.approx(0.05))
