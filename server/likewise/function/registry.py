"""The functions that are served, each found by its name, by `name@version`, or by the id that journals know it by."""

from __future__ import annotations

from collections.abc import Iterator

from likewise.errors import UnknownFunction
from likewise.function.function import Function


class Registry:
    """The functions that are served: one version of each name. Owned by one event loop.

    A function that is taken out, or replaced, is `retired` from then on: requests that still compute with it are
    answered, but nothing more is kept or journaled of it.
    """

    def __init__(self) -> None:
        self._by_name: dict[str, Function] = {}
        self._by_journal_id: dict[str, Function] = {}

    def __iter__(self) -> Iterator[Function]:
        return iter([self._by_name[name] for name in sorted(self._by_name)])

    def __len__(self) -> int:
        return len(self._by_name)

    def find(self, name: str) -> Function | None:
        """Return the function served under a name without a version; None: there is none."""
        return self._by_name.get(name)

    def get(self, address: str) -> Function:
        """Return the function addressed as `name` or `name@version`. Raises UnknownFunction, naming what there is."""
        function = self._by_name.get(address)
        if function is not None:
            return function
        name, _, version = address.partition("@")
        function = self._by_name.get(name)
        if function is not None and version == str(function.version):
            return function
        raise self._unknown(name, function)

    def of_journal(self, journal_id: str) -> Function | None:
        """Return the function whose records carry that id; None where it is not served, or its results differ."""
        return self._by_journal_id.get(journal_id)

    def _unknown(self, name: str, served: Function | None) -> UnknownFunction:
        if served is not None:
            return UnknownFunction(f"`{name}` is served as {served.id} alone; ask for that.")
        known = ", ".join(f"`{each.name}`" for each in list(self)[:20]) or "none"
        return UnknownFunction(f"No function `{name[:64]}` here. Functions served: {known}.")

    def put(self, function: Function) -> Function | None:
        """Serve a function under its name; return the one that it replaced, which is retired."""
        old = self.remove(function.name)
        function.retired = False
        self._by_name[function.name] = function
        self._by_journal_id[function.journal_id] = function
        return old

    def remove(self, name: str) -> Function | None:
        """Stop serving a function, and retire it; return it, or None where there was none of that name."""
        old = self._by_name.pop(name, None)
        if old is not None:
            old.retired = True
            if old.streams is not None:
                old.streams.close()
            self._by_journal_id.pop(old.journal_id, None)
        return old
