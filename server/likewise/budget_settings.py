"""The settings of budgets: what computing may take of a worker."""

from __future__ import annotations

from dataclasses import dataclass

from likewise.errors import SettingsError
from likewise.setting import row


@dataclass(frozen=True)
class BudgetSettings:
    """Part of `Settings`."""

    inference_budget: float = row(
        0.0,
        "Seconds of inference per second that a worker may use; beyond, reuse and cheaper models answer more, and what "
        "is left to compute is answered with 503. 0: no limit.",
        minimum=0,
        maximum=1024,
        group="Budgets",
    )
    account_budget: float = row(
        0.0, "The same for each access key, or group of keys. 0: no limit.", minimum=0, maximum=1024
    )
    variant_memory_bytes: int = row(
        0,
        "Memory for the variants of all functions of a worker, by what their specs state; those that save least for it "
        "are dropped. 0: a quarter of what there is for models.",
        unit="bytes",
        minimum=0,
    )
    trunk_bytes: int = row(
        64 << 20,
        "Memory for what each set of first layers that functions have in common gave lately; 0: nothing is shared.",
        unit="bytes",
        minimum=0,
    )
    power_budget_w: float = row(
        0.0, "Watts that inference of a worker may take, see inference_w. 0: no limit.", unit="watts", minimum=0
    )
    inference_w: float = row(
        15.0, "Watts that an inference is taken to need while it runs.", unit="watts", minimum=0.001, maximum=100_000
    )
    latency_ms: float = row(
        0.0,
        "Time that 99 of 100 answers of a function are to keep; a function may set its own. 0: none stated.",
        unit="milliseconds",
        minimum=0,
        maximum=3_600_000,
    )
    emergency_target: float = row(
        0.0,
        "Accuracy target while a budget is exceeded and nothing else helps; a function may set its own. 0: the "
        "accuracy target holds always.",
        minimum=0,
        maximum=0.9999,
    )

    def check_target(self, accuracy_target: float) -> None:
        """Raise SettingsError where the target in an emergency is above the one that holds otherwise."""
        if self.emergency_target > accuracy_target:
            raise SettingsError(
                f"Setting emergency_target ({self.emergency_target}) is above accuracy_target ({accuracy_target}). "
                "Lower the first, or leave it at 0."
            )
