"""The body of an answer, piece by piece: decompressed, and never longer than a client takes.

A piece of a few kilobytes may inflate to gigabytes, so no more is asked of it than there is room for.
"""

from __future__ import annotations

import zlib

from likewise_client._errors import MalformedAnswer

WINDOWS = {"gzip": zlib.MAX_WBITS | 16, "x-gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}
"""The codings that clients accept, with what zlib calls them."""


class Body:
    """Takes the pieces of one body."""

    def __init__(self, node: str, coding: str, limit: int) -> None:
        """Set up. coding: of the Content-Encoding header. limit: bytes at most, decoded. Raises MalformedAnswer."""
        self._node = node
        self._limit = limit
        self._decoded = bytearray()
        self._coding = coding.strip().lower()
        self._inflater = None
        self.received = 0
        """Bytes that came over the wire."""
        if self._coding not in ("", "identity"):
            if self._coding not in WINDOWS:
                raise MalformedAnswer(f"{node} sent a body in {self._coding[:40]!r}, which was not asked for")
            self._inflater = zlib.decompressobj(WINDOWS[self._coding])

    def add(self, piece: bytes) -> None:
        """Take a piece. Raises MalformedAnswer for one too many, or that does not decode."""
        if self._inflater is not None:
            inflated = self._inflate(piece)
            self.received += len(piece)
            piece = inflated
        else:
            self.received += len(piece)
        self._decoded += piece
        if len(self._decoded) > self._limit:
            raise MalformedAnswer(f"{self._node} sent over {self._limit} bytes; see max_answer_bytes")

    def whole(self) -> bytes:
        """Return the body, decoded. Raises MalformedAnswer where it was cut off."""
        if self._inflater is not None and self.received and not self._inflater.eof:
            raise MalformedAnswer(f"{self._node} sent a body in {self._coding} that breaks off")
        return bytes(self._decoded)

    def _inflate(self, piece: bytes) -> bytes:
        assert self._inflater is not None
        room = self._limit - len(self._decoded) + 1
        try:
            return self._inflater.decompress(piece, room)
        except zlib.error as error:
            if self._coding == "deflate" and not self.received:  # without the header that RFC 9110 asks for
                self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
                try:
                    return self._inflater.decompress(piece, room)
                except zlib.error:
                    pass
            raise MalformedAnswer(f"{self._node} sent a body that does not decode: {error}") from error
