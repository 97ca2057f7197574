"""What liars among the devices can do to the others, in process.

    python benchmarks/poison.py --data DIR [--requests 4000] [--seeds 3] [--accounts device|shared] [SCENARIO ...]

4 of 20 devices attack. Honest devices look up, compute what is not reused, and insert it with their ticket. Accuracy is
the share of honest requests whose answer, reused or computed by themselves, is the true label.
"""

from __future__ import annotations

import argparse
import random
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import count, product
from pathlib import Path
from statistics import mean

import numpy as np

from likewise.decision import Budget, make_policy
from likewise.evaluation.streams import Stream, load_stream
from likewise.lookup.namespace import Namespace
from likewise.types import Entry, Key, Keys, Result, Session, Verdict

TARGET = 0.95
LIARS = frozenset(range(16, 20))
_RESULT = Result(b'{"label": 0}')


@dataclass(frozen=True, slots=True)
class Scenario:
    """What a liar does at each of its turns."""

    mode: str = ""
    """plain: insert without a ticket; ticket: with it; drain: with it, labels that nobody ever gave; sleep: behave for
    half of the stream, then plain; "": behave."""
    inserts: int = 1
    """Wrong entries at a turn, the first at the very key."""
    farming: str = ""
    """Keys looked up for tokens: far: new ones far from all; pair: one private key between rivals; alone: one private
    key with entries that agree; crowd: many private keys of the latter kind."""


SCENARIOS = {
    "none": Scenario(),
    "plain": Scenario("plain"),
    "ticket": Scenario("ticket"),
    "drain": Scenario("drain"),
    "plain10": Scenario("plain", 10),
    "plain10+earn": Scenario("plain", 10, "far"),
    "sleep+earn": Scenario("sleep", 10, "far"),
    "ticket+earn": Scenario("ticket", 1, "far"),
    "pair+earn": Scenario("plain", 1, "pair"),
    "sleep+pair": Scenario("sleep", 1, "pair"),
    "alone+earn": Scenario("plain", 1, "alone"),
    "crowd+earn": Scenario("plain", 1, "crowd"),
    "sleep+crowd": Scenario("sleep", 1, "crowd"),
}
BATCH = 1024


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one run, over the honest requests."""

    accuracy: float
    hit_rate: float
    probes: int
    worst: float
    """Lowest accuracy of 500 honest requests in a row."""
    tokens: float


class Game:
    """One function, and all that devices do to it."""

    def __init__(self, stream: Stream, by_device: bool, seed: int) -> None:
        self.budget = Budget(TARGET)
        self.policy = make_policy("calibrated+ledger", TARGET, random.Random(seed).random, budget=self.budget)
        self.space = Namespace(
            "f", {"key": stream.keys.shape[1]}, 20_000, 1 << 40, float("inf"), lambda: 0.0, "importance", "exact"
        )
        self._neighbors = stream.neighbors
        self._by_device = by_device
        self._sessions: defaultdict[int, Session] = defaultdict(Session)
        self._ids = count()
        self._open: deque[Verdict] = deque()

    def ask(self, key: Key, device: int, session: int | None = None) -> Verdict:
        """Look a key up for a device."""
        near = self.space.lookup("key", key, self._neighbors)
        ledger = self.budget.ledger(f"d{device}" if self._by_device else "")
        return self.policy.decide(near, self._sessions[device if session is None else session], ledger, limit=100.0)

    def ask_many(self, keys: Keys, device: int, confirm: bool) -> None:
        """Look up a batch and confirm what is probed, or bring nothing."""
        ledger = self.budget.ledger(f"d{device}" if self._by_device else "")
        for near in self.space.lookup_many("key", keys, self._neighbors):
            verdict = self.policy.decide(near, self._sessions[-1], ledger, limit=100.0)
            if verdict.probe:
                if confirm:
                    self.policy.learn(verdict, verdict.label)
                else:
                    self._open.append(verdict)

    def bring(self, verdict: Verdict, key: Key, label: int) -> None:
        """Insert a result with its ticket."""
        lesson = self.policy.learn(verdict, label)
        if self._open:  # the server gives up the oldest as others are redeemed
            self.policy.abandon(self._open.popleft())
        if lesson.evict_slot >= 0:
            self.space.remove(lesson.evict_slot)
        if lesson.insert:
            self.insert(key, label)

    def insert(self, key: Key, label: int) -> None:
        """Insert without a ticket."""
        entry = Entry(next(self._ids), {"key": key}, _RESULT, 0.01, 0.0, float("inf"))
        self.space.insert(entry, label)


def _unit(keys: Keys) -> Keys:
    return np.ascontiguousarray(keys / np.linalg.norm(keys, axis=-1, keepdims=True), np.float32)


class Liars:
    """All attackers; they know each other."""

    def __init__(self, game: Game, scenario: Scenario, labels: int, dimension: int, seed: int) -> None:
        self._game, self._scenario, self._labels = game, scenario, labels
        self._own, self._rng = random.Random(77 * seed + 1), np.random.default_rng(seed)
        self._private = _unit(self._rng.normal(size=(64, dimension)))
        self._settled = False

    def turn(self, key: Key, truth: int, device: int, late: bool) -> None:
        """Do what the scenario says."""
        self._farm(device)
        game, scenario = self._game, self._scenario
        bad = (truth + 1) % self._labels
        if scenario.mode == "sleep" and not late:
            verdict = game.ask(key, device)
            if not verdict.reuse:
                game.bring(verdict, key, truth)
        elif scenario.mode in ("ticket", "drain"):
            verdict = game.ask(key, device)
            if not verdict.reuse:
                game.bring(verdict, key, bad if scenario.mode == "ticket" else 10**6 + self._own.randrange(10**9))
            elif scenario.mode == "ticket" and verdict.label != bad:
                game.insert(key, bad)
        else:
            for number in range(scenario.inserts):
                noise = self._rng.normal(0.0, 0.015, key.shape) if number else 0.0
                game.insert(_unit(key + noise), bad)

    def _farm(self, device: int) -> None:
        game, farming = self._game, self._scenario.farming
        if farming == "far":
            if self._own.random() < 0.25:
                game.ask_many(_unit(self._rng.normal(size=(BATCH, self._private.shape[1]))), device, False)
        elif farming:
            places = self._private if farming == "crowd" else self._private[:1]
            if not self._settled:
                self._settled = True
                for place, number in product(range(len(places)), range(6)):
                    label = 10**6 + (number if farming == "pair" else place)
                    game.insert(_unit(places[place] + self._rng.normal(0.0, 1e-4, places.shape[1])), label)
            game.ask_many(np.ascontiguousarray(np.resize(places, (BATCH, places.shape[1]))), device, farming != "pair")


def play(name: str, seed: int, load: Callable[[int], Stream], by_device: bool) -> Outcome:
    """Return what came of one scenario and seed."""
    stream, scenario = load(seed), SCENARIOS[name]
    game = Game(stream, by_device, seed)
    liars = Liars(game, scenario, max(stream.labels) + 1, stream.keys.shape[1], seed)
    right: list[bool] = []
    hits = probes = 0
    for at, (key, truth, device) in enumerate(zip(stream.keys, stream.labels, stream.devices, strict=True)):
        if device in LIARS and scenario.mode:
            liars.turn(key, truth, device, at >= len(stream.labels) // 2)
            continue
        verdict = game.ask(key, device)
        if not verdict.reuse:
            game.bring(verdict, key, truth)
        if device not in LIARS:
            hits += verdict.reuse
            probes += verdict.probe
            right.append(not verdict.reuse or verdict.label == truth)
    worst = min(mean(right[start : start + 500]) for start in range(0, max(1, len(right) - 500), 50))
    return Outcome(mean(right), hits / len(right), probes, worst, game.budget.mean_tokens)


def _load(seed: int, data: Path, functions: Path, requests: int) -> Stream:
    return load_stream(
        "signs-junction", seed, requests=requests, devices=20, data=data, functions=functions, truth="label"
    )


def rows(args: argparse.Namespace) -> Iterator[tuple[str, int, Outcome]]:
    """Play everything, two at a time."""
    work = list(product(args.scenario or SCENARIOS, range(1, 1 + args.seeds)))
    load = partial(_load, data=args.data, functions=args.functions, requests=args.requests)
    with ProcessPoolExecutor(2) as pool:
        job = partial(play, load=load, by_device=args.accounts == "device")
        for (name, seed), outcome in zip(work, pool.map(job, *zip(*work, strict=True)), strict=True):
            yield name, seed, outcome


def main() -> None:
    """Print a row for each scenario and seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenario", nargs="*", metavar="SCENARIO")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--functions", type=Path, default=Path("functions"))
    parser.add_argument("--requests", type=int, default=4000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--accounts", choices=("device", "shared"), default="device")
    args = parser.parse_args()
    print(f"{'scenario':14} seed  accuracy  worst 500  hit rate  probes  tokens")
    for name, seed, each in rows(args):
        print(
            f"{name:14} {seed:4}  {each.accuracy:8.4f}  {each.worst:9.3f}  {each.hit_rate:8.3f}  {each.probes:6}  "
            f"{each.tokens:6.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
