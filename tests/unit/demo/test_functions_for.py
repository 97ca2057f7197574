"""Where the demonstration finds the function that it serves."""

from __future__ import annotations

from pathlib import Path

import pytest

from likewise.errors import SettingsError
from likewise_demo.process import functions_for


def test_the_folder_here_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it holds the function."""
    (tmp_path / "functions" / "digits").mkdir(parents=True)
    (tmp_path / "functions" / "digits" / "function.toml").touch()
    monkeypatch.chdir(tmp_path)
    assert functions_for("digits").resolve() == tmp_path / "functions"


def test_elsewhere_the_function_that_came_along_is_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an empty folder."""
    monkeypatch.chdir(tmp_path)
    assert (functions_for("digits") / "digits" / "1" / "model.onnx").is_file()


def test_a_function_that_did_not_come_along_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the option that names a folder."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match="--functions DIR"):
        functions_for("nothing")
