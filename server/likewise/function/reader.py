"""From the bytes of a request to what it asks: decode, check, extract the key, tell equal inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from time import perf_counter
from types import MappingProxyType

from likewise.features.decode import Kind, decoded_size
from likewise.features.identity import digest
from likewise.function.key_type import KeyType
from likewise.function.reading import ReadingQueue
from likewise.function.seen import Read, Seen
from likewise.requests import NO_CONTROL, Asked, Control
from likewise.types import Halfway, Input, Key, Session

Decode = Callable[[str, bytes], Input]
Normalize = Callable[[Input], tuple[Input, str]]
"""Returns an input as the model will see it, and its signature; raises InvalidValue for what the model cannot take."""

Begin = Callable[[Input], tuple[Key, Halfway]]


def as_it_is(value: Input) -> tuple[Input, str]:
    """Return an input unchanged, without a signature."""
    return value, ""


class Reader:
    """Reads the raw inputs of one function."""

    def __init__(
        self,
        kind: Kind,
        decode: Decode,
        key_type: KeyType,
        queue: ReadingQueue,
        *,
        normalize: Normalize = as_it_is,
        dtype: str = "",
        deterministic: bool = True,
        inline_bytes: int = 16 << 10,
        inline_values: int = 1 << 18,
        seen_bytes: int = 4 << 20,
        waiting_bytes: int = 256 << 20,
        begin: Begin | None = None,
        quick: bool = True,
        others: Mapping[str, KeyType] = MappingProxyType({}),
    ) -> None:
        """Set up. key_type: the primary one. queue: where what is too large for the event loop is read.

        dtype: of the arrays that a model takes, empty where there is none: what devices may send without loss.
        begin: makes the key by a part of the model, and says how far that came; never on the event loop.
        quick: whether making all keys takes about a millisecond at most; if not, never on the event loop.
        others: the other key types, by name, whose keys large inputs need as well.

        deterministic: whether equal inputs have equal results, so that a repeat may be told by its digest.
        inline_bytes, inline_values: largest body, and most decoded numbers, that are read on the event loop.
        waiting_bytes: of decoded inputs that may wait for others' results; beyond, they are decoded again.
        seen_bytes: memory for what was read from the latest of those, which is known when the same bytes come again.
        """
        self._kind = kind
        self._decode = decode
        self._key_type = key_type.name
        self._extract = key_type.extractor
        self._queue = queue
        self._normalize = normalize
        self.dtype = dtype
        self._deterministic = deterministic
        self.inline_bytes = inline_bytes
        self._inline_values = inline_values
        self._begin = begin
        self._on_loop = quick and begin is None
        self._others = others
        self._room = waiting_bytes
        known = seen_bytes and begin is None and (quick or not others)
        self._seen = Seen(seen_bytes, key_type.dimension) if known else None

    def is_small(self, media_type: str, body: bytes) -> bool:
        """Say whether a body is read on the event loop: by what it decodes to, too, not by its length alone."""
        return (
            self._on_loop
            and len(body) <= self.inline_bytes
            and decoded_size(self._kind, media_type, body) <= self._inline_values
        )

    def knows(self, media_type: str, body: bytes) -> bool:
        """Say whether the very same bytes came lately, so that nothing of them has to be decoded."""
        seen = self._seen
        return seen is not None and len(body) <= self.inline_bytes and seen.get(seen.name(media_type, body)) is not None

    async def read(self, media_type: str, body: bytes, control: Control, session: Session | None) -> Asked:
        """Return what a request asks; small inputs are read here and now, large ones on the pool.

        Raises LikewiseError for whatever a device may send.
        """
        found = self.read_small(media_type, body, control, session)
        if found is not None:
            return found
        came = perf_counter()
        asked = await self._queue.run(
            self._read_large, media_type, body, control, session,
            size=decoded_size(self._kind, media_type, body),
            account="" if session is None else session.account,
            within_s=control.timeout_s,
        )  # fmt: skip
        asked.started = came
        if (seen := self._seen_by(body, control)) is not None:
            seen.put(seen.name(media_type, body), Read(asked.key, asked.signature, asked.digest))
        return asked

    def _seen_by(self, body: bytes, control: Control) -> Seen | None:
        """Return where it is kept what was read from small bodies; None where a request is not to know, nor be known.

        A request that is to leave no trace leaves none there, and a frame of a stream is looked at itself.
        """
        if len(body) > self.inline_bytes or control.no_store or control.stream is not None:
            return None
        return self._seen

    @contextmanager
    def waits(self, asked: Asked) -> Iterator[None]:
        """Let a request wait in the block, without its decoded input where there is no room for it; see `again`."""
        found = asked.halfway or asked.value
        size = 0 if found is None else found.size_bytes
        if kept := size <= self._room:
            self._room -= size
        else:
            asked.value = asked.halfway = None
            asked.decode = self._value
        try:
            yield
        finally:
            if kept:
                self._room += size

    async def again(self, asked: Asked) -> None:
        """Decode a large input again, where there was no room for it. Raises as `read` does."""
        if not asked.large or asked.value is not None:
            return
        found = await self._queue.run(
            self.read_now, asked.media_type, asked.body,
            size=decoded_size(self._kind, asked.media_type, asked.body),
            account=asked.account,
            within_s=asked.left_s,
        )  # fmt: skip
        asked.value, asked.halfway = found.value, found.halfway

    def _read_large(self, media_type: str, body: bytes, control: Control, session: Session | None) -> Asked:
        asked = self.read_now(media_type, body, control, session)
        asked.large, asked.body_digest = True, sha256(body, usedforsecurity=False).digest()
        if self._others:
            value = asked.decoded()
            asked.others = {name: key_type.extract(value) for name, key_type in self._others.items()}
        return asked

    def read_small(self, media_type: str, body: bytes, control: Control, session: Session | None) -> Asked | None:
        """Return what `read` does where the input is small, else None. Of bytes that came lately nothing is decoded."""
        seen = self._seen_by(body, control)
        if seen is None:
            return self.read_now(media_type, body, control, session) if self.is_small(media_type, body) else None
        started = perf_counter()
        name = seen.name(media_type, body)
        known = seen.get(name)
        if known is not None:
            asked = Asked(self._key_type, known.key, session, control, started)
            asked.media_type, asked.body, asked.decode = media_type, body, self._value
            asked.signature, asked.digest = known.signature, known.digest
            asked.read_s = perf_counter() - started
            return asked
        if not self.is_small(media_type, body):
            return None
        asked = self.read_now(media_type, body, control, session)
        seen.put(name, Read(asked.key, asked.signature, asked.digest))
        return asked

    def _value(self, media_type: str, body: bytes) -> Input:
        return self._normalize(self._decode(media_type, body))[0]

    def read_now(
        self, media_type: str, body: bytes, control: Control = NO_CONTROL, session: Session | None = None
    ) -> Asked:
        """Return what `read` does, on the calling thread."""
        started = perf_counter()
        value, signature = self._normalize(self._decode(media_type, body))
        key, halfway = self._begin(value) if self._begin else (self._extract(value), None)
        asked = Asked(self._key_type, key, session, control, started)
        asked.media_type, asked.body, asked.value = media_type, body, value
        if halfway is not None:
            asked.halfway = halfway
        if signature:
            asked.signature = signature
        if self._deterministic:
            asked.digest = digest(value)
        asked.read_s = perf_counter() - started
        return asked
