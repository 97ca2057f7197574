"""A fleet as events: phones, links and nodes in one queue, without a clock and without a byte being sent.

What is drawn comes from a real run: where an answer comes from, by how often the phone, and all phones that share,
asked for the thing before; and what is not the network's of a latency. Links are those of the proxy, in the same code.
Nodes serve in order of arrival, on so many cores.
"""

from __future__ import annotations

import heapq
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from random import Random
from typing import Any

import numpy as np

from likewise.errors import InvalidValue
from likewise_fleet.demand import Demand, Look, Town, looks, per_phone
from likewise_fleet.energy import Meter, Use
from likewise_fleet.link import Direction, Spells
from likewise_fleet.networks import Network, Phone
from likewise_fleet.records import BUCKETS, CHECKED, From, bucket

_ON_EDGE = (From.EDGE_CACHE.value, From.EDGE_MODEL.value)
_LEAN = 2.0
"""Observations that what is known of a wider class counts for in a cell of the table."""
_ADVANCE = 20_000


@dataclass(frozen=True, slots=True)
class World:
    """What is simulated beside the demand."""

    network: Network
    phone: Phone
    nodes: int = 1
    cores: int = 2
    """Of each node."""
    partitions: int = 1
    """Groups of nodes that share; each has a Redis of its own."""

    def __post_init__(self) -> None:
        """Raise InvalidValue for numbers out of range."""
        if min(self.nodes, self.cores, self.partitions) < 1 or self.partitions > self.nodes:
            raise InvalidValue("Nodes, cores and partitions are 1 or more, and partitions no more than nodes.")


@dataclass(slots=True)
class Simulated:
    """What came of a way."""

    latencies_s: array[float]
    sources: Counter[str]
    wrong: float
    """Expected."""
    radio_joules: float
    compute_joules: float
    up_bytes: float
    down_bytes: float
    seconds: float
    """From the first request to the last answer."""
    busy_s: list[float]
    """CPU seconds of each node."""
    waits_s: float
    """That requests waited for a core, together."""
    inserts: list[float]
    """Expected entries of each partition."""
    phones: int

    def document(self) -> dict[str, Any]:
        """Return the figures as a real run has them."""
        ms, requests = 1000 * np.asarray(self.latencies_s), len(self.latencies_s)
        computed = sum(self.sources[each] for each in (From.DEVICE_MODEL.value, From.EDGE_MODEL.value, CHECKED))
        return {
            "requests": requests,
            "accuracy": 1 - self.wrong / requests,
            "mean_ms": float(ms.mean()),
            "p50_ms": float(np.percentile(ms, 50)),
            "p99_ms": float(np.percentile(ms, 99)),
            "joules": self.radio_joules + self.compute_joules,
            "radio_joules": self.radio_joules,
            "compute_joules": self.compute_joules,
            "bytes": round(self.up_bytes + self.down_bytes),
            "inferences": computed,
            "device_hits": self.sources[From.DEVICE_CACHE.value] + self.sources[CHECKED],
            "edge_hits": self.sources[From.EDGE_CACHE.value],
            "seconds": self.seconds,
            "requests_per_s": requests / self.seconds,
        }


class Chances:
    """Where answers come from, by history, as a real run saw it."""

    def __init__(self, way: dict[str, Any]) -> None:
        """Read a way of a calibration."""
        self._cells: dict[tuple[int, int], tuple[list[str], list[float]]] = {}
        rows: defaultdict[int, Counter[str]] = defaultdict(Counter)
        columns: defaultdict[int, Counter[str]] = defaultdict(Counter)
        every: Counter[str] = Counter()
        cells: dict[tuple[int, int], Counter[str]] = {}
        for name, counts in way["table"].items():
            mine, all_ = (int(each) for each in name.split(","))
            cells[mine, all_] = Counter(counts)
            rows[mine].update(counts)
            columns[all_].update(counts)
            every.update(counts)
        for mine in range(len(BUCKETS)):
            for all_ in range(len(BUCKETS)):
                found: dict[str, float] = dict(cells.get((mine, all_), {}))
                wider = rows.get(mine) or columns.get(all_) or every
                for name, count in wider.items():  # few observations lean on those of more
                    found[name] = found.get(name, 0.0) + _LEAN * count / wider.total()
                shares = np.cumsum(list(found.values())) / sum(found.values())
                self._cells[mine, all_] = list(found), shares.tolist()

    def draw(self, mine: int, all_: int, uniform: float) -> str:
        """Return where an answer comes from. mine, all_: buckets of history; uniform: in [0, 1)."""
        names, shares = self._cells[mine, all_]
        return next((name for name, share in zip(names, shares, strict=True) if uniform < share), names[-1])


class Simulation:
    """One way of one fleet, from empty caches."""

    def __init__(self, calibration: dict[str, Any], way: str, demand: Demand, world: World) -> None:
        """Set up. Raises InvalidValue where the real run did not play this way."""
        if way not in calibration["ways"]:
            raise InvalidValue(f"The real run did not play {way}; simulate what it played, or run it again.")
        self._way = calibration["ways"][way]
        self._node = calibration["node"]
        self._chances = Chances(self._way)
        self._demand = demand
        self._world = world
        self._rng = Random(f"{demand.seed} simulate {way}")
        self._events: list[tuple[float, int, _SimulatedPhone | _Check]] = []  # by when, then by who
        cores: list[list[float]] = [[0.0] * world.cores for _ in range(world.nodes)]
        self._cores = cores
        self._own: Counter[tuple[int, int, int]] = Counter()
        self._shared: Counter[tuple[int, int, int]] = Counter()
        self._result = Simulated(
            array("d"), Counter(), 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, [0.0] * world.nodes, 0.0, [0.0] * world.partitions,
            demand.phones,
        )  # fmt: skip

    def run(self, advance: Callable[[int], None] = lambda done: None) -> Simulated:
        """Let everything happen. advance: told how many requests were answered so far."""
        demand, network, result = self._demand, self._world.network, self._result
        town = Town(demand)
        phones = [
            _SimulatedPhone(
                islice(looks(demand, town, number), count), network, self._world.phone, f"{demand.seed} {number}"
            )
            for number, count in enumerate(per_phone(demand))
        ]
        events = self._events
        for number, each in enumerate(phones):
            if each.next(0.0):
                heapq.heappush(events, (each.time_s, number, each))
        while events:
            now, number, phone = events[0]
            if isinstance(phone, _Check):
                heapq.heappop(events)
                self._check(phone, now)
                continue
            if phone.arriving:
                self._serve(phone, now)
            else:
                self._ask(phone, now)
            if phone.arriving or phone.next(phone.time_s):
                heapq.heapreplace(events, (phone.time_s, number, phone))
            else:
                heapq.heappop(events)
            if len(result.latencies_s) % _ADVANCE == 0:
                advance(len(result.latencies_s))
        result.radio_joules = sum(phone.meter.radio for phone in phones)
        result.compute_joules = sum(phone.meter.computed for phone in phones)
        return result

    def _ask(self, phone: _SimulatedPhone, now: float) -> None:
        """Decide where the answer comes from; what needs the edge is on its way there."""
        look = phone.look
        node = look.place % self._world.nodes
        mine = (look.phone, look.workload, look.thing)
        all_ = (node % self._world.partitions, look.workload, look.thing)
        source = self._chances.draw(bucket(self._own[mine]), bucket(self._shared[all_]), self._rng.random())
        self._own[mine] += 1
        self._shared[all_] += 1
        phone.source, phone.asked_s = source, now
        found = self._way["by_source"][source]
        phone.up_bytes, phone.down_bytes = found["up_bytes"], found["down_bytes"]
        if source in _ON_EDGE:
            phone.time_s = phone.up.arrival(now, round(phone.up_bytes))
            phone.arriving = True
        else:
            self._answered(phone, now + self._rest_s(source))

    def _serve(self, phone: _SimulatedPhone, now: float) -> None:
        """Let a node answer: a core of it, when one is free."""
        phone.arriving = False
        served = self._served(phone.look.place, phone.source, now)
        self._answered(phone, phone.down.arrival(served, round(phone.down_bytes)))

    def _served(self, place: int, source: str, now: float) -> float:
        """Return when a node has answered what arrives now."""
        node = place % self._world.nodes
        computed = source == From.EDGE_MODEL.value
        cpu_s = self._node["miss_s"] if computed else self._node["hit_s"]
        cores = self._cores[node]
        begin = max(now, cores[0])
        heapq.heapreplace(cores, begin + cpu_s)
        result = self._result
        result.busy_s[node] += cpu_s
        result.waits_s += begin - now
        if computed:
            result.inserts[node % self._world.partitions] += self._node["stored_share"]
        return float(begin + max(cpu_s, self._rest_s(source)))

    def _check(self, check: _Check, now: float) -> None:
        """Let a node compute what a device had checked."""
        phone = check.phone
        served = self._served(check.place, From.EDGE_MODEL.value, now)
        seconds = phone.down.arrival(served, round(check.down_bytes)) - check.sent_s
        phone.meter.add(Use(0.0, seconds, check.up_bytes, check.down_bytes, 0.0))
        phone.checked_s = seconds

    def _answered(self, phone: _SimulatedPhone, done: float) -> None:
        result, source = self._result, phone.source
        latency_s = done - phone.asked_s
        result.latencies_s.append(latency_s)
        result.sources[source] += 1
        result.wrong += self._way["wrong"].get(source, 0.0)
        result.up_bytes += phone.up_bytes
        result.down_bytes += phone.down_bytes
        result.seconds = max(result.seconds, done)
        busy_s = self._way["by_source"][source]["busy_s"]
        up, down = phone.up_bytes, phone.down_bytes
        think_s = max(0.0, phone.look.think_s - phone.checked_s)
        phone.checked_s = 0.0
        if source == CHECKED:  # the bytes are those of the check
            arrives = phone.up.arrival(done, round(up))
            check = _Check(phone, done, phone.look.place, up, down)
            heapq.heappush(self._events, (arrives, self._demand.phones + len(result.latencies_s), check))
            up = down = 0.0
        phone.meter.add(Use(think_s, latency_s, up, down, busy_s))
        phone.time_s = done

    def _rest_s(self, source: str) -> float:
        """Return what is not the network's of a latency, drawn from the quantiles of the real run."""
        quantiles: list[float] = self._way["by_source"][source]["rest_s"]
        return quantiles[int(self._rng.random() * len(quantiles))]


@dataclass(slots=True)
class _Check:
    """The check of an answer that a phone gave by itself, on its way to the edge."""

    phone: _SimulatedPhone
    sent_s: float
    place: int
    up_bytes: float
    down_bytes: float


class _SimulatedPhone:
    """One phone: what it asks next, its link, its energy."""

    __slots__ = ("_looks", "arriving", "asked_s", "checked_s", "down", "down_bytes", "look", "meter", "source",
                 "time_s", "up", "up_bytes")  # fmt: skip

    def __init__(self, asks: Iterator[Look], network: Network, phone: Phone, seed: str) -> None:
        rng = Random(seed)
        until = Spells(network, rng, 0.0).until
        self._looks = asks
        self.up = Direction(network, network.up_bps, rng, until)
        self.down = Direction(network, network.down_bps, rng, until)
        self.meter = Meter(network.radio, phone)
        self.arriving = False
        self.source = ""
        self.time_s = self.asked_s = self.checked_s = self.up_bytes = self.down_bytes = 0.0

    def next(self, now: float) -> bool:
        """Go on to the next look, after its think time; False where there is none."""
        look = next(self._looks, None)
        if look is None:
            return False
        self.look = look
        self.time_s = now + look.think_s
        return True


def grown(calibrated: dict[str, Any], phones: int, requests: int, seed: int) -> Demand:
    """Return the demand of a real run, for more phones: as many to a place, and things growing with the places.

    Where places shared things in the real run, as words are, there are no more of them. Raises InvalidValue.
    """
    try:
        base = Demand(**{**calibrated, **{name: tuple(calibrated[name]) for name in ("workloads", "things", "burst")}})
    except (KeyError, TypeError) as error:
        raise InvalidValue("The real run has no demand; run it without --trace.") from error
    places = max(1, round(base.place_count * phones / base.phones))
    things = tuple(
        there if there < base.place_count * base.things_per_place else max(there, places * base.things_per_place)
        for there in base.things
    )
    return replace(base, phones=phones, requests=requests, seed=seed, places=places, things=things)
