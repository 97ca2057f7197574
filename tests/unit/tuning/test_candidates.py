"""Candidates can be written and read again: what a server then does is what was played."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import networks
import numpy as np
import pytest

from likewise.evaluation.own import Subject, own_stream
from likewise.evaluation.read import Read
from likewise.tuning.candidates import Candidate, Material, extractors, sample_inputs
from likewise.tuning.filters import NAME, filtered
from likewise.tuning.play import Judge
from likewise.tuning.spec_edit import write_key
from likewise.tuning.split import Split, rounds
from likewise.workloads.inputs import Inputs

Found = tuple[Subject, Read, tuple[Split, ...], list[Candidate]]


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    networks.write_function(tmp_path / "functions")
    return networks.fill(tmp_path / "inputs", 330)


def candidates(functions: Path, folder: Path, of: Callable[[Material], list[Candidate]]) -> Found:
    subject = Subject(functions, "kinds")
    with Inputs(folder, "kinds", "image") as inputs:
        read = subject.results(inputs, None)
        parts, sample, judge = (
            rounds(read.devices, read.labels),
            sample_inputs(subject, inputs, read),
            Judge(subject, read, (0.95,)),
        )
        return subject, read, parts, of(Material(judge, inputs, parts, sample, 1.0))


def written(subject: Subject, candidate: Candidate, inputs: Path) -> tuple[Subject, np.ndarray, np.ndarray]:
    """Write a candidate; return the function as it is read then, its keys and what is searched by."""
    key = candidate.write(subject.folder / str(subject.version))
    write_key(subject.folder / "function.toml", key, "tried")
    again = Subject(subject.folder.parent, "kinds")
    with Inputs(inputs, "kinds", "image") as opened:
        stream, _, _ = own_stream(again, opened)
    searched = stream.keys if stream.prior is None else stream.prior.many(stream.keys)
    return again, stream.keys, searched


def test_extractors_come_as_they_are_and_with_a_projection(tmp_path: Path, inputs: Path) -> None:
    """Which is written as a file, and read as it was."""
    subject, _, parts, found = candidates(tmp_path / "functions", inputs, extractors)
    names = [each.name for each in found]
    assert names == [name for kind in ("gray", "color", "dct", "hog") for name in (kind, f"{kind}, projected")]
    plain, projected = found[names.index("hog")], found[names.index("hog, projected")]
    assert plain.projected
    assert not projected.projected
    assert projected.key_s > plain.key_s  # the projection takes time as well
    again, keys, searched = written(subject, projected, inputs)
    for part, played in zip(parts, projected.keys, strict=True):
        np.testing.assert_allclose(keys[part.played], played, atol=1e-6)
    assert again.spec.keys[0].extractor == "hog"
    assert not again.spec.keys[0].may_be_projected
    assert len(projected.priors) == len(parts)
    assert all(each is not None for each in projected.priors)
    assert searched.shape == (330, searched.shape[1])
    assert searched.shape[1] < keys.shape[1]


def test_policies_that_search_by_no_projection_get_none(tmp_path: Path, inputs: Path) -> None:
    """A server would not use it."""
    path = tmp_path / "functions" / "kinds" / "function.toml"
    path.write_text(path.read_text() + 'policy = "fixed"\n')
    found = candidates(tmp_path / "functions", inputs, extractors)[3]
    assert [each.name for each in found] == ["gray", "color", "dct", "hog"]


def test_filters_are_written_and_make_the_keys_that_were_played(tmp_path: Path, inputs: Path) -> None:
    """But for the projection, which is fitted on all inputs then."""
    subject, _, parts, (found,) = candidates(
        tmp_path / "functions", inputs, lambda material: filtered(material, lambda _: None)
    )
    assert found.name == NAME
    again, keys, _ = written(subject, found, inputs)
    assert again.spec.keys[0].extractor == "onnx"
    assert len(keys) == 330
    for part, played in zip(parts, found.keys, strict=True):
        alike = keys[part.played] @ keys[part.played].T, played @ played.T
        assert np.corrcoef(alike[0].ravel(), alike[1].ravel())[0, 1] > 0.8
