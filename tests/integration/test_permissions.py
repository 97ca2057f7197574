"""Starts that meet files which the server's user may not read: one line with a remedy, and nothing is lost."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from permissions import obeying


def start(functions: Path, data: Path) -> tuple[int, str]:
    """Return the exit code of a server that does not come to serve, and what it said."""
    words = ("--functions", str(functions), "--data-dir", str(data), "--port", "0", "--journal", "sqlite")
    command = obeying([sys.executable, "-m", "likewise", "serve", *words])
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


@pytest.mark.parametrize("beside", ["journal.sqlite.snapshot", "journal.sqlite.snapshot.invalidated"])
def test_a_snapshot_that_may_not_be_read_is_not_written_over(functions_dir: Path, tmp_path: Path, beside: str) -> None:
    """What it holds is nowhere else."""
    place = tmp_path / "data" / beside
    place.parent.mkdir()
    place.write_bytes(b"all entries")
    place.chmod(0)
    code, said = start(functions_dir, tmp_path / "data")
    assert code == 1
    (line,) = [each for each in said.splitlines() if beside in each]
    assert f"{place} may not be read" in line
    assert place.stat().st_size == len(b"all entries")


@pytest.mark.parametrize(
    ("place", "remedy"), [("1", "check its permissions"), ("function.toml", "let the server's user")]
)
def test_a_function_that_may_not_be_read_says_what_to_do(
    functions_dir: Path, tmp_path: Path, place: str, remedy: str
) -> None:
    """Not that it should be written."""
    folder = shutil.copytree(functions_dir / "quadrants", tmp_path / "functions" / "quadrants")
    (folder / place).chmod(0)
    code, said = start(tmp_path / "functions", tmp_path / "data")
    (folder / place).chmod(0o700)
    assert code == 2
    assert f"{folder / place}" in said
    assert remedy in said
