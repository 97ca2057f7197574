"""How much one record of the journal may hold."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what a frame may hold; both encoding and decoding keep to them."""

    frame_bytes: int = 64 * 2**20
    description_bytes: int = 2**20
    """Function, media type, tags and key types of an entry, as JSON."""
    key_types: int = 64
    dimension: int = 2**16
    tags: int = 4096
    facts: int = 64
    """Facts of an entry that are not in the first version."""
    ids: int = 2**20
    """Entries named by one invalidation."""
    samples: int = 4096
    name_bytes: int = 256
    """Of the key type, the node and the evidence schema of samples."""
    evidence: int = 64
    """Numbers in the evidence of one sample."""
    registered_bytes: int = 320 * 2**20
    """Takes the place of `frame_bytes` for a registered function with its files."""
    files: int = 256


DEFAULT_LIMITS = Limits()
