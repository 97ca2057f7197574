"""The harness of attacks: an attack that harms is told, one that does nothing is not, one that dies shows nothing."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.drills import attacks
from benchmarks.drills.nodes import Node
from benchmarks.processes import Failed

Until = Callable[[], bool]


def play(folder: Path, attack: Callable[[Node, Until], Any]) -> list[float]:
    """Return tail, /livez and what is stuck, of an attack of one's own."""
    return [figure.value for figure in attacks.drill("silent", folder, seconds=2.0, attack=attack)]


def wait(_node: Node, until: Until) -> None:
    while not until():
        time.sleep(0.01)


def stop(node: Node, until: Until) -> None:
    os.kill(node.pid, signal.SIGSTOP)
    wait(node, until)
    os.kill(node.pid, signal.SIGCONT)


def forget(node: Node, until: Until) -> None:
    node.talk().ask("DELETE", "/v1/functions/drilled/entries?all=true")
    wait(node, until)


def test_a_server_that_stands_still_misses_every_bar_of_latency(tmp_path: Path) -> None:
    """Paused for two seconds: hits and /livez take as long."""
    tail, livez, _ = play(tmp_path, stop)
    assert tail > 1000
    assert livez > 1000


def test_a_hit_rate_that_does_not_come_back_is_stuck(tmp_path: Path) -> None:
    """All entries invalidated: nothing hits afterwards."""
    assert play(tmp_path, forget)[2] > 0


def test_nothing_is_stuck_after_nothing(tmp_path: Path) -> None:
    """An attack that only waits."""
    assert play(tmp_path, wait)[2] == 0


def test_an_attack_that_dies_shows_nothing(tmp_path: Path) -> None:
    """It fails the drill instead of letting every bar hold."""
    with pytest.raises(Failed, match="ZeroDivisionError"):
        play(tmp_path, lambda _node, _until: 1 / 0)
