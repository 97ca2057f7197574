"""What ends first as a fleet grows, and what to do then, in numbers."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from likewise_fleet.demand import Demand
from likewise_fleet.simulation import Simulated, World

COMFORT = 0.7
"""Share of a resource from which on waiting grows quickly: what is used beyond counts as its end."""
REDIS_BPS = 10e9
NODE_BPS = 1e9
PLACE_BPS = 50e6
"""What the network of a Redis, a node and the access point of a place carry; assumed."""
CAPACITY_ENTRIES = 20_000
CAPACITY_BYTES = 256 << 20
"""Defaults of the settings `capacity_entries` and `capacity_bytes`, for each function."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One thing that can run out."""

    name: str
    used: float
    """Share of it, where most of it is used."""
    ends_at_phones: int
    """Phones from which on it is short, with as many phones to a node as now."""
    remedy: str

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)


LEASE_TOKENS = 2.5
LEASED_TOKENS = 50.0
"""Of one lease where 20 devices share, and of all leases of an account and a function at once: half of a ledger's
`cap`."""


def resources(
    calibration: dict[str, Any], demand: Demand, world: World, found: Simulated, *, leases: bool = False
) -> list[Resource]:
    """Return what is used most first. leases: whether phones have a tier of their own."""
    redis, node = calibration["redis"], calibration["node"]
    seconds = max(found.seconds, 1e-9)
    nodes = math.ceil(world.nodes / world.partitions)
    inserts = max(found.inserts) / seconds
    """Entries a second of the busiest partition."""
    functions = len(demand.workloads)
    every = _leases(world, demand.phones) if leases else []
    return sorted(
        [
            *every,
            _redis_cpu(redis, inserts, nodes, world, demand.phones),
            _redis_network(redis, inserts, nodes, world, demand.phones),
            _node_cpu(found, world, demand.phones, seconds),
            _node_network(found, world, demand.phones, seconds),
            _following(inserts, world, demand.phones),
            _memory(node, max(found.inserts), functions, world, demand.phones),
            _air(found, demand, seconds),
        ],
        key=lambda each: -each.used,
    )


def _redis_cpu(redis: dict[str, float], inserts: float, nodes: int, world: World, phones: int) -> Resource:
    used = inserts * (redis["add_s"] + nodes * redis["read_s"])
    return Resource(
        "Redis: its one core",
        used,
        _quadratic_end(used, phones),
        f"{_partitions(used, world)} groups of nodes that are near each other, each with a Redis of its own "
        "(redis_url), or a Redis Cluster where there are several functions",
    )


def _redis_network(redis: dict[str, float], inserts: float, nodes: int, world: World, phones: int) -> Resource:
    used = 8 * inserts * redis["record_bytes"] * (1 + nodes) / REDIS_BPS
    return Resource(
        f"Redis: its network of {REDIS_BPS / 1e9:g} Gbit/s",
        used,
        _quadratic_end(used, phones),
        f"{_partitions(used, world)} groups of nodes, each with a Redis of its own (redis_url)",
    )


def _node_cpu(found: Simulated, world: World, phones: int, seconds: float) -> Resource:
    used = max(found.busy_s) / seconds / world.cores
    mean = sum(found.busy_s) / seconds / world.cores / world.nodes
    return Resource(
        f"node: its {world.cores} cores, the busiest (all of them: {mean:.0%})",
        used,
        _linear_end(used, phones),
        f"{math.ceil(world.nodes * used / COMFORT):,} nodes in place of {world.nodes:,}, or more cores each (workers)",
    )


def _node_network(found: Simulated, world: World, phones: int, seconds: float) -> Resource:
    used = 8 * (found.up_bytes + found.down_bytes) / seconds / world.nodes / NODE_BPS
    return Resource(
        f"node: its network of {NODE_BPS / 1e9:g} Gbit/s",
        used,
        _linear_end(used, phones),
        f"{math.ceil(world.nodes * used / COMFORT):,} nodes in place of {world.nodes:,}",
    )


def _following(inserts: float, world: World, phones: int) -> Resource:
    """A node spends about 60 µs to adopt a peer's entry, and has a loop for that and for all else."""
    used = inserts * ADOPT_S
    return Resource(
        "node: adopting what others computed",
        used,
        _linear_end(used, phones),
        f"{_partitions(used, world)} groups of nodes, so that each follows what is near it alone",
    )


ADOPT_S = 60e-6
"""CPU seconds of a node for an entry of a peer: about what an insert takes, assumed."""


def _memory(node: dict[str, float], entries: float, functions: int, world: World, phones: int) -> Resource:
    each = entries / functions
    gigabytes = each * node["entry_bytes"] / 1e9
    used = max(each / CAPACITY_ENTRIES, each * node["entry_bytes"] / CAPACITY_BYTES)
    return Resource(
        f"node: room for {CAPACITY_ENTRIES:,} entries of a function, from this much history alone",
        used,
        _linear_end(used, phones),
        f"capacity_entries = {math.ceil(each / 1000) * 1000:,} ({gigabytes:.2f} GB a function), "
        f"or {_partitions(used, world)} groups of nodes; beyond, the least useful are evicted",
    )


def _leases(world: World, phones: int) -> list[Resource]:
    """The simulation gives every phone the lease that the real run's had; these say how many there can be."""
    used = phones / world.nodes * LEASE_TOKENS / LEASED_TOKENS
    groups = max(1, math.ceil(used))
    return [
        Resource(
            f"node: leases of {LEASE_TOKENS:g} tokens, one account",
            used,
            _linear_end(used, phones),
            f"{groups} groups of access keys at a node, each with a ledger of its own, or a cap of {100 * groups:,} "
            "([reuse] options); beyond, phones go without a lease and ask the edge",
        )
    ]


def _air(found: Simulated, demand: Demand, seconds: float) -> Resource:
    used = 8 * (found.up_bytes + found.down_bytes) / seconds / demand.place_count / PLACE_BPS
    most = max(1, int(COMFORT * demand.phones / demand.place_count / max(used, 1e-9)))
    return Resource(
        f"place: an access point of {PLACE_BPS / 1e6:g} Mbit/s, on average",
        used,
        _linear_end(used, demand.phones),
        f"one access point for {most:,} phones at most",
    )


def _partitions(used: float, world: World) -> int:
    """Return how many partitions bring a use down to what is comfortable, where it falls with their square or less."""
    return max(world.partitions, math.ceil(world.partitions * used / COMFORT))


def _linear_end(used: float, phones: int) -> int:
    return round(phones * COMFORT / max(used, 1e-12))


def _quadratic_end(used: float, phones: int) -> int:
    """With the phones grow the inserts, and the nodes that read each of them."""
    return round(phones * math.sqrt(COMFORT / max(used, 1e-12)))
