"""Joules of one phone: its radio awake and asleep, and its processor while it computes."""

from __future__ import annotations

import math
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
    up_bytes: float
    down_bytes: float
    busy_s: float
    """CPU seconds on the phone."""


class Meter:
    """Adds up one phone's joules, request by request.

    The radio is awake from a request that has bytes to its answer, and for its tail, unless the next comes sooner;
    after a whole tail it has to wake up again. What the phone takes when idle, and its screen, are left out: they are
    the same whichever way requests are answered.
    """

    __slots__ = ("_idle_s", "_phone", "_radio", "_spent", "computed")

    def __init__(self, radio: Radio, phone: Phone) -> None:
        """Begin with the radio asleep."""
        self._radio = radio
        self._phone = phone
        self._spent = self.computed = 0.0
        self._idle_s = math.inf

    @property
    def radio(self) -> float:
        """Joules of the radio so far, with the tail of the last request."""
        return self._spent + (0.0 if self._idle_s == math.inf else self._radio.tail_w * self._radio.tail_s)

    def add(self, use: Use) -> None:
        """Count a request, the next of this phone."""
        radio = self._radio
        self.computed += self._phone.watts * use.busy_s
        self._idle_s += use.think_s
        if not use.up_bytes and not use.down_bytes:
            self._idle_s += use.wait_s
            return
        if self._idle_s >= radio.tail_s:
            self._spent += radio.promotion_w * radio.promotion_s
        if self._idle_s != math.inf:
            self._spent += radio.tail_w * min(self._idle_s, radio.tail_s)
        self._spent += radio.base_w * use.wait_s
        self._spent += radio.up_j_per_byte * use.up_bytes + radio.down_j_per_byte * use.down_bytes
        self._idle_s = 0.0


def joules(uses: Iterable[Use], radio: Radio, phone: Phone) -> tuple[float, float]:
    """Return (radio, compute) joules of one phone's requests, in order."""
    meter = Meter(radio, phone)
    for use in uses:
        meter.add(use)
    return meter.radio, meter.computed
