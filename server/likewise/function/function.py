"""Functions: named, versioned computations with everything that is cached of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from time import perf_counter

from likewise.clocks import monotonic
from likewise.decision import Budget, neighbors_read
from likewise.decision.leases import Claim
from likewise.errors import DeadlineExceeded, InvalidValue
from likewise.events import Answered, Sink
from likewise.function import report
from likewise.function.adoption import Adopter
from likewise.function.coalescing import InFlight
from likewise.function.governor import Governor
from likewise.function.holding import Holding
from likewise.function.key_type import KeyType
from likewise.function.leasing import Leasing
from likewise.function.reader import Reader
from likewise.function.rungs import ExactRepeats, NearNeighbors
from likewise.function.sessions import Sessions
from likewise.function.sharing import Sharing
from likewise.function.spec import FunctionSpec
from likewise.function.streams import Streams
from likewise.function.tickets import Pending, Tickets
from likewise.function.trunks import SharedModel
from likewise.function.variants import Variants
from likewise.learning.evidence import Exchange
from likewise.learning.projections import Projector
from likewise.lookup.contradiction import withdraw
from likewise.lookup.namespace import Namespace
from likewise.ports import Policy, Rung, Runner
from likewise.requests import Asked, Control, Outcome
from likewise.results.labels import Labels
from likewise.sinks.metrics import FunctionMetrics
from likewise.throughput import TIMELY
from likewise.types import Clock, Entry, Key, Lesson, Neighbors, Reason, Result, Session, Source, Verdict


class Function:
    """One function version: how to read its inputs, what is cached, where reuse is safe, how to compute.

    Owned by one event loop; all methods but `infer` are plain and take microseconds.
    """

    def __init__(
        self,
        name: str,
        version: int,
        spec: FunctionSpec,
        *,
        reader: Reader,
        key_types: Sequence[KeyType],
        namespace: Namespace,
        labels: Labels,
        policies: Mapping[str, Policy],
        runner: Runner | None,
        max_body_bytes: int,
        clock: Clock,
        projectors: Mapping[str, Projector] | None = None,
        invalidated_tags: int | None = None,
        max_devices: int = 10_000,
        fingerprint: str = "",
        budget: Budget | None = None,
        streams: Streams | None = None,
        leasing: Leasing | None = None,
        monotonic: Clock = monotonic,
        ticket_prefix: str = "",
        sinks: Iterable[Sink] = (),
        variants: Variants | None = None,
        governor: Governor | None = None,
        shared: SharedModel | None = None,
        sharing: Sharing | None = None,
    ) -> None:
        """Put the parts together. key_types: in the spec's order, the first is primary; policies: by key type.

        runner: computes results; None: devices do. projectors: of the key types whose keys may be projected.
        invalidated_tags, max_devices: how many are remembered. budget: that the policies share, if they have one.
        streams: frames of cameras, where the model can be computed in parts. leasing: what devices may answer with by
        themselves; None: nothing.
        variants: of the model, that may answer what the neighbors refuse. governor: keeps its budgets; None: has none.
        shared: its model, where the first layers may be another function's too. sharing: what devices may run.
        sinks: told how each request ended, beside the metrics.
        """
        self.name = name
        self.version = version
        self.id = f"{name}@{version}"
        self.journal_id = namespace.function
        """What records of it carry: the id, and the fingerprint."""
        self.fingerprint = fingerprint
        self.spec = spec
        self.namespace = namespace
        self.labels = labels
        self.policies = policies
        self.projectors = dict(projectors or {})
        self.runner = runner
        self.adopter = Adopter(namespace, labels, self._learn_projections, clock, invalidated_tags, monotonic)
        self.evidence = Exchange(self.journal_id, policies)
        self.metrics = FunctionMetrics()
        self.in_flight = InFlight()
        self.devices = Sessions(max_devices)
        share = math.inf if budget is None else budget.deferred_share
        self.tickets = Tickets(
            monotonic, self._abandon, ttl_s=spec.reuse.ticket_ttl_s, share=share, prefix=ticket_prefix
        )
        self.key_types = {key_type.name: key_type for key_type in key_types}
        self.key_type = key_types[0].name
        self.numbers = sum(key_type.dimension for key_type in key_types)
        """Of all keys of an entry together."""
        self.max_body_bytes = min(max_body_bytes, spec.input.max_bytes or max_body_bytes)
        self.k = spec.reuse.neighbors
        self.reader = reader
        self.neighbors = NearNeighbors(namespace, policies, neighbors_read(spec.reuse.policy, self.k), budget)
        self.repeats = ExactRepeats(namespace)
        self.holding = None if runner is None or budget is None else Holding(runner, budget)
        self.streams = streams
        self.leasing = leasing
        if leasing is not None:
            self.adopter.withdrew = leasing.changes.note
        middle: tuple[Rung, ...] = () if streams is None else (streams,)
        self.ladder: tuple[Rung, ...] = (self.repeats, *middle, self.neighbors)
        """Ways to an answer that are cheaper than to compute it, in order of cost."""
        self.variants = variants
        """Beyond the ladder's rungs: cheaper models, for what is computed in any case; None: there are none."""
        self.retired = False
        """Whether it is served no more: what is still computed is answered, and leaves no trace."""
        self._policy = policies[self.key_type]
        self.governor = governor
        self.shared = shared
        self.sharing = sharing
        self._sinks: tuple[Sink, ...] = (self.metrics, *sinks) if governor is None else (self.metrics, governor, *sinks)

    def emit(self, event: Answered) -> None:
        """Tell all sinks how a request ended."""
        for sink in self._sinks:
            sink(event)

    def tell(
        self, asked: Asked, outcome: Outcome, reason: str, saved_s: float = 0.0, result: Result | None = None
    ) -> None:
        """Tell all sinks how a request ended that got an answer or a ticket.

        saved_s: inference not necessary. result: the answer; None with a ticket, or where it is to leave no trace.
        """
        started, session = asked.started, asked.session
        event = tuple.__new__(  # half the price of calling the class
            Answered,
            (
                self.id,
                outcome,
                reason,
                perf_counter() - started if started >= 0.0 else -1.0,
                asked.read_s,
                asked.lookup_s,
                asked.decide_s,
                asked.infer_s,
                saved_s,
                "" if session is None else session.account,
                None if asked.control.no_store else asked,
                result,
            ),
        )
        for sink in self._sinks:
            sink(event)

    # ── reading ────────────────────────────────────────────────────────────────────────────────────────────

    async def read(self, media_type: str, body: bytes, control: Control, session: Session | None) -> Asked:
        """Return what a request for a result asks. Raises LikewiseError, also where it would wait for too long then."""
        self._check_room(media_type, body, control, session)
        return await self.reader.read(media_type, body, control, session)

    def read_small(self, media_type: str, body: bytes, control: Control, session: Session | None) -> Asked | None:
        """Return what `read` does where the input is small, else None."""
        self._check_room(media_type, body, control, session)
        return self.reader.read_small(media_type, body, control, session)

    def _check_room(self, media_type: str, body: bytes, control: Control, session: Session | None) -> None:
        """Refuse, unread, what would wait for too long: for the model, and for probes that hold its account's tokens.

        The very same bytes again are no work, and may be an exact repeat. What a lease or a stream asks is theirs.
        """
        runner, holding = self.runner, self.holding
        computed = control.no_store or control.no_cache
        if runner is None or not (computed or (holding is not None and holding.held)):
            return
        if control.claim is not None or control.stream is not None or not control.timeout_s:
            return
        wait_s = runner.wait_s
        if not computed and holding is not None:
            wait_s = min(wait_s, holding.wait_s("" if session is None else session.account))
        within_s = min(control.timeout_s, runner.patience_s)
        if wait_s <= TIMELY * within_s or self._is_repeat(media_type, body):
            return
        if control.timeout_s <= runner.patience_s:
            raise DeadlineExceeded(f"It would wait for about {wait_s:.2g} s, longer than Request-Timeout; come back.")
        raise runner.overloaded(f"It would wait for about {wait_s:.0f} s")

    def _is_repeat(self, media_type: str, body: bytes) -> bool:
        """Say whether the very same bytes came lately; of large ones nothing is known before they are read."""
        small = len(body) <= self.reader.inline_bytes
        return small and (self.in_flight.same(body) is not None or self.reader.knows(media_type, body))

    def keys(self, asked: Asked) -> dict[str, Key]:
        """Return one key for each key type of a raw input; the primary one is at hand already."""
        others = asked.others
        if others is None:
            others = {
                name: key_type.extract(asked.decoded())
                for name, key_type in self.key_types.items()
                if name != self.key_type
            }
        return {self.key_type: asked.key, **others}

    # ── looking up and deciding ────────────────────────────────────────────────────────────────────────────

    def confident(self, neighbors: Neighbors) -> bool:
        """Say whether such neighbors would be reused, without accounting for anything."""
        return self._policy.confident(neighbors)

    def fresh(self, slot: int, control: Control) -> bool:
        """Say whether an entry satisfies a request's max-age and min-fresh."""
        return self.namespace.age_s(slot) <= control.max_age_s and self.namespace.ttl_s(slot) >= control.min_fresh_s

    def nearest_id(self, verdict: Verdict) -> int:
        """Return the id of the nearest entry of a verdict made just now, or -1."""
        slots = verdict.neighbors.slots
        return self.namespace.entry_id(slots[0]) if slots else -1

    # ── computing and learning ─────────────────────────────────────────────────────────────────────────────

    async def infer(self, asked: Asked, *, probe: bool) -> tuple[Result, float]:
        """Return the result of a raw input and its cost in seconds. Raises Overloaded, ModelFailed, InvalidValue.

        Raises DeadlineExceeded, too: see `ports.Runner`.
        """
        if self.runner is None:
            raise InvalidValue(
                f"`{self.id}` has no model here: devices compute it. Use lookup, then insert the result."
            )
        value, account = asked.halfway or asked.decoded(), asked.account
        found = await self.runner.run(value, probe=probe, within_s=asked.left_s, account=account, wanted=asked.wanted)
        if self.governor is not None:
            self.governor.charge(asked.account, found[1])
        return found

    async def compute(self, asked: Asked, *, probe: bool) -> tuple[Result, float]:
        """Return what `infer` does for a request, or what its stream computed in full already."""
        if asked.offered is not None and asked.offered.full:
            return asked.offered.result, asked.offered.cost_s
        return await self.infer(asked, probe=probe)

    def learn(self, key_type: str, verdict: Verdict, nearest_id: int, result: Result) -> tuple[Lesson, int, int]:
        """Take in a computed result; return the lesson, the result's label, and the contradicted entry's id or -1."""
        label = self.labels.label(result)
        if self.holding is not None:
            self.holding.settled()
        if verdict.claim is not None:
            verdict.claim.settle(label)
        if verdict.origin is not None and self.streams is not None:
            wrong = self.streams.learn(verdict, label, result)
            return Lesson(wrong or not verdict.probe, -1, wrong), label, -1
        if verdict.climb is not None and self.variants is not None:
            lesson, verdict, mistaken = self.variants.learn(verdict, label)
        else:
            lesson = self.policies[key_type].learn(verdict, label)
            mistaken = lesson.wrong
        self.evidence.note(key_type, verdict, lesson.wrong)
        contradicted = nearest_id if withdraw(self.namespace, lesson.evict_slot, nearest_id) else -1
        return lesson if mistaken == lesson.wrong else lesson._replace(wrong=mistaken), label, contradicted

    def observe(self, verdict: Verdict) -> Verdict:
        """Return a verdict to reuse as one to compute for certain: the client asked for a fresh result.

        Its device's session has the answer by reuse already; a second one would count the request twice.
        """
        return replace(verdict, source=Source.NONE, probe=False, probability=1.0, charge=0.0, session=None)

    def claimed(self, verdict: Verdict, claim: Claim) -> Verdict:
        """Return a verdict as that of a probe which a device makes by its lease.

        Unless the policy probes it as well, no ledger earns by it, only the leases of its device: so nobody buys tokens
        with probes that others pay with.
        """
        claim.taken = True
        if verdict.charge:
            claim.earns = False  # the ledger does
            return replace(verdict, claim=claim)
        if verdict.reuse:
            verdict = self.observe(verdict)
        probability = claim.lease.probability
        return replace(verdict, reason=Reason.PROBE, probe=True, probability=probability, ledger=None, claim=claim)

    def abandon(self, verdict: Verdict, key_type: str | None = None) -> None:
        """Say that no result will come for a verdict."""
        if self.holding is not None:
            self.holding.settled()
        if verdict.claim is not None:
            verdict.claim.abandon()
        if verdict.origin is not None and self.streams is not None:
            self.streams.policy.abandon(verdict)
            return
        if verdict.climb is not None and self.variants is not None:
            self.variants.ladder.abandon(verdict)
            return
        self.policies[key_type or self.key_type].abandon(verdict)

    def _abandon(self, pending: Pending) -> None:
        self.abandon(pending.verdict, pending.key_type)

    def keep(self, entry: Entry, label: int, account: str = "") -> None:
        """Insert an entry, whose result has that label. account: who brings it."""
        self.namespace.insert(entry, label, account)
        self._learn_projections()

    def tend(self) -> None:
        """Do what is due beside the requests: let entries and tickets expire, take over what was learned."""
        self.namespace.expire()
        self.tickets.sweep()
        if self.variants is not None:
            self.variants.pager.tend()
        if self.leasing is not None:
            self.leasing.tend()
        self._learn_projections()

    def _learn_projections(self) -> None:
        for projector in self.projectors.values():
            projector.tend()

    # ── being looked at ────────────────────────────────────────────────────────────────────────────────────

    def gauges(self) -> Mapping[str, float]:
        """Return everything countable that others keep for this function."""
        return report.gauges(self)

    def statistics(self) -> dict[str, object]:
        """Return the numbers of /v1/stats; what is not finite is None."""
        return report.statistics(self)

    def describe(self) -> dict[str, object]:
        """Return what GET /v1/functions says of it."""
        return report.describe(self)
