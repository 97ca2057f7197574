"""The devices that ask: what each of them was answered last, within a bound."""

from __future__ import annotations

from collections import OrderedDict

from likewise.types import Trail


class Devices:
    """The trails of one function's devices; the one that was heard of first is forgotten first."""

    def __init__(self, limit: int) -> None:
        """Set up. limit: devices remembered, at least 1."""
        self._limit = limit
        self._trails: OrderedDict[str, Trail] = OrderedDict()

    def __len__(self) -> int:
        return len(self._trails)

    def trail(self, device: str) -> Trail:
        """Return the trail of a device, a new one at its first request.

        device: any name that tells it from others; nothing depends on its being true but what its answers are worth.
        """
        trail = self._trails.get(device)
        if trail is None:
            if len(self._trails) >= self._limit:
                self._trails.popitem(last=False)
            trail = self._trails[device] = Trail()
        return trail
