"""What keys a namespace takes: how many numbers those of each type have, and what is said of others."""

from __future__ import annotations

from collections.abc import Mapping

from likewise.errors import InvalidValue
from likewise.types import Key


class KeyShapes:
    """Dimension by key type, with the owner's name for messages."""

    def __init__(self, owner: str, dimensions: Mapping[str, int]) -> None:
        """Set up. owner: `name@version`."""
        self._owner = owner
        self._dimensions = dict(dimensions)
        self.bytes = 4 * sum(dimensions.values())
        """What the keys of one entry take."""

    def check(self, keys: Mapping[str, Key]) -> None:
        """Raise InvalidValue unless there is a key of the right length for each type."""
        for name, dimension in self._dimensions.items():
            key = keys.get(name)
            if key is None or key.shape != (dimension,):
                raise self.misfit(name, () if key is None else key.shape)

    def misfit(self, key_type: str, shape: tuple[int, ...]) -> InvalidValue:
        """Return the error for a key of that type and shape, shape (..., d)."""
        if key_type not in self._dimensions:
            known = ", ".join(f"`{name}`" for name in self._dimensions)
            return InvalidValue(f"`{self._owner}` has no key type `{key_type}`; it has {known}.")
        numbers = shape[-1] if shape else 0
        return InvalidValue(
            f"The key has {numbers} numbers, "
            f"key type `{key_type}` of `{self._owner}` takes {self._dimensions[key_type]}."
        )
