"""What a run is to do."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from likewise.errors import InvalidValue
from likewise_fleet.networks import Network, Phone
from likewise_fleet.records import WAYS


@dataclass(frozen=True, slots=True)
class Plan:
    """A run of a fleet."""

    workloads: tuple[str, ...]
    functions: Path
    network: Network
    phone: Phone
    target: float
    seed: int
    speed: float = 4.0
    """Think times are so many times shorter than in the trace; the network and all computing are as they are."""
    tier_entries: int = 500
    """Most that a phone's own tier keeps, of each function."""
    ways: tuple[str, ...] = WAYS
    processes: int = 2
    kill_server: bool = False
    """Whether the server is killed after a third of the requests of a way with sharing, and started again."""

    def __post_init__(self) -> None:
        """Raise InvalidValue for what cannot be."""
        if unknown := sorted(set(self.ways) - set(WAYS)):
            raise InvalidValue(f"There is no way {unknown[0]!r}; choose from {', '.join(WAYS)}.")
        if not 0.1 <= self.speed <= 1000 or self.processes < 1 or self.tier_entries < 1 or not self.ways:
            raise InvalidValue("speed is 0.1 to 1000; processes, the tier's entries and the ways are at least 1.")

    def assumptions(self) -> list[str]:
        """Return in plain words what was assumed, with sources."""
        radio = self.network.radio
        return [
            f"network {self.network.name}: {self.network.source}; a lost segment comes {self.network.retransmit_s:g} s "
            "later; each phone has a link of its own",
            f"phone {self.phone.name}: {self.phone.factor:g} seconds for one of a core here, {self.phone.watts:g} W "
            f"while it computes: {self.phone.source}",
            f"radio {radio.name}: {1e6 * radio.up_j_per_byte:.2f} µJ a byte up and {1e6 * radio.down_j_per_byte:.2f} "
            f"down, {radio.base_w:.3f} W while it waits, {radio.tail_w:.3f} W for {radio.tail_s:.2f} s after: Huang et "
            "al., MobiSys 2012, tables 3 and 4",
            "energy leaves out the screen and what a phone takes when idle, the same in all ways, and what HTTP takes "
            "of its processor; bytes are those of HTTP, without TCP and IP",
            f"phones and server share the {os.cpu_count()} cores of this machine; think times are {self.speed:g} times "
            "shorter than in the trace, which energy is counted by",
        ]
