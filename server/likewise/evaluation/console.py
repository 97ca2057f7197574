"""What the verb's parts share at the terminal: names with commas, and progress."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from likewise.errors import InvalidValue

WIDTH = 170
"""Characters of a line that goes to a file or a pipe."""


def names(text: str, option: str) -> tuple[str, ...]:
    """Return names with commas between them, each once. Raises InvalidValue for none."""
    found = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not found:
        raise InvalidValue(f"{option} is empty; give a name, or several with commas.")
    return found


def targets(text: str) -> tuple[float, ...]:
    """Return accuracy targets with commas between them. Raises InvalidValue for what is none."""
    try:
        found = tuple(float(target) for target in names(text, "--target"))
    except ValueError:
        raise InvalidValue(f"--target is `{text}`; give numbers with commas, such as 0.95,0.99.") from None
    if not all(0.0 < target < 1.0 for target in found):
        raise InvalidValue(f"--target is `{text}`; an accuracy target lies between 0 and 1.")
    return found


@contextmanager
def progress(total: int, what: str = "runs") -> Iterator[Callable[[int], None]]:
    """Show how far things are; yields what counts them."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(what, total=total)
        yield lambda count: shown.advance(task, count)


def wide() -> Console:
    """Return the terminal, or what a file or a pipe gets: lines that are not folded."""
    console = Console()
    return console if console.is_terminal else Console(width=WIDTH)
