"""The reference of the SDK says what its docstrings say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import likewise_client

ROOT = Path(__file__).parents[2]


def test_the_reference_is_what_the_docstrings_say() -> None:
    """Run `python client_sdk/reference.py` after a change."""
    command = [sys.executable, str(ROOT / "client_sdk" / "reference.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr


def test_the_reference_has_every_name() -> None:
    """All that is exported, each as a heading, and every method of the clients."""
    text = (ROOT / "docs" / "sdk-reference.md").read_text(encoding="utf-8")
    names = [name for name in likewise_client.__all__ if not name.startswith("_")]
    assert [name for name in names if f"### `{name}`" not in text] == []
    methods = [name for name in dir(likewise_client.Client) if not name.startswith("_")]
    assert [name for name in methods if f"#### `Client.{name}`" not in text] == []


def test_a_reference_that_is_not_true_is_told(tmp_path: Path) -> None:
    """The check can fail."""
    script = (ROOT / "client_sdk" / "reference.py").read_text(encoding="utf-8")
    copy = tmp_path / "client_sdk" / "reference.py"
    copy.parent.mkdir()
    copy.write_text(script, encoding="utf-8")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "sdk-reference.md").write_text("something else", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(copy), "--check"], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 1
    assert "sdk-reference.md" in done.stderr
