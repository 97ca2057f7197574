"""The bundled signs in a running pipeline, with variants that are sure of themselves, and a coin of the test's own."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np

from likewise.function.assembly import Assembler, Defaults
from likewise.inference.workers import Workers
from likewise.journal.memory import MemoryJournal
from likewise.pipeline import Pipeline
from likewise.requests import NO_CONTROL, Answer, Control
from likewise.types import Session

FUNCTIONS = Path(__file__).parents[2] / "functions"
SURE = (6.0, 0.0, 0.0, 0.0, 0.0, 0.0)
"""Weights of a variant that is sure of itself whatever it sees, so that the coin alone decides."""


def picture(seed: int) -> bytes:
    """Return a picture of noise as a PNG file."""
    pixels = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), np.uint8)
    return cv2.imencode(".png", pixels)[1].tobytes()


@contextmanager
def ladder_bench(folder: Path, **defaults: object) -> Iterator[SimpleNamespace]:
    """Yield fn, coin, pipeline, folder and assembler; coin.next at 0.999: nothing is probed; coin.tossed: how often."""
    shutil.copytree(FUNCTIONS / "signs", folder / "signs")
    coin = SimpleNamespace(next=0.999, tossed=0)

    def toss() -> float:
        coin.tossed += 1
        return float(coin.next)

    with ThreadPoolExecutor(1) as pool, ThreadPoolExecutor(1) as readers:
        assembler = Assembler(Defaults(**defaults), Workers(pool, 1), readers, time.time, toss)
        fn = assembler.build(folder / "signs")
        assert fn.variants is not None
        assert fn.variants.leave(b"the first is the full model's")
        for rung in fn.variants.ladder._rungs:
            rung.calibration.weights = SURE
        pipeline = Pipeline(MemoryJournal(), time.time, 1 << 20)
        yield SimpleNamespace(fn=fn, coin=coin, pipeline=pipeline, folder=folder / "signs", assembler=assembler)


def ask(bench: SimpleNamespace, body: bytes, control: Control = NO_CONTROL, account: str = "") -> Answer:
    """Return the answer to a picture, from an event loop of its own."""
    return asyncio.run(bench.pipeline.answer(bench.fn, "image/png", body, control, Session(account=account)))
