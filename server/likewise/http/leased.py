"""The headers of leases: what a device asks for, reports and probes, and what it is given with an answer."""

from __future__ import annotations

import math
import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, replace

from likewise.decision.leases import Claim, Lease
from likewise.errors import BadRequest
from likewise.function.function import Function
from likewise.function.leasing import Leasing
from likewise.http.pack import small_pack
from likewise.http.problems import Headers
from likewise.pipeline import Pipeline
from likewise.requests import Answer, Control, Outcome, Ticket
from likewise.types import Session

FIELD = b"likewise-lease"
PROJECTION = b"likewise-projection"
"""Digest of the file by which a device projects keys; in an answer: the radii in it are among keys projected so."""
FIELD_BYTES = 512
MOST_COUNTED = 1 << 40
MOST_KEY_BYTES = 8192
"""Longest key that fits into a header; a device that cannot make it itself does without."""

_ID = re.compile(r"[A-Za-z0-9_-]{1,32}")
_VERSION = re.compile(r"[0-9a-f]{8}\.[0-9]{1,15}")
_ENTRY = re.compile(r"[0-9a-f]{16}")
_WANT, _WATCH = "want", "watch"


@dataclass(frozen=True, slots=True)
class Wish:
    """What a request says in its Likewise-Lease header, and in Likewise-Projection."""

    id: str = ""
    """The lease that the device holds, or held last; empty: none."""
    watch: bool = False
    """The device wants no lease by this request, and all else that goes with one."""
    version: str = ""
    """The newest that it knows; empty: it knows none."""
    answered: int = 0
    """Would-be hits answered by itself under this lease so far."""
    repeats: int = 0
    """Exact repeats answered by itself under this lease so far."""
    probe: int | None = None
    """This request is the probe of a would-be hit of that entry."""
    idle: bool = False
    """No probe of this lease is under way or was lost."""
    lost: bool = False
    """A probe of this lease got no answer: it is over."""
    key: bool = False
    """The device cannot make keys: send that of the entry."""
    prefetch: int = 0
    """Entries beside that of the answer for which the device has room."""
    projection: str = ""
    """Digest of the file by which the device projects keys; empty: it compares them as they are."""


def parse_wish(field: bytes, projection: str = "") -> Wish:
    """Return what the headers say. Raises BadRequest."""
    if len(field) > FIELD_BYTES:
        raise BadRequest(f"Likewise-Lease has {len(field)} bytes, the limit is {FIELD_BYTES}; send less.")
    id, *parameters = (part.strip() for part in field.decode("latin-1").split(";"))
    if not _ID.fullmatch(id):
        raise BadRequest("Likewise-Lease begins with `want`, or with the id of a lease as the server gave it.")
    found: dict[str, object] = {}
    for parameter in parameters:
        name, _, text = parameter.partition("=")
        if name in found:
            raise BadRequest(f"Likewise-Lease: `{name[:40]}` comes twice; send it once.")
        if name in ("answered", "repeats") and text.isascii() and text.isdecimal() and len(text) <= 13:
            found[name] = min(int(text), MOST_COUNTED)
        elif name == "version" and _VERSION.fullmatch(text):
            found[name] = text
        elif name == "probe" and _ENTRY.fullmatch(text):
            found[name] = int(text, 16)
        elif name == "prefetch" and text.isascii() and text.isdecimal() and len(text) <= 3:
            found[name] = int(text)
        elif parameter in ("idle", "lost", "key"):
            found[parameter] = True
        else:
            raise BadRequest(f"Likewise-Lease: `{parameter[:40]}` is not understood; see docs/protocol.md.")
    return Wish("" if id in (_WANT, _WATCH) else id, id == _WATCH, projection=projection, **found)  # type: ignore[arg-type]


class Lessee:
    """A request of a device that has a lease, or wants one."""

    def __init__(self, fn: Function, leasing: Leasing, wish: Wish, session: Session, pipeline: Pipeline) -> None:
        """Take the device's word, and give it a lease if there is one to be had."""
        self._leasing, self._wish, self._session = leasing, wish, session
        self._projection = leasing.projection(wish.projection)
        self._lease: Lease | None = None
        self.claim: Claim | None = None
        if wish.watch:
            return
        if wish.id and (last := leasing.leases.find(wish.id, session.account)) is not None:
            leasing.leases.report(last, wish.answered, wish.repeats)
            if wish.lost:
                leasing.leases.spend(last, "lost")
        self._lease, borrowed = leasing.open(wish.id, session.account, session.device, wish.idle)
        if borrowed:
            pipeline.secure(fn)
        if wish.probe is not None and self._lease is not None and self._lease.id == wish.id:
            self.claim = leasing.claim(self._lease, wish.probe)

    def control(self, control: Control) -> Control:
        """Return how the pipeline is to treat the request: a probe is computed, and settles its claim."""
        return control if self.claim is None else replace(control, no_cache=True, claim=self.claim)

    def refuse(self) -> None:
        """Take note that there is no answer: of a probe that nobody computes, and of a lease that nobody hears of."""
        if self.claim is not None and not self.claim.taken:
            self.claim.abandon()
        if self._lease is not None:
            self._leasing.leases.withdraw(self._lease)

    def headers(self, answer: Answer | Ticket) -> Headers:
        """Return the headers that go with an answer."""
        headers = [(FIELD, self._state().encode())]
        projected = self._projection is not None
        if projected:
            headers.append((PROJECTION, self._wish.projection.encode()))
        if self._wish.prefetch and self._lease is not None and self._lease.live:
            entry_id = -1 if isinstance(answer, Ticket) else answer.entry_id
            if more := self._leasing.prefetch(self._lease, entry_id, self._wish.prefetch, projected):
                headers.append((b"likewise-prefetch", b64encode(small_pack(more, self._projection))))
        if isinstance(answer, Ticket):
            return headers
        exact = self._leasing.exact and answer.outcome in (Outcome.MISS, Outcome.PROBE, Outcome.EXACT)
        reuse = ["exact"] if exact else []
        if answer.ttl_s < 1e12:
            reuse.append(f"ttl={int(answer.ttl_s)}")
        ledger = self._lease.ledger if self._lease is not None else None
        reach = self._leasing.reach(answer.entry_id, ledger) if answer.entry_id >= 0 else None
        if reach is not None:
            radius = reach.searched if projected else reach.radius
            reuse.append(f"radius={math.floor(radius * 1e6) / 1e6:.6f}")
            own = answer.stored and answer.outcome in (Outcome.MISS, Outcome.PROBE)
            if self._wish.key or not own:
                encoded = reach.key.astype("<f4").tobytes()
                if len(encoded) <= MOST_KEY_BYTES:
                    headers.append((b"likewise-key", b64encode(encoded)))
        if reuse:
            headers.append((b"likewise-reuse", "; ".join(reuse).encode()))
        return headers

    def _state(self) -> str:
        lease, changes = self._lease, self._leasing.changes
        if lease is None or not lease.live:
            parts = ["none"]
        else:
            lease.told = True
            # rounded up: what the device is told to risk must be paid for
            pi = math.ceil(lease.probability * 1e6) / 1e6
            parts = [lease.id, f"pi={pi:.6f}", f"ttl={self._leasing.leases.seconds:.3f}"]
        parts.append(f"version={changes.version}")
        if self._wish.version and self._wish.version != changes.version:
            gone = changes.since(self._wish.version)
            parts.append("reset" if gone is None else "drop=" + ",".join(f"{id:016x}" for id in gone))
        if lease is not None and lease.live and lease.probes:
            parts.append("checking")
        if self.claim is not None:
            parts.append(self.claim.verdict or "pending")
        return "; ".join(parts)


def lessee(fn: Function, fields: Mapping[bytes, bytes], session: Session | None, pipeline: Pipeline) -> Lessee | None:
    """Return who asks for a lease; None for a request that does not, or a function that gives none.

    fields: the headers of the request.

    Raises BadRequest for a header that is not understood.
    """
    field = fields.get(FIELD)
    if field is None:
        return None
    wish = parse_wish(field, fields.get(PROJECTION, b"").decode("latin-1"))
    if session is None or fn.leasing is None:
        return None
    return Lessee(fn, fn.leasing, wish, session, pipeline)
