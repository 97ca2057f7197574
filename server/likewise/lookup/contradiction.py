"""What becomes of the nearest entry where a reuse of which the policy was confident proved wrong."""

from __future__ import annotations

from likewise.lookup.namespace import Namespace
from likewise.types import Entry

OFTEN = 4
"""Uses beyond which an entry that the full model computed is kept, whatever is computed near it."""


def is_proven(entry: Entry) -> bool:
    """Say whether an entry is at the edge of where it holds, rather than wrong.

    Its digest says that the full model computed it, so it is right for its own input; and it was used often. It goes on
    answering what is nearer to it than to the new result. Else anybody could have others' entries taken out, by inputs
    between them and another class. What a device or a variant computed may be wrong itself.
    """
    return entry.use_count > OFTEN and bool(entry.digest)


def withdraw(space: Namespace, slot: int, id: int) -> bool:
    """Take the entry out that was in a slot, unless it is proven; return whether it went.

    slot: -1 for none. id: the entry's: the slot may have been given to another one while the model ran.
    """
    if slot < 0 or space.slot_of(id) != slot or is_proven(space.entry(slot)):
        return False
    space.remove(slot)
    return True
