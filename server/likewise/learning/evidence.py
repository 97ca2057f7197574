"""What nodes tell each other about reuse: which of their computed requests the neighbors would have got right.

A node that shares entries soon answers from what others computed, so it should know what they found out about such
entries, too. Every computed request that had neighbors is a sample; some samples of each half second travel through
the journal and are taken in by the policies of the other nodes. Counters and ledgers stay each node's own.
"""

from __future__ import annotations

import logging
import uuid
from collections import OrderedDict
from collections.abc import Mapping

from likewise.errors import InvalidValue
from likewise.ports import LearnsFromPeers, Policy
from likewise.records import Observed
from likewise.types import Sample, Verdict

log = logging.getLogger("likewise.learning.evidence")

AT_ONCE = 64
"""Samples of a key type in one record; more between two records are left out, whatever they say."""
SENDERS = 1024
"""Senders whose last record is remembered, so that it is not taken in twice."""


class Exchange:
    """The samples of one function that come and go. Owned by its event loop."""

    def __init__(self, function: str, policies: Mapping[str, Policy]) -> None:
        """Set up. function: `name@version`; policies: by key type."""
        self.node = uuid.uuid4().hex
        """How the others know this process."""
        self.sent = self.left_out = self.taken_in = self.refused = 0
        """Samples: told to others; not told, for there were too many; learned from others; not understood."""
        self._function = function
        self._policies = {name: policy for name, policy in policies.items() if isinstance(policy, LearnsFromPeers)}
        self._waiting: dict[str, list[Sample]] = {}
        self._wanted = False
        self._number = 0
        self._seen: OrderedDict[tuple[str, str], int] = OrderedDict()

    def note(self, key_type: str, verdict: Verdict, wrong: bool) -> None:
        """Remember a computed request for the others; nothing where nobody ever asked with `drain`."""
        policy = self._policies.get(key_type) if self._wanted else None
        if policy is None or (sample := policy.sample(verdict, wrong)) is None:
            return
        waiting = self._waiting.setdefault(key_type, [])
        if len(waiting) < AT_ONCE:
            waiting.append(sample)
        else:
            self.left_out += 1

    def drain(self) -> list[Observed]:
        """Return what came together since the last call, as records."""
        self._wanted = True
        records: list[Observed] = []
        for key_type, samples in self._waiting.items():
            self._number += 1
            self.sent += len(samples)
            schema = self._policies[key_type].evidence_schema
            records.append(Observed(self._function, key_type, schema, self.node, self._number, tuple(samples)))
        self._waiting.clear()
        return records

    def take_in(self, record: Observed) -> None:
        """Let the policy of a key type learn from another node's samples, once."""
        if record.node == self.node or record.number <= self._seen.get((record.key_type, record.node), -1):
            return
        policy = self._policies.get(record.key_type)
        if policy is None or policy.evidence_schema != record.evidence_schema:
            self.refused += len(record.samples)
            return
        self._seen[record.key_type, record.node] = record.number
        self._seen.move_to_end((record.key_type, record.node))
        if len(self._seen) > SENDERS:
            self._seen.popitem(last=False)
        try:
            policy.observe(record.samples)
        except InvalidValue as error:
            self.refused += len(record.samples)
            log.warning("what node %s saw of %s is left alone: %s", record.node, self._function, error.detail)
        else:
            self.taken_in += len(record.samples)
