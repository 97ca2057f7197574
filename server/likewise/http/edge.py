"""What every route needs, handed over once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from likewise.access import AccessControl, Principal
from likewise.function.function import Function
from likewise.function.registry import Registry
from likewise.http.admission import Fields, Origins, admit
from likewise.http.listeners import Listeners
from likewise.http.warmups import WarmUps
from likewise.pipeline import Pipeline
from likewise.workers.link import WorkerLink

Register = Callable[[str, Mapping[str, bytes], bytes, str], Awaitable[tuple[Function, bool]]]
"""Serves a function from its name, its files by name, and its spec as text with the spec's media type.

Returns it, and whether it took the place of another.
"""


@dataclass(slots=True)
class Readiness:
    """What has to be done before requests are welcome; empty: ready."""

    missing: dict[str, str] = field(default_factory=dict)
    """What is still missing, and how far it is."""
    degraded: dict[str, str] = field(default_factory=dict)
    """What does not work, while requests are still answered correctly."""

    @property
    def ready(self) -> bool:
        """True once requests are welcome."""
        return not self.missing


@dataclass(frozen=True, slots=True)
class Edge:
    """The parts that the HTTP routes share."""

    registry: Registry
    pipeline: Pipeline
    access: AccessControl
    origins: Origins
    readiness: Readiness
    register: Register
    unregister: Callable[[str], Awaitable[None]]
    max_body_bytes: int
    max_upload_bytes: int
    max_result_bytes: int
    max_keys_per_lookup: int
    max_answer_bytes: int
    max_entries_per_insert: int
    warm_up_bytes: int
    max_change_listeners: int
    journal_statistics: Callable[[], Mapping[str, float]]
    workers: WorkerLink | None = None
    """The other workers of this server; None: there are none."""
    listeners: Listeners = field(default_factory=Listeners)
    warm_ups: WarmUps = field(default_factory=WarmUps)

    def admit(self, fields: Fields, scope: str) -> Principal:
        """Return who sent a request with such header fields. Raises Unauthorized, Forbidden."""
        return admit(self.access, self.origins, fields, scope)
