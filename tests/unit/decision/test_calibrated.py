"""The default policy, with and without its ledger."""

from __future__ import annotations

import copy
import json
import math
import random
from collections.abc import Callable

import pytest

from likewise.decision import Budget, Ledger, make_policy
from likewise.decision.calibrated import Calibrated
from likewise.errors import InvalidValue
from likewise.types import NO_NEIGHBORS, Neighbors, Sample, Session

World = Callable[[], tuple[Neighbors, int]]


def train(policy: Calibrated, world: World, requests: int) -> tuple[int, int]:
    """Return (hits, false hits) of a stretch of requests."""
    hits = false_hits = 0
    for _ in range(requests):
        neighbors, truth = world()
        verdict = policy.decide(neighbors)
        if verdict.reuse:
            hits += 1
            false_hits += verdict.label != truth
        else:
            policy.learn(verdict, truth)
    return hits, false_hits


def test_nothing_is_reused_without_neighbors() -> None:
    """An empty namespace computes, and keeps what it computed."""
    policy = make_policy("calibrated+ledger", 0.95, random.Random(0).random)
    verdict = policy.decide(NO_NEIGHBORS)
    assert (verdict.reuse, verdict.reason) == (False, "no neighbors")
    assert policy.learn(verdict, 3) == (True, -1, False)
    assert not policy.confident(NO_NEIGHBORS)


def test_the_same_evidence_counts_less_while_there_is_little_to_compare_with(near: Neighbors) -> None:
    """Unanimous neighbors among the first requests may only mean that the right label was never seen."""
    policy = make_policy("calibrated+ledger", 0.95, random.Random(0).random)
    assert isinstance(policy, Calibrated)
    confidence = []
    for requests in range(200):
        policy._calibration.clock = requests  # nothing is learned: the weights stay as they are
        confidence.append(policy.decide(near).confidence)
    assert confidence[1:] == sorted(confidence[1:])
    assert confidence[-1] > confidence[1] + 1.5


@pytest.mark.parametrize("name", ["calibrated+ledger", "calibrated"])
@pytest.mark.parametrize("target", [0.9, 0.95, 0.99])
def test_the_target_is_kept_and_most_easy_requests_are_hits(name: str, target: float, world: World) -> None:
    """Over 4,000 requests of which 70 % are easy; without a ledger nearly, for a world unlike those it was made for."""
    policy = make_policy(name, target, random.Random(1).random)
    assert isinstance(policy, Calibrated)
    hits, false_hits = train(policy, world, 4000)
    assert false_hits <= (1 - target) * 4000 * (1.0 if name == "calibrated+ledger" else 1.5)
    assert hits >= 0.4 * 4000


def test_every_reason_is_a_documented_one(world: World) -> None:
    """Nothing else ever reaches an answer."""
    policy = make_policy("calibrated+ledger", 0.99, random.Random(2).random)
    reasons = set()
    for _ in range(3000):
        neighbors, truth = world()
        verdict = policy.decide(neighbors)
        reasons.add(verdict.reason)
        assert verdict.probe == (verdict.reason == "probe")
        assert verdict.reuse == (verdict.reason == "confident")
        if not verdict.reuse:
            policy.learn(verdict, truth)
    assert {"below bar", "probe", "confident"} <= reasons <= {"below bar", "budget", "probe", "confident"}


def stay_and_go(policy: Calibrated, runs: int, length: int) -> Session:
    """Let a device ask about one thing several times in a row, then about another; return its session."""
    own, session = random.Random(9), Session()
    for _ in range(runs):
        truth = own.randrange(12)
        for _ in range(length):
            near = Neighbors([0.05, *[0.4] * 9], [truth] * 9 + [truth + 20], list(range(10)))
            verdict = policy.decide(near, session)
            if not verdict.reuse:
                policy.learn(verdict, truth)
    return session


def test_what_a_device_was_answered_last_speaks_for_the_same_answer() -> None:
    """Where devices stay with one thing for a while, a repetition is surer and a change less sure than without."""
    policy = Calibrated(0.95, random.Random(3).random, Budget(0.95))
    stay_and_go(policy, 80, 5)
    near = Neighbors([0.2, 0.25, *[0.4] * 8], [1] * 8 + [2] * 2, list(range(10)))
    again, anew, unknown = (
        copy.deepcopy(policy).decide(near, session) for session in (Session(1), Session(9), Session())
    )
    assert again.confidence > unknown.confidence + 0.5
    assert anew.confidence < unknown.confidence - 0.5


def test_it_says_nothing_where_devices_ask_in_no_order() -> None:
    policy = Calibrated(0.95, random.Random(3).random, Budget(0.95))
    stay_and_go(policy, 400, 1)
    near = Neighbors([0.2, 0.25, *[0.4] * 8], [1] * 8 + [2] * 2, list(range(10)))
    again, unknown = (copy.deepcopy(policy).decide(near, session) for session in (Session(1), Session()))
    assert abs(again.confidence - unknown.confidence) < 0.15


def test_the_last_answer_wins_a_close_vote() -> None:
    """Of two labels that are nearly as near, the one that the device is with; the slot is that label's nearest."""
    policy = Calibrated(0.95, random.Random(3).random, Budget(0.95))
    stay_and_go(policy, 80, 5)
    close = Neighbors([0.20, 0.21, *[0.5] * 8], [1, 2, *[3] * 8], list(range(100, 110)))
    winners = {last: copy.deepcopy(policy).decide(close, Session(last)) for last in (-1, 1, 2, 9)}
    assert {last: verdict.label for last, verdict in winners.items()} == {-1: 1, 1: 1, 2: 2, 9: 1}
    assert winners[2].slot == 101


def test_a_trail_follows_every_answer(near: Neighbors) -> None:
    """Hits and computed results alike; what a probe found, not what it would have reused."""
    coin = [0.0]
    policy = Calibrated(0.95, lambda: coin[0], Budget(0.95))
    session = Session()
    policy.learn(policy.decide(NO_NEIGHBORS, session), 7)
    assert session.last == 7
    coin[0] = 0.999
    stay_and_go(policy, 80, 5)
    verdict = policy.decide(near, session)
    assert verdict.reuse
    assert session.last == verdict.label
    coin[0] = 0.0
    probe = policy.decide(near, session)
    assert probe.probe
    policy.learn(probe, 5)
    assert session.last == 5


def test_asking_for_confidence_changes_nothing(world: World) -> None:
    """The state before and after is the same, and the answer is that of a decision without a coin."""
    policy = make_policy("calibrated+ledger", 0.95, lambda: 1.0)
    assert isinstance(policy, Calibrated)
    train(policy, world, 600)
    before = json.dumps(policy.state())
    for _ in range(50):
        neighbors, _ = world()
        said = policy.confident(neighbors)
        assert json.dumps(policy.state()) == before
        other = copy.deepcopy(policy)
        assert other.decide(neighbors).reuse == said


def test_a_wrong_probe_is_charged_and_a_right_one_is_not(world: World) -> None:
    """Reserved when it starts, given back or spent when the answer comes, once."""
    coin = [0.999]
    ledger = Ledger(0.95)
    policy = Calibrated(0.95, lambda: coin[0], Budget(0.95, shared=ledger))
    train(policy, world, 500)
    near = Neighbors([0.05, *[0.4] * 9], [1] * 10, list(range(10)))
    coin[0] = 0.0
    for truth, spends in ((1, False), (2, True)):
        before, spent = ledger.tokens, ledger.spent
        verdict = policy.decide(near)
        charge = verdict.charge
        assert verdict.probe
        assert charge > 0
        assert ledger.tokens == pytest.approx(before - charge)
        for _ in range(2):  # coming back twice changes nothing more
            policy.learn(verdict, truth)
        assert ledger.spent == pytest.approx(spent + spends * charge)
        assert ledger.tokens == pytest.approx(before + 0.05 - spends * charge)


def test_a_policy_that_is_to_spare_probes_less_and_never_below_the_ledgers_floor(world: World) -> None:
    """Both for those that are probed to learn, and for what a risk adds: the ledger's 1 / (1 + tokens) stays."""
    spared, usual = (make_policy("calibrated+ledger", 0.95, lambda: 0.999) for _ in range(2))
    assert isinstance(spared, Calibrated)
    assert isinstance(usual, Calibrated)
    spared.spare(0.5)
    less, floors = 0, []
    for _ in range(1500):
        neighbors, truth = world()
        floor = 1.0 / (1.0 + usual.most_tokens)
        verdicts = [policy.decide(neighbors) for policy in (spared, usual)]
        for policy, verdict in zip((spared, usual), verdicts, strict=True):
            if not verdict.reuse:
                policy.learn(verdict, truth)
        if all(verdict.reuse for verdict in verdicts):
            assert floor <= verdicts[0].probability <= verdicts[1].probability
            less += verdicts[0].probability < verdicts[1].probability
            floors.append(verdicts[0].probability / floor)
    assert less > 100
    assert min(floors) < 1.1


def test_an_abandoned_probe_is_charged(world: World) -> None:
    """Or failing on purpose would be free."""
    coin = [0.999]
    ledger = Ledger(0.95)
    policy = Calibrated(0.95, lambda: coin[0], Budget(0.95, shared=ledger))
    train(policy, world, 500)
    coin[0] = 0.0
    verdict = policy.decide(Neighbors([0.05, *[0.4] * 9], [1] * 10, list(range(10))))
    spent, charge = ledger.spent, verdict.charge
    policy.abandon(verdict)
    policy.abandon(verdict)
    assert ledger.spent == pytest.approx(spent + charge)


def test_a_contradicted_entry_is_evicted(world: World) -> None:
    """A confident neighbor that proves wrong goes."""
    policy = make_policy("calibrated+ledger", 0.95, lambda: 0.0)
    assert isinstance(policy, Calibrated)
    train(policy, world, 300)
    verdict = policy.decide(Neighbors([0.05, *[0.4] * 9], [1] * 10, [42, *range(9)]))
    lesson = policy.learn(verdict, 2)
    assert lesson.wrong
    assert lesson.evict_slot == 42
    assert lesson.insert


def test_without_a_ledger_a_confident_mistake_brings_a_burst_of_probes(world: World) -> None:
    """For 24 requests every third would-be hit is checked."""
    coin = [0.999]
    policy = Calibrated(0.95, lambda: coin[0])
    train(policy, world, 800)
    near = Neighbors([0.05, *[0.4] * 9], [1] * 10, list(range(10)))
    coin[0] = 0.0
    policy.learn(policy.decide(near), 2)
    coin[0] = 0.3
    assert policy.decide(near).reason == "probe"


def test_a_burning_budget_stops_reuse() -> None:
    """Once clear cases turn wrong, few are answered before reuse stops."""
    own, coin = random.Random(4), random.Random(5)
    policy = make_policy("calibrated+ledger", 0.95, coin.random)
    false_hits = 0
    for at in range(3000):
        neighbors = Neighbors([0.05 + 0.01 * own.random(), *[0.5] * 9], [1] * 10, list(range(10)))
        verdict = policy.decide(neighbors)
        truth = 1 if at < 1500 else 2
        if verdict.reuse:
            false_hits += at >= 1500
        else:
            policy.learn(verdict, truth)
    assert false_hits <= 3 * (100 + 0.05 * 1500)  # in the mean of many coins it is cap + ε·n; one run may differ
    tail = [policy.decide(Neighbors([0.05, *[0.5] * 9], [1] * 10, list(range(10)))).reuse for _ in range(20)]
    assert not any(tail)


@pytest.mark.parametrize("name", ["calibrated+ledger", "calibrated"])
def test_a_restored_policy_decides_like_the_first(name: str, world: World) -> None:
    """State goes through JSON."""
    first = make_policy(name, 0.95, random.Random(3).random)
    assert isinstance(first, Calibrated)
    train(first, world, 700)
    second = make_policy(name, 0.95, random.Random(11).random)
    second.restore(json.loads(json.dumps(first.state())))
    assert second.statistics() == first.statistics()
    for _ in range(200):
        neighbors, _ = world()
        assert second.confident(neighbors) == first.confident(neighbors)
    hits, _ = train(second, world, 1000)
    assert hits > 300


@pytest.mark.parametrize(
    "change",
    [
        {"policy": "fixed"},
        {"scale": -1.0},
        {"scale": 10**400},
        {"since": math.inf},
        {"charge_check": {"expected": 0.0, "charged": 0.0, "factor": 0.5}},
        {"repeats": {"pairs": 1, "repeats": 2, "counts": []}},
        {"calibration": {}},
        {"counters": {"requests": -1}},
        {"budget": {"tokens": -1}},
    ],
    ids=["other", "scale", "large scale", "since", "charge_check", "repeats", "calibration", "counters", "budget"],
)
def test_an_unusable_state_is_refused(change: dict[str, object], world: World) -> None:
    """With words that say what to do instead."""
    policy = make_policy("calibrated+ledger", 0.95, random.Random(0).random)
    assert isinstance(policy, Calibrated)
    train(policy, world, 100)
    fresh = make_policy("calibrated+ledger", 0.95, random.Random(0).random)
    with pytest.raises(InvalidValue, match="without it"):
        fresh.restore({**policy.state(), **change})


def test_statistics_tell_what_is_known(world: World) -> None:
    """Counts, the bar, tokens and the certificate with a ledger; NaN where there is none."""
    with_ledger = make_policy("calibrated+ledger", 0.95, random.Random(6).random)
    assert isinstance(with_ledger, Calibrated)
    start = with_ledger.statistics()
    assert (start.bar, start.tokens, start.false_hits_bound) == (math.inf, 3.0, 0.0)
    hits, false_hits = train(with_ledger, world, 2000)
    found = with_ledger.statistics()
    assert found.requests == 2000
    assert found.would_be_hits == hits + found.probes
    assert 0.9 < found.estimated_accuracy <= 1.0
    assert false_hits <= found.false_hits_bound < math.inf
    without = make_policy("calibrated", 0.95, random.Random(6).random).statistics()
    assert math.isnan(without.tokens)
    assert math.isnan(without.false_hits_bound)


@pytest.mark.parametrize(
    ("target", "options"), [(1.0, {}), (0.9, {"strictness": "lax"}), (0.9, {"probing": 0.0})], ids=str
)
def test_numbers_out_of_range_are_refused(target: float, options: dict[str, object]) -> None:
    """With words that say what to give."""
    with pytest.raises(InvalidValue, match="give"):
        Calibrated(target, lambda: 0.5, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["calibrated+ledger", "calibrated"])
def test_what_another_node_saw_sets_the_bar_and_spends_nothing(name: str, world: World) -> None:
    """A node that never computed gets a bar from the other's evidence; counters and tokens stay what they were."""
    taught, fresh = (make_policy(name, 0.95, random.Random(seed).random) for seed in (1, 2))
    assert isinstance(taught, Calibrated)
    assert isinstance(fresh, Calibrated)
    samples = []
    for _ in range(1500):
        neighbors, truth = world()
        verdict = taught.decide(neighbors)
        if not verdict.reuse:
            lesson = taught.learn(verdict, truth)
            sample = taught.sample(verdict, lesson.wrong)
            assert sample is not None
            samples.append(sample)
    before = fresh.statistics()
    for at in range(0, len(samples), 16):
        fresh.observe(samples[at : at + 16])
    if name == "calibrated":  # its bar holds for a mix of requests, so there have to be some
        assert fresh.statistics().bar == math.inf
        train(fresh, world, 40)
    else:
        after = fresh.statistics()
        assert (after.requests, after.probes, after.tokens) == (before.requests, before.probes, before.tokens)
    assert fresh.statistics().bar < math.inf
    theirs, ours = taught.state()["calibration"]["weights"], fresh.state()["calibration"]["weights"]
    assert ours[1:4] == pytest.approx(theirs[1:4], abs=1.0)  # how early it is, each sees by itself
    hits, false_hits = train(fresh, world, 400)
    assert hits > 0
    assert false_hits <= (1.0 if name == "calibrated+ledger" else 1.5) * 0.05 * 400 + 3


def test_a_distance_is_read_in_the_unit_of_who_saw_it(world: World) -> None:
    """The same evidence from a node whose typical distance is twice as large is nearer by ln 2 here."""
    policy, other = (make_policy("calibrated+ledger", 0.95, random.Random(1).random) for _ in range(2))
    assert isinstance(policy, Calibrated)
    assert isinstance(other, Calibrated)
    samples = [Sample((1.0, 1.0, 0.1 * i, 0.3, 0.0, 0.0), False, 1.0, 0.2) for i in range(20)]
    policy.observe([Sample((1.0, 1.0, 0.0, 0.3, 0.0, 0.0), False, 1.0, 0.1)])
    policy.observe(samples)
    other.observe([Sample((1.0, 1.0, 0.0, 0.3, 0.0, 0.0), False, 1.0, 0.1)])
    moved = [
        one._replace(evidence=(1.0, 1.0, one.evidence[2] + math.log(2), 0.3, 0.0, 0.0), scale=0.1) for one in samples
    ]
    other.observe(moved)
    assert json.dumps(policy.state()) == json.dumps(other.state())


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param({"evidence": (1.0, 2.0)}, id="another width"),
        pytest.param({"evidence": (1.0, math.nan, 0.0, 0.0, 0.0, 0.0)}, id="not finite"),
        pytest.param({"probability": 0.0}, id="never computed"),
        pytest.param({"scale": math.inf}, id="no scale"),
    ],
)
def test_a_sample_that_nobody_can_have_seen_is_refused(broken: dict[str, object]) -> None:
    """It would poison the fit."""
    policy = make_policy("calibrated+ledger", 0.95, random.Random(1).random)
    assert isinstance(policy, Calibrated)
    with pytest.raises(InvalidValue):
        policy.observe([Sample((1.0, 1.0, 0.0, 0.3, 0.0, 0.0), False, 1.0, 0.1)._replace(**broken)])


def test_what_never_had_neighbors_teaches_nobody() -> None:
    """There was no evidence."""
    policy = make_policy("calibrated+ledger", 0.95, random.Random(0).random)
    assert isinstance(policy, Calibrated)
    assert policy.sample(policy.decide(NO_NEIGHBORS), False) is None


def test_every_answer_earns_once_when_it_is_given(near: Neighbors) -> None:
    """A reused one at once, a computed one with its result; one that never comes earns nothing."""
    coin = [0.999]
    budget = Budget(0.95)
    policy = Calibrated(0.95, lambda: coin[0], budget)
    ledger = budget.ledger()
    for _ in range(100):
        policy.decide(near)
        policy.decide(NO_NEIGHBORS)
    assert ledger.requests == 0
    verdict = policy.decide(NO_NEIGHBORS)
    for _ in range(2):
        policy.learn(verdict, 7)
    assert ledger.requests == 1
    for _ in range(200):
        verdict = policy.decide(near)
        if not verdict.reuse:
            policy.learn(verdict, 7)
    assert verdict.reuse
    assert ledger.requests == 201


def test_the_target_may_be_a_share_of_the_reused_answers_alone(world: World) -> None:
    """Then only they earn tokens, and their precision is told."""
    policy = make_policy("calibrated+ledger", 0.95, random.Random(8).random, accuracy_of="reused", slack=3.0)
    assert isinstance(policy, Calibrated)
    hits, false_hits = train(policy, world, 4000)
    assert policy.state()["budget"]["accounts"][""]["requests"] == hits
    assert hits > 1000
    assert false_hits <= 0.05 * hits
    found = policy.statistics()
    assert found.hit_precision == pytest.approx(1.0 - (1.0 - found.estimated_accuracy) * 4000 / hits)


def test_lookups_that_nobody_answers_teach_nothing(world: World) -> None:
    """A flood of them moves neither the bar nor what is forgotten."""
    policy = make_policy("calibrated+ledger", 0.95, random.Random(9).random)
    assert isinstance(policy, Calibrated)
    train(policy, world, 600)
    before = policy.state()["calibration"]
    for _ in range(5000):
        policy.decide(Neighbors([0.9, 0.9, *[0.91] * 8], list(range(10)), list(range(10))))
    assert policy.state()["calibration"] == before


def test_another_target_sets_the_bar_anew(world: World) -> None:
    """What was reused for the old one may be too risky for the new."""
    loose, strict = (make_policy("calibrated+ledger", target, random.Random(3).random) for target in (0.8, 0.99))
    assert isinstance(loose, Calibrated)
    train(loose, world, 900)
    strict.restore(json.loads(json.dumps(loose.state())))
    assert strict.statistics().bar > loose.statistics().bar
    assert strict.statistics().tokens <= 0.05 * loose.statistics().tokens + 1e-9


def test_a_ticket_is_computed_for_certain_where_others_hold_the_share(world: World) -> None:
    """Without a coin, a charge or a loss for those who compute here."""
    coin = [0.999]
    budget = Budget(0.95)
    policy = Calibrated(0.95, lambda: coin[0], budget)
    train(policy, world, 1500)
    near = Neighbors([0.05, *[0.4] * 9], [1] * 10, list(range(10)))
    coin[0] = 0.0
    ledger = budget.ledger()
    ledger.tokens = 100.0
    open_tickets = [verdict for _ in range(60) if (verdict := policy.decide(near, limit=100.0, deferred=True)).probe]
    assert 50.0 + 1e-6 >= sum(verdict.charge for verdict in open_tickets) > 49.0
    coin[0] = 0.999
    assert policy.decide(near).reuse
    for verdict in open_tickets:
        policy.abandon(verdict)
    assert policy.decide(near, limit=100.0, deferred=True).reuse
