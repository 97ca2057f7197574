"""Network and phone profiles: figures with their sources. All are printed with a run's results as assumptions."""

from __future__ import annotations

from dataclasses import dataclass

from likewise.errors import InvalidValue


@dataclass(frozen=True, slots=True)
class Radio:
    """What a radio takes: power model of Huang et al., MobiSys 2012, table 3 ("A Close Examination of ... 4G LTE")."""

    name: str
    promotion_w: float
    promotion_s: float
    """Power and time of waking up."""
    base_w: float
    """Power while a transfer or a wait for an answer is under way, beside what the bytes take."""
    up_j_per_byte: float
    down_j_per_byte: float
    tail_w: float
    tail_s: float
    """Power and time that it stays awake after the last byte."""


WIFI = Radio("Wi-Fi", 0.1244, 0.0791, 0.13286, 283.17e-9 * 8, 137.01e-9 * 8, 0.11931, 0.2381)
LTE_RADIO = Radio("LTE", 1.2107, 0.2601, 1.28804, 438.39e-9 * 8, 51.97e-9 * 8, 1.06004, 11.576)
"""mW per Mbit/s are nJ per bit."""


@dataclass(frozen=True, slots=True)
class Network:
    """How the link between one phone and the edge behaves, one way; each phone has a link of its own."""

    name: str
    base_s: float
    """Least delay, one way: the wire behind the access point included."""
    jitter_median_s: float
    jitter_sigma: float
    """What comes on top is log-normal: median, and standard deviation of its logarithm."""
    up_bps: float
    down_bps: float
    loss: float
    """Share of segments that are lost."""
    retransmit_s: float
    """What a lost segment costs: the sender's shortest retransmission time-out."""
    radio: Radio
    online_s: float = 0.0
    """Mean length of a spell with network; 0: there is always one."""
    offline_s: float = 0.0
    """Mean length of a spell without."""
    longest_s: float = 1.0
    """No jitter is longer than this."""
    source: str = ""


NETWORKS = {
    each.name: each
    for each in (
        Network(
            "good-wifi", 0.0005, 0.0009, 1.7, 40e6, 60e6, 0.0002, 0.2, WIFI,
            source="round trips of 3 ms in the median, 20 ms at the 90th percentile: Sui et al., MobiSys 2016, 47,000 "
            "devices on a campus; rates and loss assumed",
        ),
        Network(
            "busy-wifi", 0.0005, 0.0065, 1.5, 6e6, 10e6, 0.002, 0.2, WIFI,
            source="half of all round trips over 20 ms, a tenth near 100 ms: Pei et al., INFOCOM 2016, 47 "
            "access points of a campus; rates and loss assumed",
        ),
        Network(
            "lte", 0.025, 0.008, 0.6, 5.64e6, 12.74e6, 0.001, 0.2, LTE_RADIO,
            source="median rates of 5.64 and 12.74 Mbit/s and round trips of 70 ms: Huang et al., MobiSys 2012; loss "
            "assumed",
        ),
        Network(
            "offline-spells", 0.0005, 0.0065, 1.5, 6e6, 10e6, 0.002, 0.2, WIFI, 40.0, 3.0,
            source="busy-wifi with spells without network: exponential, 40 s with and 3 s without; assumed",
        ),
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Phone:
    """How fast a phone computes, and what that takes."""

    name: str
    factor: float
    """CPU seconds there for one here."""
    watts: float
    """Power of one busy core above idle, with what it needs of the chip."""
    source: str


_NCNN = "ResNet-18 (3.6 GFLOP), one thread, in ncnn's benchmark list, against 166 GFLOP/s of one Xeon core here"
_POWER = 'AnandTech, "HiSilicon Kirin 960: performance and power", one busy core'
PHONES = {
    each.name: each
    for each in (
        Phone("entry", 28.0, 0.65, f"Cortex-A53: 623 ms, 5.8 GFLOP/s, for {_NCNN}; 0.654 W: {_POWER}"),
        Phone("middle", 12.0, 1.35, f"Cortex-A72: 322 ms at 1.8 GHz, so 14 GFLOP/s at 2.3, for {_NCNN}; "
              f"1.347 W: {_POWER}"),
    )
}  # fmt: skip


def network(name: str) -> Network:
    """Return a profile by name. Raises InvalidValue."""
    if name not in NETWORKS:
        raise InvalidValue(f"There is no network {name!r}; choose one of {', '.join(NETWORKS)}.")
    return NETWORKS[name]


def phone(name: str, factor: float | None = None, watts: float | None = None) -> Phone:
    """Return a phone by name, with other figures where given. Raises InvalidValue."""
    if name not in PHONES:
        raise InvalidValue(f"There is no phone {name!r}; choose one of {', '.join(PHONES)}.")
    found = PHONES[name]
    if factor is None and watts is None:
        return found
    return Phone(f"{name}, changed", factor or found.factor, watts or found.watts, "as asked for on the command line")
