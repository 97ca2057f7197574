"""Variants of a model in the running pipeline: who answers, what is kept of it, and what teaches."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import orjson
import pytest
from ladder_bench import ask, ladder_bench, picture

from likewise.decision.opinions import LITTLE_DOUBT
from likewise.errors import InvalidFunction
from likewise.function.assembly import Assembler, Defaults
from likewise.function.governor import CostLimits, WorkerBudgets
from likewise.function.variants import REMEMBERED, Said
from likewise.http.answers import answered
from likewise.records import Learned
from likewise.requests import NO_CONTROL, Answer, Asked, Control, Outcome


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[SimpleNamespace]:
    """The bundled signs with their variants, and a coin of the test's own; 0.999: nothing is probed."""
    with ladder_bench(tmp_path) as made:
        yield made


def test_a_variant_answers_and_says_so(bench: SimpleNamespace) -> None:
    """In Cache-Status and Likewise-Source, and in the statistics."""
    answer = ask(bench, picture(1))
    assert (answer.outcome, answer.variant) == (Outcome.VARIANT, "head")
    headers = dict(answered(answer, NO_CONTROL)[2])
    assert headers[b"cache-status"] == b"likewise; fwd=miss; stored; detail=variant"
    assert headers[b"likewise-source"] == b"head"
    assert bench.fn.statistics()["variants"]["head"]["answers"] == 1
    assert bench.fn.runner.computed == 0


def test_what_a_variant_computed_is_kept_with_its_origin_and_is_no_exact_repeat(bench: SimpleNamespace) -> None:
    """An exact repeat is answered without a coin, so by what the full model computed alone."""
    answer = ask(bench, picture(1))
    entry = bench.fn.namespace.entry(bench.fn.namespace.slot_of(answer.entry_id))
    assert (entry.origin, entry.digest) == ("head", b"")
    keys, _ = bench.fn.namespace.newest("cnn", 10)
    assert len(keys) == 0  # projections learn from full results alone
    assert ask(bench, picture(1)).outcome is not Outcome.EXACT


def test_a_doubtful_answer_is_given_and_not_kept(bench: SimpleNamespace) -> None:
    """Whoever asks for something near it is not to get the same mistake."""
    bench.fn.neighbors._budget.ledger().tokens = 90.0
    for rung in bench.fn.variants.ladder._rungs:
        rung.calibration.weights = (LITTLE_DOUBT - 0.1, 0.0, 0.0, 0.0, 0.0, 0.0)
    answer = ask(bench, picture(1))
    assert (answer.outcome, answer.variant, answer.stored) == (Outcome.VARIANT, "head", False)
    assert len(bench.fn.namespace) == 0


def test_the_very_first_request_is_computed_in_full_and_its_repeat_is_a_hit(bench: SimpleNamespace) -> None:
    """Whoever sends the same picture twice to an empty cache is answered from it, outright."""
    bench.fn.variants._begun = False
    asked = [ask(bench, picture(seed)).outcome for seed in (1, 1, 2)]
    assert asked == [Outcome.MISS, Outcome.EXACT, Outcome.VARIANT]


def test_what_a_variant_answered_is_computed_when_it_comes_again_and_a_hit_from_then_on(bench: SimpleNamespace) -> None:
    """So no variant is asked about the same bytes again and again, each time at some risk."""
    assert [ask(bench, picture(1)).outcome for _ in range(4)] == [
        Outcome.VARIANT, Outcome.MISS, Outcome.EXACT, Outcome.EXACT,
    ]  # fmt: skip


def test_a_repeat_is_the_variants_while_the_model_is_busy_or_its_budget_is_spent(bench: SimpleNamespace) -> None:
    """They are there to keep a crowd small."""
    ask(bench, picture(1))
    limits = CostLimits(inference=0.5)
    governor = WorkerBudgets(limits, 0.0, lambda: 0.0).govern("signs", CostLimits(), bench.fn.runner, [], None)
    assert governor is not None
    governor.charge("", 100.0)
    bench.fn.governor = governor
    assert ask(bench, picture(1)).outcome is Outcome.VARIANT
    bench.fn.governor = None
    bench.fn.runner = SimpleNamespace(queued=1, mean_cost_s=0.0)
    assert ask(bench, picture(1)).outcome is Outcome.VARIANT


@pytest.mark.parametrize("digest", [b"", b"x" * 16])
def test_which_inputs_variants_answered_is_remembered_within_bounds(bench: SimpleNamespace, digest: bytes) -> None:
    """And only where a repeat could be told."""
    variants = bench.fn.variants
    variants.note(digest)
    assert variants.leave(digest) == bool(digest)
    assert not variants.leave(digest)
    for number in range(REMEMBERED + 5):
        variants.note(b"%016d" % number)
    assert len(variants._answered) == REMEMBERED


def test_a_probe_runs_the_full_model_and_settles_the_ledger(bench: SimpleNamespace) -> None:
    """Its answer is the model's; tokens come back, or are spent where the variant was wrong."""
    bench.coin.next = 0.0
    answer = ask(bench, picture(1))
    assert (answer.outcome, answer.variant) == (Outcome.PROBE, "")
    assert bench.fn.runner.computed == 1
    ledger = bench.fn.neighbors._budget.ledger()
    assert ledger.reserved == 0.0
    counters = bench.fn.variants.ladder.counters
    assert counters.probes == 1
    assert (ledger.spent > 0.0) == (counters.false_hits_seen == 1)


def test_no_cache_and_only_if_cached_are_never_answered_by_a_variant(bench: SimpleNamespace) -> None:
    """The first wants a full computation, the second none."""
    assert ask(bench, picture(1), Control(no_cache=True)).outcome is Outcome.MISS
    with pytest.raises(Exception, match="only-if-cached"):
        ask(bench, picture(2), Control(only_if_cached=True))


def test_a_variant_that_fails_is_passed_over(bench: SimpleNamespace) -> None:
    """The next one is asked."""
    head, _ = bench.fn.variants
    head.model.one = lambda tensor: np.full(43, np.nan, np.float32)
    assert ask(bench, picture(1)).variant == "student"
    assert bench.fn.statistics()["variants"]["head"]["failures"] == 1


def test_a_variant_that_is_not_loaded_is_passed_over_until_it_is(bench: SimpleNamespace) -> None:
    """No failure: there was no room for it."""
    head, _ = bench.fn.variants
    head.model.drop()
    assert ask(bench, picture(1)).variant == "student"
    told = bench.fn.statistics()["variants"]
    assert (told["head"]["loaded"], told["head"]["failures"], told["student"]["loaded"]) == (False, 0, True)
    assert head.reached() == 1
    head.model.load()
    assert ask(bench, picture(2)).variant == "head"


def test_variants_share_the_memory_that_there_is_for_them(bench: SimpleNamespace) -> None:
    """Where only one fits, it is the one that saves most for its bytes; the function is served all the same."""
    assembler = Assembler(
        Defaults(variant_bytes=1_600_000),
        bench.assembler._workers,
        bench.assembler._workers.executor,
        time.time,
        lambda: 0.9,
    )
    head, student = assembler.build(bench.folder).variants
    assert (head.model.present, student.model.present) == (True, False)


def test_what_the_ladder_learned_survives_as_json(bench: SimpleNamespace) -> None:
    """As the journal keeps it."""
    for seed in range(5):
        ask(bench, picture(seed))
    ladder = bench.fn.variants.ladder
    state = orjson.loads(orjson.dumps(ladder.state()))
    other = bench.assembler.build(bench.folder).variants.ladder
    other.restore(state)
    assert orjson.loads(orjson.dumps(other.state())) == state


def make_slow(bench: SimpleNamespace) -> asyncio.Event:
    """Let the first variant answer from elsewhere, once an event is set."""
    head, _ = bench.fn.variants
    go = asyncio.Event()

    async def later(asked: Asked) -> Said:
        await go.wait()
        return head.now(asked)

    head.is_quick, head.later = lambda asked: False, later
    return go


def test_requests_that_wait_for_a_slow_variant_have_a_coin_each(bench: SimpleNamespace) -> None:
    """None is answered with what another one was told by a variant."""
    tossed = []
    bench.fn.variants.ladder._coin = lambda: tossed.append(0) or 0.999

    async def both() -> list[Answer]:
        go = make_slow(bench)
        asks = [bench.pipeline.answer(bench.fn, "image/png", picture(1)) for _ in range(2)]
        tasks = [asyncio.ensure_future(each) for each in asks]
        await asyncio.sleep(0)
        go.set()
        return await asyncio.gather(*tasks)

    assert [each.outcome for each in asyncio.run(both())] == [Outcome.VARIANT] * 2
    assert len(tossed) == 2


def test_what_a_slow_variant_refuses_waits_for_the_same_input_in_flight(bench: SimpleNamespace) -> None:
    """Its full result answers both, so it is computed once."""
    for rung in bench.fn.variants.ladder._rungs:
        rung.calibration.weights = (-9.0, 0.0, 0.0, 0.0, 0.0, 0.0)

    async def both() -> list[Answer]:
        go = make_slow(bench)
        asks = [bench.pipeline.answer(bench.fn, "image/png", picture(1)) for _ in range(2)]
        tasks = [asyncio.ensure_future(each) for each in asks]
        await asyncio.sleep(0)
        go.set()
        return await asyncio.gather(*tasks)

    assert sorted(each.outcome for each in asyncio.run(both())) == [Outcome.COALESCED, Outcome.MISS]
    assert bench.fn.runner.computed == 1


def test_of_a_large_input_nothing_is_prepared_on_the_event_loop(bench: SimpleNamespace) -> None:
    """A quick variant, too, would have to make it small there; and keys of other types come with the first one."""
    *_, taking = bench.fn.variants
    assert taking._batcher is not None
    prepared: list[str] = []
    prepare = taking._batcher._prepare
    taking._batcher._prepare = lambda value: prepared.append(threading.current_thread().name) or prepare(value)
    taking._tensor_of = None
    for rung in bench.fn.variants.ladder._rungs:
        rung.calibration.weights = (-9.0, 0.0, 0.0, 0.0, 0.0, 0.0)  # so that all are asked
    large = cv2.imencode(".png", np.full((700, 700, 3), 90, np.uint8))[1].tobytes()
    assert ask(bench, large).outcome is Outcome.MISS
    assert len(prepared) == 1
    assert threading.main_thread().name not in prepared


def test_no_store_and_frames_of_a_stream_ask_no_variant(bench: SimpleNamespace) -> None:
    """The first leaves no trace; the others have an offer of their own, and one coin."""
    assert ask(bench, picture(1), Control(no_store=True)).outcome is Outcome.BYPASS
    asked = bench.fn.reader.read_now("image/png", picture(2), NO_CONTROL, None)
    offer = SimpleNamespace(full=True, result=ask(bench, picture(3), Control(no_store=True)).result, cost_s=0.1)
    asked.offered = offer

    async def climb() -> Answer:
        return await bench.pipeline._climb(bench.fn, asked)

    answer = asyncio.run(climb())
    assert (answer.outcome, answer.result) == (Outcome.MISS, offer.result)
    assert [each.asked for each in bench.fn.variants] == [0, 0]


def test_a_detected_mistake_of_a_variant_is_in_the_journal(bench: SimpleNamespace) -> None:
    """What was charged must not be forgotten in a crash; and it counts in the estimated accuracy."""
    records = []
    bench.pipeline._journal = SimpleNamespace(append=records.append)
    bench.coin.next = 0.0
    head, _ = bench.fn.variants
    head.model.one = lambda tensor: np.eye(43, dtype=np.float32)[42] * 9.0
    for seed in range(8):
        ask(bench, picture(seed))
    detected = bench.fn.variants.ladder.counters.false_hits_seen
    assert detected > 0
    assert len([each for each in records if isinstance(each, Learned)]) == detected
    assert bench.fn.statistics()["false_hits_seen"] == detected
    assert bench.fn.statistics()["estimated_accuracy"] < 1.0


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        pytest.param("size_bytes = ", "size_bytes = 1", "size_bytes is .* write size_bytes = ", id="another file"),
        pytest.param('"head.onnx"', '"key.onnx"', "head", id="a file that does not take the key"),
    ],
)
def test_a_variant_that_does_not_fit_stops_the_start(bench: SimpleNamespace, old: str, new: str, says: str) -> None:
    """With the table, the field and the remedy."""
    path = bench.folder / "function.toml"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(InvalidFunction, match=says):
        bench.assembler.build(bench.folder)


def test_without_a_ladder_nothing_is_built(bench: SimpleNamespace) -> None:
    """Such a function has the path that it always had."""
    path = bench.folder / "function.toml"
    path.write_text(path.read_text() + '\n[reuse]\nladder = "off"\n')
    assert bench.assembler.build(bench.folder).variants is None
