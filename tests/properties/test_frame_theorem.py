"""The theorem over frames: false answers stay within what frames earned, however a stream's errors hang together."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from likewise.decision import Budget
from likewise.decision.frames import FramePolicy
from likewise.function.streams import Offered, Streams
from likewise.results.labels import Labels
from likewise.types import Result, Session, Source
from likewise.video.control import Controller
from likewise.video.stream import StreamStore

FRAMES, COINS = 150, 20
Adversary = Callable[[int, int, random.Random], bool]
"""Says whether a frame's offer is wrong, from its place, the frames since the last wrong probe, and chance."""


def always(at: int, since: int, own: random.Random) -> bool:
    return True


def stale(at: int, since: int, own: random.Random) -> bool:
    """Right for long enough to be trusted, then wrong in every frame until a probe says so."""
    return since > 45


def flickers(at: int, since: int, own: random.Random) -> bool:
    """Every other stretch of frames is wrong, whatever was found."""
    return at // 12 % 2 == 1


def cuts(at: int, since: int, own: random.Random) -> bool:
    """Wrong for a while after each sudden change, until caught."""
    return at % 60 < 15 and since > at % 60


def gambles(at: int, since: int, own: random.Random) -> bool:
    """The likelier to be wrong, the longer nothing was found."""
    return own.random() < min(0.5, since / 120)


def boxes(left: float) -> Result:
    """Return one box of the size 10 × 10."""
    body = {"boxes": [{"label": "car", "box": [left, 0.0, left + 10.0, 10.0]}]}
    return Result(orjson.dumps(body), "application/json")


MIDDLE, TRUE, FALSE = boxes(3.0), boxes(0.0), boxes(6.0)
"""The first is like both others, which are not alike: all three may be of one group."""


class Played:
    """One stream at the function's rung, its method's risk as a controller has it."""

    def __init__(self, target: float, coin: Callable[[], float]) -> None:
        self.labels = Labels("boxes", least=0.5)
        self.labels.label(MIDDLE)
        self.budget = Budget(target)
        policy = FramePolicy(self.budget, target, coin)
        nothing: Any = None
        self.streams = Streams("f", nothing, policy, self.labels, StreamStore(), nothing)
        self.stream = self.streams._store.get(("f", "", "cam"))
        self.controller = Controller(1.0 - target)
        self.stream.method = self.controller  # type: ignore[assignment]
        self.session = Session()

    def frame(self, wrong: bool) -> tuple[bool, bool]:
        """Return whether a frame was answered falsely, and whether it was found out."""
        return self.offer(FALSE if wrong else TRUE)

    def offer(self, result: Result) -> tuple[bool, bool]:
        """Do the same with a result that is offered where the full run says `TRUE`."""
        wrong = result is FALSE
        asked: Any = SimpleNamespace(
            offered=Offered(self.stream, result, False, 0.0), session=self.session, limit=math.inf
        )
        verdict = self.streams.offer(asked)
        assert verdict is not None
        if verdict.source is Source.STREAM:
            return wrong, False
        found = self.streams.learn(verdict, self.labels.label(TRUE), TRUE)
        assert found == wrong
        return False, found


@pytest.mark.parametrize("target", [0.95, 0.98])
@pytest.mark.parametrize("adversary", [always, stale, flickers, cuts, gambles])
def test_false_answers_stay_within_what_frames_earned(adversary: Adversary, target: float) -> None:
    """In the mean over coins, and no coin more than one row of them beyond."""
    falses = []
    for seed in range(COINS):
        own, played = random.Random(seed + 1), Played(target, random.Random(seed).random)
        since = false = 0
        for at in range(FRAMES):
            answered, found = played.frame(adversary(at, since, own))
            since = 0 if found else since + 1
            false += answered
        falses.append(false)
    earned = (1.0 - target) * FRAMES + played.budget.ledger().slack
    spread = math.sqrt(sum((each - sum(falses) / COINS) ** 2 for each in falses) / COINS)
    assert sum(falses) / len(falses) <= earned + 3.0 * spread / math.sqrt(len(falses))


def test_probes_compare_results_themselves() -> None:
    """Two results of one group that are not alike are an error, and it is charged."""
    played = Played(0.95, lambda: 0.0)
    for _ in range(12):
        assert played.frame(False) == (False, False)
    assert played.streams.policy.probes > 0
    assert played.labels.label(TRUE) == played.labels.label(FALSE)
    assert not played.labels.alike(TRUE, FALSE)
    spent = played.budget.ledger().spent
    assert played.offer(MIDDLE) == (False, False)  # from here on `FALSE` is nothing new
    assert played.offer(FALSE) == (False, True)
    assert played.budget.ledger().spent > spent


def test_who_is_caught_is_not_believed_again_at_once() -> None:
    """After an error frames are computed in full until enough of them would have been right."""
    played = Played(0.95, lambda: 0.999)
    for _ in range(20):
        played.frame(False)
    assert played.streams.policy.taken > 0
    taken = played.streams.policy.taken
    played.controller.level = 3
    played.controller.learn(True)
    for _ in range(6):
        played.frame(False)
    assert played.streams.policy.taken == taken
    for _ in range(20):
        played.frame(False)
    assert played.streams.policy.taken > taken
