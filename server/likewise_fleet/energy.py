"""Joules of one phone: its radio awake and asleep, and its processor while it computes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from likewise_fleet.networks import Phone, Radio


@dataclass(frozen=True, slots=True)
class Use:
    """What one request took of its phone, in the phone's own time."""

    think_s: float
    """Since the answer before."""
    wait_s: float
    """From asking to the answer."""
    up_bytes: int
    down_bytes: int
    busy_s: float
    """CPU seconds on the phone."""


def joules(uses: Iterable[Use], radio: Radio, phone: Phone) -> tuple[float, float]:
    """Return (radio, compute) joules of one phone's requests, in order.

    The radio is awake from a request that has bytes to its answer, and for its tail, unless the next comes sooner;
    after a whole tail it has to wake up again. What the phone takes when idle, and its screen, are left out: they are
    the same whichever way requests are answered.
    """
    spent = computed = 0.0
    idle_s = float("inf")
    for use in uses:
        computed += phone.watts * use.busy_s
        idle_s += use.think_s
        if not use.up_bytes and not use.down_bytes:
            idle_s += use.wait_s
            continue
        if idle_s >= radio.tail_s:
            spent += radio.promotion_w * radio.promotion_s
        spent += radio.tail_w * min(idle_s, radio.tail_s) if idle_s != float("inf") else 0.0
        spent += radio.base_w * use.wait_s + radio.up_j_per_byte * use.up_bytes + radio.down_j_per_byte * use.down_bytes
        idle_s = 0.0
    if idle_s != float("inf"):
        spent += radio.tail_w * radio.tail_s  # after the last
    return spent, computed
