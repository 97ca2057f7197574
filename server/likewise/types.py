"""The words that every room of the server shares: keys, results, neighbors, verdicts, entries.

Nothing here does anything; these are frozen values, so they may cross any seam.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Key = NDArray[np.float32]
"""One key: shape (d,), C-contiguous float32, finite; unit norm where the key type's metric is cosine."""

Keys = NDArray[np.float32]
"""A batch of keys: shape (n, d), C-contiguous float32."""

Slots = NDArray[np.int64]
"""Positions of entries in a namespace's arrays: shape (n,), int64, -1 where nothing was found."""

Tensor = NDArray[Any]
"""A model input or output, with or without its batch axis as the docstring says."""

Clock = Callable[[], float]
"""Seconds since the Unix epoch; injected, so that tests own the time."""

Probability = float
"""A number in [0, 1]."""


class Result(NamedTuple):
    """What a function returns: opaque bytes with their media type."""

    body: bytes
    media_type: str = "application/json"

    @property
    def size_bytes(self) -> int:
        """Length of the body in bytes."""
        return len(self.body)


class Neighbors(NamedTuple):
    """The k nearest live entries of one lookup, nearest first. All three lists have one length, 0 <= n <= k."""

    distances: list[float]
    """L2 distances (not squared), ascending."""
    labels: list[int]
    """Label id of each neighbor; ids are local to a namespace."""
    slots: list[int]
    """Where each neighbor stands in its namespace."""


NO_NEIGHBORS = Neighbors([], [], [])


@dataclass(slots=True, eq=False)
class Conduct:
    """How whoever looks keys up redeems tickets: what is at stake with one more; see `function.tickets`."""

    proven: bool = False
    """Whether the ticket of a probe was ever redeemed."""
    limit: float = 4.0
    """Tokens of the error budget that the tickets of its probes may hold."""
    held: float = 0.0
    open: list[str] = field(default_factory=list)
    """Tickets of its probes, oldest first."""


@dataclass(slots=True, eq=False)
class Session:
    """One device of a function: what it was answered last, and whose error budget its requests earn and spend."""

    last: int = -1
    """Label id of its last answer, or -1 before the first; the policies read it and write it."""
    account: str = ""
    """Whose budget: an access key's, or that of a group of keys; empty where all share one."""
    may_insert: bool = True
    """Whether it can bring the result of a probe: without, nothing that would have to be probed is reused for it."""
    device: str = ""
    """The name that the device gives itself, or the address of its connection."""
    conduct: Conduct = field(default_factory=Conduct)
    """Its own, or that of all devices behind its address where it does not name itself."""


class Source(StrEnum):
    """Where an answer is to come from."""

    NONE = "none"
    """Nowhere: compute it."""
    REPEAT = "repeat"
    """The entry of the very same input."""
    NEIGHBOR = "neighbor"
    """An entry whose key is near."""
    VARIANT = "variant"
    """A cheaper model of the same function."""
    STREAM = "stream"
    """The frame itself, computed from what changed since the one before."""


class Reason(StrEnum):
    """Why a policy decided as it did."""

    NO_NEIGHBORS = "no neighbors"
    BELOW_BAR = "below bar"
    BUDGET = "budget"
    """The ledger has too few tokens for this risk."""
    PROBE = "probe"
    CONFIDENT = "confident"
    WITHIN_THRESHOLD = "within threshold"
    BEYOND_THRESHOLD = "beyond threshold"
    WARMING_UP = "warming up"
    HOMOGENEOUS = "homogeneous"
    HETEROGENEOUS = "heterogeneous"
    EXPLORE = "explore"
    EXPLOIT = "exploit"
    REPEAT = "exact repeat"
    NO_OFFER = "no offer"


@dataclass(slots=True)
class Verdict:
    """Where the answer is to come from, with the reason; made by a policy before anything is done.

    A verdict goes back to the policy that made it, once: to `learn` with the computed label, or to
    `abandon` when no answer came.
    """

    source: Source
    """`NEIGHBOR`: answer with the entry at `slot`."""
    reason: Reason
    neighbors: Neighbors = NO_NEIGHBORS
    slot: int = -1
    """The entry to reuse (nearest with the winning label), or -1."""
    label: int = -1
    """The winning label, or -1 where there were no neighbors."""
    probe: bool = False
    """True: would have been reused, but is computed to check."""
    probability: Probability = 1.0
    """With what probability this request was computed (1 when it was below the bar)."""
    confidence: float = float("-inf")
    """Calibrated log-odds that reuse is correct, where the policy has one."""
    evidence: tuple[float, ...] = ()
    """What the policy saw, for it alone to learn from."""
    charge: float = 0.0
    """Tokens reserved for this probe; the ledger's business."""
    session: Session | None = None
    """That of the device that asked, where one was given."""
    ledger: Any = None
    """Whose tokens it was decided by; the policy's business."""
    deferred: bool = False
    """True: somebody else computes it and may never bring the result."""
    climb: Any = None
    """What the ladder asked for it beyond the neighbors; the ladder's business."""
    origin: Any = None
    """The stream whose offer it is about; None: that of near neighbors."""
    claim: Any = None
    """A probe of a device by its lease, to be settled with the computed label; None: there is none."""

    @property
    def reuse(self) -> bool:
        """True: answer from `source`; False: compute."""
        return self.source is not Source.NONE


class Lesson(NamedTuple):
    """What a policy wants done after it learned from a computed result."""

    insert: bool
    """Keep the computed result as an entry (False: it would add nothing)."""
    evict_slot: int
    """An entry that the result contradicted, or -1."""
    wrong: bool
    """The winner of the vote was not the computed label."""


class Sample(NamedTuple):
    """A computed request that had neighbors, as another node's policy may learn from it."""

    evidence: tuple[float, ...]
    """What the policy saw; only policies with the same `evidence_schema` can read it."""
    wrong: bool
    """The winner of the vote was not the computed label."""
    probability: Probability
    """With what probability the request was computed; above 0."""
    scale: float
    """The distance that the evidence takes for 1; above 0."""


@dataclass(frozen=True, slots=True)
class PolicyStatistics:
    """A snapshot of what a policy knows, for metrics and stats."""

    policy: str
    accuracy_target: float
    bar: float
    """The threshold in the policy's own unit (log-odds or distance); +inf: nothing is reused yet."""
    requests: int
    would_be_hits: int
    probes: int
    false_hits_seen: int
    """Probes whose result contradicted the would-be hit."""
    estimated_accuracy: float
    """Best estimate over all answers, in [0, 1]."""
    false_hits_bound: float
    """Certified upper bound on false hits so far (probability 0.95 at all times), or NaN without a certificate."""
    tokens: float
    """Error budget left in the ledger, or NaN without one; the mean over requests where there are several accounts."""
    hit_precision: float = float("nan")
    """Best estimate of the share of reused answers that were right, in [0, 1]; NaN before the first."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Everything kept for one computed result, as it travels: to the journal, to peers, to a page of entries."""

    id: int
    """Unsigned 63-bit, unique over all nodes (drawn at random)."""
    keys: Mapping[str, Key]
    """One key for each key type of the function."""
    result: Result
    cost_s: float
    """Measured inference seconds."""
    created_at: float
    """Seconds since the Unix epoch."""
    expires_at: float
    """Seconds since the Unix epoch; +inf: never."""
    tags: tuple[str, ...] = ()
    use_count: int = 0
    digest: bytes = b""
    """16 bytes that name what the model sees, so that an exact repeat is known; empty: unknown."""
    signature: str = ""
    """Dtype and shape of an array input: results answer only inputs of the same; empty for other kinds."""
    origin: str = ""
    """The variant that computed it; empty: the full model, or a device. Nothing is learned from a variant's results."""


@dataclass(frozen=True, slots=True)
class Image:
    """A decoded picture: uint8, shape (height, width, 3) RGB, or (height, width) gray; C-contiguous."""

    pixels: NDArray[np.uint8]

    @property
    def size_bytes(self) -> int:
        """Bytes that it takes in memory."""
        return self.pixels.nbytes


@dataclass(frozen=True, slots=True)
class Audio:
    """Decoded sound: float32 in [-1, 1], shape (samples,), mono, at `sample_rate` Hz."""

    samples: NDArray[np.float32]
    sample_rate: int

    @property
    def size_bytes(self) -> int:
        """Bytes that it takes in memory."""
        return self.samples.nbytes


@dataclass(frozen=True, slots=True)
class Array:
    """A decoded tensor of any numeric dtype and shape (from .npy or JSON)."""

    values: Tensor

    @property
    def size_bytes(self) -> int:
        """Bytes that it takes in memory."""
        return self.values.nbytes


Input = Image | Audio | Array
"""A decoded input, as feature extractors and models take it."""


@dataclass(frozen=True, slots=True)
class Halfway:
    """An input that the model has begun with: the tensor from which the rest of the model goes on, without batch axis.

    Its key came out on the way.
    """

    tensor: Tensor
    value: Input
    """The input itself: results may refer to it."""

    @property
    def size_bytes(self) -> int:
        """Bytes that it takes in memory."""
        return int(self.tensor.nbytes) + self.value.size_bytes


@dataclass(frozen=True, slots=True)
class Page:
    """One page of entries, in insertion order."""

    entries: Sequence[Entry]
    next_after: int | None
    """Pass as `after` to get the next page; None: this was the last."""
    labels: Mapping[int, str] = field(default_factory=dict)
