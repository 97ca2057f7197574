"""Policies by name, as a function's spec selects them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from likewise.decision.budget import Budget
from likewise.decision.calibrated import Calibrated
from likewise.decision.counters import Coin
from likewise.decision.fixed import Fixed
from likewise.decision.hknn import Hknn
from likewise.decision.ledger import AccuracyOf, Ledger
from likewise.decision.potluck import Potluck
from likewise.decision.vcache import Vcache
from likewise.errors import InvalidValue

Policy = Calibrated | Fixed | Hknn | Potluck | Vcache


def _calibrated_with_ledger(
    accuracy_target: float, coin: Coin, *, budget: Budget | None = None, ledger: Ledger | None = None,
    slack: float = 3.0, cap: float = 100.0, accuracy_of: AccuracyOf = "answers", **options: Any,
) -> Calibrated:  # fmt: skip
    if budget is None:
        budget = Budget(accuracy_target, slack, cap, accuracy_of, shared=ledger)
    return Calibrated(accuracy_target, coin, budget, **options)


def _without_ledger(make: Callable[..., Policy]) -> Callable[..., Policy]:
    def build(accuracy_target: float, coin: Coin, **options: Any) -> Policy:
        return make(accuracy_target, coin, **{name: each for name, each in options.items() if name not in _SHARED})

    return build


_SHARED = frozenset({"budget", "ledger"})

POLICIES: dict[str, tuple[Callable[..., Policy], frozenset[str]]] = {
    "calibrated+ledger": (
        _calibrated_with_ledger,
        frozenset({*_SHARED, "slack", "cap", "accuracy_of", "strictness", "probing"}),
    ),
    "calibrated": (_without_ledger(Calibrated), frozenset({*_SHARED, "strictness", "probing"})),
    "fixed": (_without_ledger(Fixed), frozenset({*_SHARED, "threshold", "dropout"})),
    "hknn": (_without_ledger(Hknn), frozenset({*_SHARED, "theta", "threshold", "dropout"})),
    "potluck": (_without_ledger(Potluck), frozenset({*_SHARED, "dropout", "warm_up"})),
    "vcache": (_without_ledger(Vcache), frozenset({*_SHARED, "fewest"})),
}
"""Name: constructor, and the options it takes. All take a budget or a ledger; only `calibrated+ledger` uses it."""
_NEAREST_ALONE = frozenset({"fixed", "potluck", "vcache"})


def neighbors_read(policy: str, wanted: int) -> int:
    """Return how many neighbors a policy goes by, where it may have so many: those that look at the nearest get one."""
    return 1 if policy in _NEAREST_ALONE else wanted


def make_policy(name: str, accuracy_target: float, rng: Coin, **options: Any) -> Policy:
    """Return a fresh policy.

    name: one of `POLICIES`; the default of a function is "calibrated+ledger".
    accuracy_target: in (0, 1).
    rng: returns uniform numbers in [0, 1), such as `random.Random().random`; private, so that no sender can foresee it.
    options: by policy; calibrated+ledger: `strictness` (bold, normal, strict), `probing`, `slack`, `cap`, `accuracy_of`
    (answers, reused), and instead of the last three `budget`, a `Budget` to share with other policies of the same
    function, or `ledger`, that of its shared account; calibrated: `strictness`, `probing`;
    fixed: `threshold`, `dropout`; hknn: `theta`, `threshold`, `dropout`; potluck: `dropout`, `warm_up`;
    vcache: `fewest`.
    Raises InvalidValue for a name, an option or a number that cannot be used.
    """
    if name not in POLICIES:
        raise InvalidValue(f"There is no policy `{name}`; choose one of {', '.join(POLICIES)}.")
    make, known = POLICIES[name]
    unknown = sorted(set(options) - known)
    if unknown:
        takes = ", ".join(sorted(known - _SHARED)) or "none"
        raise InvalidValue(f"Policy `{name}` has no option `{unknown[0]}`; it takes: {takes}.")
    if not 0.0 < accuracy_target < 1.0:
        raise InvalidValue(f"The accuracy target is {accuracy_target}; give one between 0 and 1, such as 0.95.")
    try:
        return make(accuracy_target, rng, **options)
    except TypeError as error:
        raise InvalidValue(f"An option of policy `{name}` has the wrong type: {error}.") from error
