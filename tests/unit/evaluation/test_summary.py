"""Means and confidence intervals over seeds."""

from __future__ import annotations

import io
import math
from dataclasses import replace

import pytest
from rich.console import Console

from likewise.evaluation.command import print_table
from likewise.evaluation.console import WIDTH
from likewise.evaluation.plot import draw
from likewise.evaluation.replay import Run, replay
from likewise.evaluation.streams import Stream
from likewise.evaluation.summary import half_width, summarize


def test_half_width_is_students() -> None:
    """Four values 1 to 4: s = 1.291, t = 3.182."""
    assert half_width([1.0, 2.0, 3.0, 4.0]) == pytest.approx(3.182 * 1.29099 / 2, rel=1e-4)
    assert math.isnan(half_width([1.0]))
    assert half_width([0.0, 1.0] * 30) == pytest.approx(1.96 * 0.50422 / math.sqrt(60), rel=1e-3)


def test_runs_below_target_are_counted(stream: Stream) -> None:
    """A run that ends at the target is not below it."""
    run: Run = replay(stream, "fixed:threshold=0", 0.95)
    runs = [replace(run, seed=seed, accuracy=accuracy) for seed, accuracy in enumerate((0.94, 0.95, 0.99))]
    (summary,) = summarize(runs)
    assert (summary.seeds, summary.below, summary.lowest_accuracy) == (3, 1, 0.94)


def test_the_table_shows_every_workload_and_their_mean(stream: Stream) -> None:
    """With the interval, and one line for all."""
    run = replay(stream, "fixed:threshold=0", 0.95)
    runs = [replace(run, workload=name, seed=seed, harvest=0.5) for name in ("one", "two") for seed in (0, 1)]
    out = io.StringIO()
    print_table(summarize(runs), Console(file=out, width=WIDTH))
    text = out.getvalue()
    assert "one" in text
    assert "two" in text
    assert "all" in text
    assert "0.500 ± 0.000" in text
    assert "0/4" in text


def test_a_plot_of_several_ladders_has_a_row_more(stream: Stream) -> None:
    """What each computes, by target."""
    sizes = []
    for ladders in (["off"], ["off", "all"]):
        run = replay(stream, "fixed:threshold=0", 0.95)
        picture = io.BytesIO()
        draw([replace(run, ladder=ladder) for ladder in ladders], picture)
        content = picture.getvalue()
        assert content.startswith(b"\x89PNG")
        sizes.append(int.from_bytes(content[20:24], "big"))
    assert sizes[1] == pytest.approx(1.5 * sizes[0], rel=0.01)
