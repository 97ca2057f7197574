"""The figures of a demonstration, against a run small enough to count by hand."""

from __future__ import annotations

import json

import pytest

from likewise.workloads.sample import Sample
from likewise_client import Answer
from likewise_demo import figures, page
from likewise_demo.phones import Play
from likewise_demo.scores import score
from likewise_demo.table import rows


def answer(outcome, label):
    return Answer(outcome, {"label": label}, b"{}", "application/json")


def sample(truth, held_out=True):
    return Sample(0, b"", "image/png", truth, held_out)


@pytest.fixture
def run():
    stream = [sample("a"), sample("a"), sample("b", False), sample("b"), sample("a")]
    reuse = Play(
        [answer("miss", "a"), answer("hit", "a"), answer("hit", "a"), answer("probe", "b"), answer("coalesced", "a")],
        [0.010, 0.001, 0.001, 0.010, 0.003],
        [0, 1, 2, 3, 4],
        [frozenset(), frozenset("a"), frozenset("a"), frozenset("a"), frozenset("ab")],
    )
    without = Play(
        [answer("miss", "a"), answer("miss", "a"), answer("miss", "b"), answer("miss", "b"), answer("miss", "a")],
        [0.010] * 5,
        [0, 1, 2, 3, 4],
        [frozenset()] * 5,
    )
    return stream, reuse, without


def test_every_figure_is_what_a_person_would_count(run):
    """Five requests: a miss, a hit, a false hit, a probe, one coalesced."""
    found = score("digits", 0.95, 2, *run)
    assert (found.requests, found.hits, found.probes, found.false_hits) == (5, 3, 1, 1)
    assert found.opportunities == 2
    assert found.harvest == 1.0
    assert found.accuracy == pytest.approx(0.8)
    assert found.label_accuracy == 1.0
    assert found.mean_ms == pytest.approx(5.0)
    assert found.baseline_mean_ms == pytest.approx(10.0)
    assert found.speedup == pytest.approx(2.0)
    assert found.inferences_saved == 3
    assert found.sources == {"model": (2, 0), "cache": (3, 1)}


def test_each_variant_is_told_with_its_share_and_its_mistakes(run):
    """Between the cache and the model."""
    stream, reuse, without = run
    reuse.answers[0] = Answer("variant", {"label": "a"}, b"{}", "application/json", variant="head")
    reuse.answers[2] = Answer("variant", {"label": "a"}, b"{}", "application/json", variant="head")
    found = score("digits", 0.95, 2, stream, reuse, without)
    assert found.sources == {"cache": (2, 0), "head": (2, 1), "model": (1, 0)}
    assert found.inferences_saved == 4
    told = [(what, now) for what, now, _ in rows(found) if what.startswith("answered")]
    assert told == [
        ("answered by the cache", "2 (40.0%), 0 wrong"),
        ("answered by the head", "2 (40.0%), 1 wrong"),
        ("answered by the model", "1 (20.0%), 0 wrong"),
    ]


def test_requests_that_failed_count_for_nothing_but_their_number(run):
    """A failed request is neither right nor wrong, and its latency is none."""
    stream, reuse, without = run
    reuse.answers[1], reuse.seconds[1] = None, 0.0
    found = score("digits", 0.95, 2, stream, reuse, without)
    assert found.hits == 2
    assert found.accuracy == pytest.approx(0.75)


def test_plots_page_and_document_are_written(run, tmp_path):
    """Two pictures, one page that holds them, and JSON without the curve."""
    found = score("digits", 0.95, 2, *run)
    pictures = figures.draw(tmp_path, found, run[1], run[2])
    assert all(each.read_bytes().startswith(b"\x89PNG") for each in pictures)
    text = page.write(tmp_path, found, pictures).read_text()
    assert text.count("data:image/png;base64,") == 2
    assert "http" not in text.replace("http-equiv", "")
    assert all(what in text for what, _, _ in rows(found))
    document = json.loads(json.dumps(found.document()))
    assert " ".join(document) == (
        "workload target devices requests opportunities hits probes false_hits harvest accuracy label_accuracy "
        "baseline_label_accuracy mean_ms p50_ms p99_ms baseline_mean_ms baseline_p50_ms baseline_p99_ms speedup "
        "inferences_saved sources"
    )
