"""What a phone does by itself: its model, its key, and the tier of a phone that shares with nobody.

Nothing here waits: without a network, latency is what the phone's processor takes, which is measured once and scaled.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from time import process_time

import numpy as np
import orjson

from likewise.decision import make_policy
from likewise.evaluation.streams import MAX_PIXELS, MAX_SECONDS, MAX_VALUES
from likewise.features.decode import decoder
from likewise.function.parts import Parts
from likewise.function.spec_text import read_spec
from likewise.lookup.namespace import Namespace
from likewise.types import Entry, Key, Result, Session
from likewise_fleet.networks import Phone
from likewise_fleet.records import Answered, Costs, From
from likewise_fleet.trace import Request, Trace

_KEY = "key"
_SAMPLES = 30
_CAPACITY_BYTES = 64 << 20


class LocalFunction:
    """A function's model and key as they run on one core, without a server."""

    def __init__(self, folder: Path) -> None:
        """Load both. Raises InvalidFunction."""
        self.spec, version = read_spec(folder)
        parts = Parts(self.spec, folder, version)
        assert self.spec.model is not None
        self._computation = parts.computation(self.spec.model, threads=1)
        found = parts.key_type(self.spec.keys[0], folder.name)
        self._extract = found.extractor
        self.dimension = found.dimension
        self.prior = parts.projection(self.spec.keys[0], found.dimension)
        self._decode = decoder(
            self.spec.input.kind, max_pixels=MAX_PIXELS, max_seconds=MAX_SECONDS, max_values=MAX_VALUES
        )

    def key(self, request: Request) -> Key:
        """Return the key of an input."""
        return np.ascontiguousarray(self._extract(self._decode(request.media_type, request.body)), np.float32)

    def label(self, request: Request) -> str:
        """Return what the model says of an input."""
        outputs = self._computation.model.run(
            self._computation.feed(self._decode(request.media_type, request.body))[None]
        )
        return str(orjson.loads(self._computation.encode([outputs[0][0]]).body)["label"])

    def costs(self, requests: Sequence[Request]) -> Costs:
        """Measure what some requests take."""
        some = requests[:: max(1, len(requests) // _SAMPLES)][:_SAMPLES]
        self.label(some[0])
        cache = PrivateTier(self, 0.95, 500, random.Random(1))
        keys = [self.key(each) for each in some]
        for at, key in enumerate(keys):
            cache.learn(key, str(at))
        return Costs(
            _median_s(lambda at: self.label(some[at]), len(some)),
            _median_s(lambda at: self.key(some[at]), len(some)),
            _median_s(lambda at: cache.search(keys[at]), len(some)),
        )


class PrivateTier:
    """One phone's cache of one function, which shares with nobody: the server's own policy and ledger, for it alone."""

    def __init__(self, function: LocalFunction, target: float, entries: int, coin: random.Random) -> None:
        """Begin empty. entries: most that it keeps."""
        self._space = Namespace(
            "tier", {_KEY: function.dimension}, entries, _CAPACITY_BYTES, float("inf"), lambda: 0.0, index_kind="exact"
        )
        if function.prior is not None:
            self._space.project(_KEY, function.prior)
            self._space.settle()
        self._k = function.spec.reuse.neighbors
        self._policy = make_policy(function.spec.reuse.policy, target, coin.random, **function.spec.reuse.options)
        self._session = Session()
        self._names: list[str] = []
        self._ids: dict[str, int] = {}
        self._count = 0

    def search(self, key: Key) -> None:
        """Look a key up, and leave no trace."""
        self._space.lookup(_KEY, key, self._k)

    def learn(self, key: Key, label: str) -> None:
        """Keep a result that was computed, whatever the policy says."""
        self._keep(key, self._id(label))

    def ask(self, key: Key, compute: Callable[[], str]) -> tuple[str, bool, bool]:
        """Return (label, whether it was reused, whether it was computed as a probe)."""
        verdict = self._policy.decide(self._space.lookup(_KEY, key, self._k), self._session)
        if verdict.reuse:
            self._space.touch(verdict.slot)
            return self._names[verdict.label], True, False
        label = compute()
        lesson = self._policy.learn(verdict, self._id(label))
        if lesson.evict_slot >= 0:
            self._space.remove(lesson.evict_slot)
        if lesson.insert:
            self._keep(key, self._id(label))
        return label, False, verdict.probe

    def _id(self, label: str) -> int:
        if label not in self._ids:
            self._ids[label] = len(self._names)
            self._names.append(label)
        return self._ids[label]

    def _keep(self, key: Key, label: int) -> None:
        self._count += 1
        self._space.insert(Entry(self._count, {_KEY: key}, Result(b"{}"), 0.01, 0.0, float("inf")), label)


def on_device(trace: Trace, truth: Sequence[str], costs: Sequence[Costs], phone: Phone) -> list[Answered]:
    """Return what comes of computing everything on the phones. truth: what the model says, by position."""
    answers = []
    for at, request in enumerate(trace.requests):
        busy_s = costs[request.workload].model_s * phone.factor
        answers.append(Answered(at, truth[at], From.DEVICE_MODEL, False, busy_s, 0, 0, busy_s))
    return answers


def device_cache(
    trace: Trace,
    truth: Sequence[str],
    functions: Sequence[LocalFunction],
    costs: Sequence[Costs],
    phone: Phone,
    target: float,
    entries: int,
    seed: int,
) -> Iterator[Answered]:
    """Yield what comes of a tier on each phone that shares with nobody, and computes what it misses."""
    for number, positions in enumerate(trace.by_phone()):
        tiers = [
            PrivateTier(function, target, entries, random.Random(f"{seed} {number} {at}"))
            for at, function in enumerate(functions)
        ]
        for at in positions:
            request = trace.requests[at]
            cost = costs[request.workload]
            key = functions[request.workload].key(request)
            label, reused, probe = tiers[request.workload].ask(key, lambda at=at: truth[at])  # type: ignore[misc]
            busy_s = phone.factor * (cost.key_s + cost.lookup_s + (0.0 if reused else cost.model_s))
            source = From.DEVICE_CACHE if reused else From.DEVICE_MODEL
            yield Answered(at, label, source, probe, busy_s, 0, 0, busy_s)


def _median_s(run: Callable[[int], object], count: int) -> float:
    taken = []
    for at in range(count):
        started = process_time()
        run(at)
        taken.append(process_time() - started)
    return statistics.median(taken)
