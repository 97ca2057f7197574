"""Filters found in inputs make keys without training, of pictures and of sounds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from likewise.inference.graphs import peeker
from likewise.inference.model import OnnxModel
from likewise.tuning import filter_graph
from likewise.tuning.filters import COUNT, SIZE, found_in
from likewise.tuning.fits import projections
from likewise.tuning.play import hindsight
from likewise.types import Tensor

SHAPES = [("image", (3, 32, 32), 0), ("image", (1, 32, 32), 0), ("audio", (8000,), 8000), ("audio", (8000,), 16_000)]

PATCHES = 2000


def inputs(shape: tuple[int, ...], count: int = 40) -> Tensor:
    return np.random.default_rng(0).random((count, *shape)).astype(np.float32)


@pytest.mark.parametrize(("kind", "shape", "rate"), SHAPES)
def test_the_key_is_what_the_numbers_are_projected_to(
    tmp_path: Path, kind: str, shape: tuple[int, ...], rate: int
) -> None:
    """One by one as in a batch, and as a server runs it."""
    given = inputs(shape)
    front = filter_graph.front(kind, shape, rate)
    seen = peeker(filter_graph.pictures(front))(given)[filter_graph.PICTURE]
    assert seen.shape[1:] == tuple(front.shape)
    filters = found_in(seen, PATCHES)
    assert filters.weights.shape == (COUNT, seen.shape[1], SIZE, SIZE)
    numbers = peeker(filter_graph.features(front, filters))(given)[filter_graph.NUMBERS]
    assert numbers.shape == (len(given), COUNT * filter_graph.GRID**2)
    mean, matrix = numbers.mean(0), np.random.default_rng(1).normal(size=(numbers.shape[1], 5)).astype(np.float32)
    (tmp_path / "key.onnx").write_bytes(filter_graph.key(front, filters, mean, matrix))
    run = OnnxModel(tmp_path / "key.onnx").run_one()
    np.testing.assert_allclose(run(given[3]), ((numbers - mean) @ matrix)[3], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("kind", "shape", "rate"), SHAPES)
def test_inputs_without_anything_in_them_have_a_key_as_well(kind: str, shape: tuple[int, ...], rate: int) -> None:
    """Black, silent or flat: its numbers are finite."""
    flat = np.stack([np.zeros(shape, np.float32), np.ones(shape, np.float32)])
    front = filter_graph.front(kind, shape, rate)
    filters = found_in(peeker(filter_graph.pictures(front))(flat)[filter_graph.PICTURE], PATCHES)
    numbers = peeker(filter_graph.features(front, filters))(flat)[filter_graph.NUMBERS]
    assert np.isfinite(numbers).all()


def test_small_pictures_get_smaller_filters() -> None:
    """Those of a short sound are narrow."""
    assert found_in(inputs((1, 40, 3)), PATCHES).weights.shape == (COUNT, 1, 3, 3)


def test_a_sound_is_told_from_another_whatever_its_loudness() -> None:
    """Its pitch is found again, also when it is a tenth as loud."""
    rng = np.random.default_rng(0)
    time, labels = np.arange(8000) / 8000, rng.integers(5, size=200)
    pitches = 300 * 1.4 ** labels[:, None]
    waves = np.sin(2 * np.pi * pitches * time + rng.uniform(0, 6, (200, 1))) + 0.3 * rng.normal(size=(200, 8000))
    sounds = (10 ** rng.uniform(-1, 0, (200, 1)) * waves).astype(np.float32)
    front = filter_graph.front("audio", (8000,), 8000)
    filters = found_in(peeker(filter_graph.pictures(front))(sounds[:100])[filter_graph.PICTURE], PATCHES)
    numbers = peeker(filter_graph.features(front, filters))(sounds)[filter_graph.NUMBERS]
    key = projections(numbers[:120], labels[:120])["discriminants, 0.1"]
    assert hindsight(key.many(numbers[120:]), labels[120:], [0.05]) > 0.9
