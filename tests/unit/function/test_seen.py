"""The same bytes again: nothing is decoded, and everything is answered as if it had been."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from likewise.errors import UndecodableInput
from likewise.function.assembly import Assembler, Defaults
from likewise.function.function import Function
from likewise.function.seen import Read, Seen
from likewise.inference.workers import Workers
from likewise.journal.memory import MemoryJournal
from likewise.pipeline import Pipeline
from likewise.requests import NO_CONTROL, Answer, Control, Outcome, StreamTag

FUNCTION = """
[input]
kind = "array"
[model]
{model}
[result]
kind = "tensors"
equality = "close"
[[keys]]
name = "v"
extractor = "vector"
dimension = 1
metric = "l2"
[[keys]]
name = "w"
extractor = "pool"
metric = "l2"
[reuse]
policy = "fixed"
[reuse.options]
threshold = 0.01
"""
JSON = "application/json"


class Counted:
    """Decodes as it did, and counts."""

    def __init__(self, fn: Function) -> None:
        self.times = 0
        self._decode, fn.reader._decode = fn.reader._decode, self

    def __call__(self, media_type: str, body: bytes) -> object:
        self.times += 1
        return self._decode(media_type, body)


@pytest.fixture
def bench(tmp_path: Path, toys: SimpleNamespace, request: pytest.FixtureRequest) -> Iterator[SimpleNamespace]:
    options: dict[str, object] = getattr(request, "param", {})
    toys.write_fragile(tmp_path)
    model = str(options.pop("model", "deterministic = false"))
    (tmp_path / "fragile" / "function.toml").write_text(FUNCTION.format(model=model))
    with ThreadPoolExecutor(1) as pool:
        defaults = Defaults(**options)  # type: ignore[arg-type]
        fn = Assembler(defaults, Workers(pool, 1), pool, lambda: 1.0, lambda: 0.5).build(tmp_path / "fragile")
        pipeline = Pipeline(MemoryJournal(), lambda: 1.0, 1 << 20)
        yield SimpleNamespace(fn=fn, pipeline=pipeline, counted=Counted(fn))


async def ask(bench: SimpleNamespace, body: bytes, control: Control = NO_CONTROL) -> Answer:
    found = bench.pipeline.begin(bench.fn, JSON, body, control)
    return found if isinstance(found, Answer) else await found


@pytest.mark.asyncio
async def test_the_same_bytes_are_decoded_once(bench: SimpleNamespace) -> None:
    first = await ask(bench, b"[1.0]")
    again = await ask(bench, b"[1.0]")
    near = await ask(bench, b"[1.001]")
    assert [each.outcome for each in (first, again, near)] == [Outcome.MISS, Outcome.HIT, Outcome.HIT]
    assert again.result == first.result
    assert bench.counted.times == 2


@pytest.mark.asyncio
@pytest.mark.parametrize("bench", [{"model": "deterministic = true"}], indirect=True)
async def test_an_exact_repeat_is_known_by_its_bytes(bench: SimpleNamespace) -> None:
    await ask(bench, b"[1.0]")
    assert (await ask(bench, b"[1.0]")).outcome is Outcome.EXACT
    assert bench.counted.times == 1
    assert (await ask(bench, b"[1.00]")).outcome is Outcome.EXACT, "other bytes of the same input"
    assert bench.counted.times == 2


@pytest.mark.asyncio
async def test_what_has_to_be_computed_is_decoded_after_all_and_kept_with_all_its_keys(bench: SimpleNamespace) -> None:
    first = await ask(bench, b"[1.0]")
    before = bench.fn.namespace.entry(bench.fn.namespace.slot_of(first.entry_id))
    bench.pipeline.invalidate(bench.fn, everything=True)
    again = await ask(bench, b"[1.0]")
    assert again.outcome is Outcome.MISS
    assert again.result == first.result
    after = bench.fn.namespace.entry(bench.fn.namespace.slot_of(again.entry_id))
    for name in ("v", "w"):
        np.testing.assert_array_equal(after.keys[name], before.keys[name])


@pytest.mark.asyncio
async def test_what_is_to_leave_no_trace_leaves_none(bench: SimpleNamespace) -> None:
    await ask(bench, b"[1.0]", Control(no_store=True))
    await ask(bench, b"[2.0]", Control(stream=StreamTag("camera")))
    assert len(bench.fn.reader._seen) == 0


@pytest.mark.asyncio
@pytest.mark.parametrize("bench", [{"seen_bytes": 0}], indirect=True)
async def test_nothing_is_remembered_where_that_is_set(bench: SimpleNamespace) -> None:
    await ask(bench, b"[1.0]")
    assert (await ask(bench, b"[1.0]")).outcome is Outcome.HIT
    assert bench.counted.times == 2


@pytest.mark.asyncio
async def test_what_cannot_be_read_is_refused_every_time(bench: SimpleNamespace) -> None:
    for _ in range(3):
        with pytest.raises(UndecodableInput):
            await ask(bench, b"[1.0")
    assert len(bench.fn.reader._seen) == 0


def test_it_keeps_the_latest_within_its_memory() -> None:
    seen = Seen(3 * 1000, 75)
    names = [seen.name(JSON, bytes([each])) for each in range(5)]
    for each in names[:3]:
        seen.put(each, Read(np.zeros(75, np.float32), "", b""))
    assert seen.get(names[0]) is not None  # used, so the next one goes before it
    seen.put(names[3], Read(np.ones(75, np.float32), "", b""))
    assert len(seen) == 3
    assert seen.get(names[1]) is None
    assert seen.get(names[0]) is not None
    assert seen.get(seen.name("image/png", bytes([0]))) is None, "another media type may mean something else"


def test_one_larger_than_the_memory_is_not_kept() -> None:
    seen = Seen(100, 75)
    seen.put(seen.name(JSON, b"1"), Read(np.zeros(75, np.float32), "", b""))
    assert len(seen) == 0
