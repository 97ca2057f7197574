"""What came of the requests of a capture when they were recorded."""

from __future__ import annotations

from likewise.evaluation.read import Read, as_recorded
from likewise.evaluation.streams import Stream
from likewise.requests import Outcome

SERVED = [
    # label of the full model, label served, outcome
    (0, 0, Outcome.MISS),
    (1, 1, Outcome.VARIANT),
    (2, 1, Outcome.VARIANT),
    (0, 0, Outcome.HIT),
    (1, 1, Outcome.EXACT),
    (1, 0, Outcome.HIT),
    (0, 0, Outcome.PROBE),
    (0, 0, Outcome.COALESCED),
]


def test_what_variants_answered_counts_for_accuracy_and_is_no_hit_of_the_cache(stream: Stream) -> None:
    """As a demonstration counts: three right hits of five requests whose result was there, and two of eight wrong."""
    read = Read(
        labels=[label for label, _, _ in SERVED],
        served=[served for _, served, _ in SERVED],
        outcomes=[outcome for _, _, outcome in SERVED],
        times=[float(at) for at in range(len(SERVED))],
        took_s=[0.5] * len(SERVED),
    )
    run = as_recorded(stream, read, 0.95, 4)
    assert run is not None
    assert (run.opportunities, run.harvest, run.accuracy) == (5, 3 / 5, 6 / 8)
    assert (run.first_harvest, run.probes, run.exact, run.ladder) == (1.0, 1, 1, "all")
    assert run.sources == {"cache": 4 / 8, "variants": 2 / 8, "model": 2 / 8}


def test_what_nothing_was_reused_of_has_no_row(stream: Stream) -> None:
    """Nothing would be known of accuracy."""
    read = Read(labels=[0], served=[0], outcomes=[Outcome.MISS], times=[0.0], took_s=[0.5])
    assert as_recorded(stream, read, 0.95, 4) is None
