"""The settings of leases: what devices may answer with by themselves."""

from __future__ import annotations

from dataclasses import dataclass

from likewise.setting import row


@dataclass(frozen=True)
class LeaseSettings:
    """Part of `Settings`."""

    lease_s: float = row(
        60.0,
        "How long a device may answer from its own tier without a word to the server; 0: it never may. So much later "
        "an invalidation may reach a device that is silent.",
        unit="seconds",
        minimum=0,
        maximum=86_400,
        group="Leases of devices",
    )
    lease_tokens: float = row(
        10.0,
        "Tokens of an account's ledger in one lease, at most; 10 make one in eleven would-be hits of a device a probe.",
        minimum=0,
        maximum=1000,
    )
    lease_most_tokens: float = row(
        19.0,
        "Tokens in one lease, with those that the device earned itself, at most; 19 make one in twenty a probe.",
        minimum=0,
        maximum=1000,
    )
    lease_prefetch: int = row(
        6,
        "Entries that an answer brings a device beside its own, where it has room: near ones, and those used most; 0: "
        "none.",
        minimum=0,
        maximum=64,
    )
    max_leases: int = row(1024, "Leases of each function at once; a device gets no lease beyond.", minimum=1)
    max_account_leases: int = row(
        256, "Leases of each function that the devices of one account may have at once.", minimum=1
    )
    max_change_listeners: int = row(
        256, "Devices that may follow the changes of functions at once; more are answered with 503.", minimum=0
    )
    warm_up_bytes: int = row(
        1 << 20, "Largest download with which a device warms up.", unit="bytes", minimum=1024, maximum=1 << 28
    )
