"""The promise and the return of reuse, with everything that can happen to a request: the pipeline as it is, no HTTP.

Requests are computed, fail, are cancelled, or never come back; phones answer by themselves, lose their probes, or are
silent for ever; variants answer; the server restarts; what is cached turns wrong as soon as it was reused a few times.
Whatever the mix, false hits stay within ε·t + slack in the mean over coins, and once the abuse ends, tokens are back
within 200 honest requests.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt
from pathlib import Path
from statistics import mean, stdev

import pytest
from abused import SLACK, SPEC, TARGET, Stage

from likewise.requests import Outcome
from likewise.types import Session

REQUESTS = 300
RUNS = 24


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A function whose results the stage computes."""
    place = tmp_path / "abused"
    place.mkdir()
    (place / "function.toml").write_text(SPEC)
    return place


MIXES: dict[str, dict[str, float]] = {
    "overload": {"infer": 6, "refuse": 6},
    "clients that leave": {"infer": 6, "hang": 4},
    "tickets that vanish": {"redeemed": 8, "vanished": 4},
    "restarts": {"infer": 6, "hang": 1, "redeemed": 3, "vanished": 1, "restart": 0.2},
    "everything": {"infer": 6, "refuse": 2, "fail": 0.2, "hang": 1, "redeemed": 4, "vanished": 2, "restart": 0.1},
    "leases": {"leased": 6, "leased hang": 0.3, "leased refuse": 0.3, "leased fail": 0.1, "gone": 0.1, "late": 0.1},
    "leases and restarts": {"leased": 6, "infer": 2, "gone": 0.1, "late": 0.1, "restart": 0.2, "vanished": 0.5},
}
VARIANTS = "everything", "overload", "leases and restarts"
CASES = [*((name, False) for name in MIXES), *((name, True) for name in VARIANTS)]
PATIENT = [(name, False) for name in MIXES if "leased" not in MIXES[name]]


async def play(stage: Stage, mix: dict[str, float]) -> None:
    """Play a run of abuse."""
    names, weights = list(mix), list(mix.values())
    silent = Session()
    while stage.asked < REQUESTS:
        what = stage.rng.choices(names, weights)[0]
        if what == "restart":
            stage.restart()
            silent = Session()
        elif what in ("redeemed", "vanished"):
            stage.lookup(what == "redeemed", stage.session if what == "redeemed" else silent)
        elif what.startswith("leased"):
            await stage.leased(what.removeprefix("leased").strip() or "compute")
        elif what in ("gone", "late"):
            getattr(stage, what)()
        else:
            await stage.infer("compute" if what == "infer" else what)
    stage.runner.wake()
    await stage.pipeline.settle()


@pytest.mark.parametrize(
    ("name", "variants", "patience"), [*((*case, 1) for case in CASES), *((*case, 8) for case in PATIENT)]
)
async def test_false_hits_stay_within_the_promise(folder: Path, name: str, variants: bool, patience: int) -> None:
    """In the mean over coins, on streams that turn against whatever was reused."""
    false, by_phones, by_variants = [], 0, 0
    for seed in range(RUNS if (name, variants) in PATIENT else RUNS // 2):
        stage = Stage(folder, seed, patience, variants=variants)
        await play(stage, MIXES[name])
        false.append(stage.false)
        by_phones += stage.by_phones
        by_variants += stage.by_variants
        stage.pool.shutdown()
    bound = (1 - TARGET) * REQUESTS + SLACK
    assert mean(false) - 3 * stdev(false) / sqrt(len(false)) <= bound
    assert by_phones > 0 or "leased" not in MIXES[name]
    assert by_variants > 0 or not variants


@pytest.mark.parametrize(("name", "variants"), CASES)
async def test_reuse_comes_back_when_the_abuse_ends(folder: Path, name: str, variants: bool) -> None:
    """Tokens are above 1 again within 200 honest requests, and requests are hits."""
    for seed in range(5 if (name, variants) in PATIENT else 3):
        stage = Stage(folder, seed, 0, variants=variants)
        await play(stage, MIXES[name])
        for turn in range(200):
            if stage.tokens > 1.0 and turn > 20:
                break
            if "redeemed" in MIXES[name]:
                stage.lookup(True)
            else:
                await stage.infer()
        assert stage.tokens > 1.0
        hits = 0
        for _ in range(50):
            await stage.infer()
        hits = stage.fn.metrics.outcomes[Outcome.HIT]
        for _ in range(50):
            await stage.infer()
        assert stage.fn.metrics.outcomes[Outcome.HIT] - hits >= 30
        await stage.pipeline.settle()
        stage.pool.shutdown()
