"""The rungs of a function's ladder: ways to an answer that are cheaper than to compute it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from time import perf_counter

from likewise.decision import Budget
from likewise.lookup.namespace import Namespace
from likewise.ports import ForeseesErrors, Policy
from likewise.requests import Asked
from likewise.types import Keys, Neighbors, Reason, Source, Verdict

NEAR_CERTAIN = 0.2
"""Share of 1 - accuracy target up to which a foreseen error leaves hardly a doubt."""


class ExactRepeats:
    """Offers what was computed for the very same input: the same to the model, bit for bit.

    Such an answer cannot be false where the model is deterministic, so no policy is asked and no budget touched.
    """

    def __init__(self, namespace: Namespace, limit: int = 10_000) -> None:
        """Set up. limit: inputs remembered beyond those that have an entry of their own."""
        self._namespace = namespace
        self._limit = limit
        self._same: OrderedDict[bytes, int] = OrderedDict()

    def offer(self, asked: Asked) -> Verdict | None:
        """Return the entry of an equal input, or None."""
        digest = asked.digest
        if not digest:
            return None
        slot = self._namespace.exact(digest)
        if slot < 0 and (id := self._same.get(digest)) is not None:
            slot = self._namespace.slot_of(id)
        return (
            None if slot < 0 else Verdict(Source.REPEAT, Reason.REPEAT, slot=slot, label=self._namespace.label_of(slot))
        )

    def note(self, digest: bytes, entry_id: int) -> None:
        """Remember that the result for an input equals that of an entry, so that it needs none of its own."""
        if digest and entry_id >= 0:
            self._same[digest] = entry_id
            if len(self._same) > self._limit:
                self._same.popitem(last=False)


class NearNeighbors:
    """Offers the result of near entries where the policy finds that safe."""

    def __init__(
        self, namespace: Namespace, policies: Mapping[str, Policy], k: int, budget: Budget | None = None
    ) -> None:
        """Set up. policies: by key type; k: neighbors that are looked at; budget: the function's, if it has one."""
        self._namespace = namespace
        self._budget = budget
        self._k = k
        self._decide = {name: policy.decide for name, policy in policies.items()}
        self._foresee = {
            name: policy.foreseen_error for name, policy in policies.items() if isinstance(policy, ForeseesErrors)
        }

    def look_up(self, asked: Asked) -> Neighbors:
        """Return the nearest live entries, which the next `offer` for the same request will judge."""
        started = perf_counter()
        asked.neighbors = found = self._namespace.lookup(asked.key_type, asked.key, self._k, asked.signature)
        asked.lookup_s = perf_counter() - started
        return found

    def look_up_many(self, key_type: str, keys: Keys) -> list[Neighbors]:
        """Return the nearest live entries of each key; keys has shape (n, d)."""
        return self._namespace.lookup_many(key_type, keys, self._k)

    def is_near_certain(self, asked: Asked) -> bool:
        """Say whether the neighbors leave hardly a doubt, without accounting for anything."""
        foresee = self._foresee.get(asked.key_type)
        if foresee is None or self._budget is None:
            return False
        neighbors = asked.neighbors or self.look_up(asked)
        return foresee(neighbors, asked.session) <= NEAR_CERTAIN * self._budget.ledger(asked.account).epsilon

    def offer(self, asked: Asked) -> Verdict:
        """Return the policy's verdict on the neighbors."""
        neighbors = asked.neighbors
        if neighbors is None:
            neighbors = self.look_up(asked)
        session, budget, ledger = asked.session, self._budget, None
        started = perf_counter()
        if budget is not None and session is not None and session.account:
            ledger = budget.ledger(session.account)
        verdict = self._decide[asked.key_type](neighbors, session, ledger, asked.limit, asked.deferred)
        asked.decide_s = perf_counter() - started
        return verdict
