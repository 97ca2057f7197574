"""A key network is trained where PyTorch is, and where it is worth it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import networks
import pytest

from likewise.evaluation.own import Subject
from likewise.tuning.candidates import Candidate, Material, sample_inputs
from likewise.tuning.distill import NAME, distilled
from likewise.tuning.play import Judge
from likewise.tuning.split import rounds
from likewise.workloads.inputs import Inputs


def trained(tmp_path: Path, count: int, seconds: float) -> tuple[list[Candidate], list[str]]:
    networks.write_function(tmp_path / "functions")
    subject = Subject(tmp_path / "functions", "kinds")
    notes: list[str] = []
    with Inputs(networks.fill(tmp_path / "inputs", count), "kinds", "image") as inputs:
        read = subject.results(inputs, None)
        sample = sample_inputs(subject, inputs, read)
        parts = rounds(read.devices, read.labels)
        material = Material(Judge(subject, read, (0.95,)), inputs, parts, sample, 1.0)
        return distilled(material, seconds, notes.append, lambda _: None), notes


def test_nothing_is_trained_in_no_time(tmp_path: Path) -> None:
    """Nor is there anything to say about it."""
    assert trained(tmp_path, 30, 0.0) == ([], [])


def test_without_pytorch_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the others are measured all the same."""
    monkeypatch.setattr("likewise.tuning.distill.importlib.util.find_spec", lambda _: None)
    found, notes = trained(tmp_path, 30, 1.0)
    assert found == []
    assert "likewise[train]" in notes[0]


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_network_is_trained_and_written(tmp_path: Path) -> None:
    """Its file makes the very keys that were played."""
    (found,), notes = trained(tmp_path, 440, 3.0)
    assert (found.name, notes) == (NAME, [])
    table = found.write(tmp_path)
    assert (tmp_path / str(table["file"])).is_file()
    assert {keys.shape[1] for keys in found.keys} == {48}
