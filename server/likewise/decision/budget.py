"""The error budget of a function: a ledger for each account, so that nobody spends what others earned.

An account is an access key, or a group of them; where all share, there is one, named "". The theorem holds for each
account by itself, and what happens in another one does not touch it: tokens that protect an asker were earned by
askers like it. Bar and weights of the policy are common to all: the theorem allows them to depend on anything.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from likewise.decision.ledger import DEFERRED_SHARE, AccuracyOf, Ledger, bound
from likewise.errors import UNFIT, InvalidValue

SHARED = ""
"""The account of whoever has none of its own."""


class Budget:
    """The ledgers of one function by account; the policies of all its key types share it.

    accuracy_target, slack, cap, accuracy_of: of each ledger.
    max_accounts: ledgers kept besides the shared one, at least 1. Beyond, the one that was not used for longest goes.
    From then on new ones start with what those that went left behind, `slack` at most: coming back again and again
    gives nobody more.
    Raises InvalidValue.
    """

    def __init__(
        self,
        accuracy_target: float,
        slack: float = 3.0,
        cap: float = 100.0,
        accuracy_of: AccuracyOf = "answers",
        max_accounts: int = 1024,
        *,
        shared: Ledger | None = None,
    ) -> None:
        """Set up. shared: the ledger of `SHARED`, where there is one already."""
        if max_accounts < 1:
            raise InvalidValue(f"max_accounts is {max_accounts}; give at least 1.")
        self._options = (accuracy_target, slack, cap, accuracy_of)
        self._limit = max_accounts
        self._relaxed: float | None = None
        self._forgotten = Ledger(*self._options)  # what those that went had spent, for the certificate
        self._left_behind = float("inf")  # tokens that new ones may start with
        self._ledgers: OrderedDict[str, Ledger] = OrderedDict()
        if shared is not None:
            self._ledgers[SHARED] = shared

    def __len__(self) -> int:
        return len(self._ledgers)

    def ledger(self, account: str = SHARED) -> Ledger:
        """Return an account's ledger; a new one at its first request."""
        ledger = self._ledgers.get(account)
        if ledger is None:
            return self._open(account)
        self._ledgers.move_to_end(account)
        return ledger

    def relax(self, target: float | None) -> None:
        """Let requests earn tokens by another accuracy target from now on, in (0, 1); None: by the budget's own."""
        self._relaxed = target
        for ledger in self._ledgers.values():
            ledger.relax(1.0 - (self._options[0] if target is None else target))

    def _open(self, account: str) -> Ledger:
        ledger = self._ledgers[account] = Ledger(*self._options)
        if self._relaxed is not None:
            ledger.relax(1.0 - self._relaxed)
        ledger.tokens = min(ledger.slack, self._left_behind)
        self._left_behind -= ledger.tokens
        self._trim()
        return ledger

    def _trim(self) -> None:
        while len(self._ledgers) - (SHARED in self._ledgers) > self._limit:
            if next(iter(self._ledgers)) == SHARED:  # policies hold on to it
                self._ledgers.move_to_end(SHARED)
            _, gone = self._ledgers.popitem(last=False)
            self._forgotten.absorb(gone)
            left = 0.0 if self._left_behind == float("inf") else self._left_behind
            self._left_behind = left + min(gone.tokens, gone.slack)

    @property
    def deferred_share(self) -> float:
        """Tokens that probes of one account may hold whose result somebody else has to bring."""
        return DEFERRED_SHARE * self._options[2]

    @property
    def most_tokens(self) -> float:
        """The tokens of the account that has most."""
        return max((ledger.tokens for ledger in self._ledgers.values()), default=self._options[1])

    @property
    def mean_tokens(self) -> float:
        """The tokens of the accounts in the mean, each weighing as many requests as it made."""
        requests = sum(ledger.requests for ledger in self._ledgers.values())
        if not requests:
            return self.most_tokens
        return sum(ledger.tokens * ledger.requests for ledger in self._ledgers.values()) / requests

    def bound(self) -> float:
        """Return a number that the false hits of all accounts together do not exceed, see `ledger.bound`."""
        return bound((*self._ledgers.values(), self._forgotten))

    def state(self) -> dict[str, Any]:
        """Return all ledgers, JSON-able, the one that was used last at the end."""
        return {
            "accounts": {account: ledger.state() for account, ledger in self._ledgers.items()},
            "forgotten": {**self._forgotten.state(), "tokens": self._left_behind}
            if self._left_behind < float("inf")
            else None,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over a state.

        Of each account, what saw more requests counts: a policy that shares this budget may have restored a newer one.
        Raises InvalidValue where it is none.
        """
        try:
            accounts = dict(state["accounts"])
            forgotten = dict(state.get("forgotten") or {})
            left_behind = float(forgotten.get("tokens", self._left_behind))
            if left_behind != left_behind:
                raise ValueError("no number of tokens")
        except UNFIT as error:
            raise InvalidValue(f"The budget's state is unusable ({error!r}); start without it.") from error
        restored: dict[str, Ledger] = {}
        for account, each in accounts.items():
            restored[str(account)] = ledger = Ledger(*self._options)
            ledger.restore(each)
        if forgotten:
            self._forgotten.restore({**forgotten, "tokens": 0.0})
            self._left_behind = left_behind
        for account, ledger in restored.items():
            kept = self._ledgers.get(account)
            if kept is None:
                self._ledgers[account] = ledger
            elif kept.requests <= ledger.requests:
                kept.restore(accounts[account])
        self._trim()
