from __future__ import annotations

import numpy as np

from likewise.lookup.ids import IdTable


def test_finds_every_id_that_was_put_and_not_popped() -> None:
    """Random 63-bit ids, beside a dictionary."""
    rng = np.random.default_rng(0)
    table, truth = IdTable(), {}
    for slot, id in enumerate(rng.integers(0, 2**63 - 1, 20_000).tolist()):
        table.put(id, slot)
        truth[id] = slot
    for id in list(truth)[::3]:
        table.pop(id)
        del truth[id]
    assert all(table.get(id) == slot for id, slot in truth.items())


def test_unknown_ids_have_no_slot() -> None:
    """Ids never put, of any size, are not found, and popping them changes nothing."""
    table = IdTable()
    for id in range(20_000):
        table.put(id, id)
    for id in (20_001, -1, 2**63, 2**80, -(2**70)):
        assert table.get(id) == -1
        table.pop(id)
    assert IdTable().get(5) == -1
    IdTable().pop(5)
    assert table.get(19_999) == 19_999
