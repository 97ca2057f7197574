"""The benchmark runs: a moment of its rows, without judging any time; and its verdicts, on figures made up for that."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.__main__ import _better  # noqa: E402
from benchmarks.judgement import Bar, Figure, table, write  # noqa: E402
from benchmarks.overload import DEADLINE_S, TIMES, flood  # noqa: E402

from likewise.settings import Settings  # noqa: E402

BAR = Bar("row", "a row", "/s", "a baseline", 0.5)


def test_a_moment_of_the_rows_runs() -> None:
    """Servers, load and measurements work together; every row that was asked for has a ratio."""
    rows = ["lookup/echo", "in-process", "device/lookup"]
    command = [sys.executable, "-m", "benchmarks", "--quick", *(part for row in rows for part in ("--only", row))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False, env=os.environ)
    assert done.returncode == 0, done.stdout + done.stderr
    for row in rows:
        (line,) = [line for line in done.stdout.splitlines() if line.startswith(f"  {row}: ") and "(" in line][:1]
        assert math.isfinite(float(line.split()[1])), line


def test_an_unknown_row_is_refused_with_the_names_there_are() -> None:
    """`--only` with a wrong name says which there are."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--only", "nothing"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "in-process" in done.stderr


@pytest.mark.parametrize(
    ("values", "baselines", "ok"),
    [
        pytest.param([60, 61, 62, 60, 61], [100, 101, 100, 99, 100], True, id="holds"),
        pytest.param([30, 31, 32, 30, 31], [100, 101, 100, 99, 100], False, id="missed"),
        pytest.param([51, 49, 52, 48, 50], [100, 101, 100, 99, 100], True, id="close-on-a-quiet-machine"),
        pytest.param([51, 49, 52, 48, 50], [100, 60, 130, 70, 120], None, id="close-on-a-noisy-machine"),
        pytest.param([20, 21, 20, 40, 20], [60, 61, 60, 100, 62], None, id="missed-on-a-disturbed-machine"),
        pytest.param([40, 41, 40, 70, 40], [60, 61, 60, 100, 62], True, id="holds-on-a-disturbed-machine"),
        pytest.param([900, 950, 990, 1000, 980], [100, 60, 130, 70, 120], True, id="clear-on-a-noisy-machine"),
        pytest.param([], [], None, id="not-measured"),
    ],
)
def test_noise_forbids_a_verdict_only_where_runs_disagree(
    values: list[float], baselines: list[float], ok: bool | None
) -> None:
    """A row is judged unless single runs stand on both sides of the bar and the baseline wavers."""
    assert Figure(BAR, values, baselines).ok(0.15) is ok


def test_a_disturbed_row_says_so_and_learns_from_another_round() -> None:
    """A baseline far below its own best, in these runs or in another round, is no ground for a verdict."""
    disturbed = Figure(BAR, [20.0] * 5, [60.0, 61.0, 60.0, 100.0, 62.0])
    assert disturbed.verdict(0.15) == "disturbed"
    quiet = Figure(BAR, [30.0] * 5, [100.0] * 5)
    assert _better(disturbed, quiet).verdict(0.15) == "missed"
    slow = Figure(BAR, [20.0] * 5, [60.0] * 5)
    assert slow.verdict(0.15) == "missed", "alone it cannot know"
    assert _better(disturbed, slow).verdict(0.15) == "disturbed"
    assert _better(disturbed, None) is disturbed


def test_what_the_machine_does_by_itself_is_not_held_against_a_row() -> None:
    """A pause that is there without load makes the row untellable, not missed."""
    pause = Bar("pause", "a pause", "ms", "", 5.0, at_most=True)
    assert Figure(pause, [12.0], [1.0], blind=True).ok(0.15) is None
    assert Figure(pause, [12.0], [1.0]).ok(0.15) is False
    assert Figure(pause, [3.0], [1.0]).ok(0.15) is True


def test_results_keep_rows_that_were_not_run_again(tmp_path: Path) -> None:
    """results.json is a list of rows; running one leaves the others."""
    file = tmp_path / "results.json"
    other = Bar("other", "another row", "/s", "a baseline", 2.0)
    write(file, [Figure(BAR, [60.0] * 5, [100.0] * 5), Figure(other, [1.0] * 5, [1.0] * 5)], 0.15)
    write(file, [Figure(BAR, [80.0] * 5, [100.0] * 5)], 0.15)
    first, second = json.loads(file.read_text())
    assert {"name", "value", "unit", "baseline", "ratio", "bar", "ok", "runs"} <= set(first)
    assert (first["name"], first["ratio"], first["ok"], len(first["runs"]["value"])) == ("row", 0.8, True, 5)
    assert (second["name"], second["ok"]) == ("other", False)


def test_the_table_names_what_could_not_be_measured() -> None:
    """A row without runs stands in the table with its reason."""
    text = table([Figure(BAR, note="wrk went missing")], 0.15)
    assert "not measured" in text
    assert "wrk went missing" in text


@pytest.mark.parametrize("capacity", [1.0, 145.0, 400.0])
def test_a_flood_finds_free_connections(capacity: float) -> None:
    """Where every request waits until its deadline, the next one is still sent when it is due."""
    assert TIMES * capacity * DEADLINE_S <= flood(capacity)


def test_a_flood_comes_from_one_address() -> None:
    """With no more connections than the server takes from it."""
    settings = Settings()
    assert flood(1e6) <= (settings.max_connections_per_address or settings.max_connections * 3 // 4)
