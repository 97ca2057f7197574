"""Threads of drills: one that dies fails the drill, one that never ends too."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.drills.task import Task
from benchmarks.processes import Failed


def test_a_thread_that_dies_fails_the_drill() -> None:
    """Whatever it dies of, also a mistake in the drill itself."""
    task = Task(lambda: None.missing)  # type: ignore[attr-defined]
    with pytest.raises(Failed, match="AttributeError"):
        task.join()
    with pytest.raises(Failed, match="AttributeError"):
        task.check()


def test_a_thread_that_never_ends_fails_the_drill() -> None:
    """It is not waited for without end."""
    go_on = threading.Event()
    task = Task(go_on.wait)
    with pytest.raises(Failed, match="did not end"):
        task.join(0.01)
    go_on.set()
    task.join()
