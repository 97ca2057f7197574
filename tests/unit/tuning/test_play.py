"""Candidates are compared by what they harvest and what a request takes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from likewise.evaluation.replay import replay
from likewise.evaluation.streams import Stream
from likewise.tuning.play import Played, choose, coins_for, hindsight, play


def stream(noise: float) -> Stream:
    rng = np.random.default_rng(3)
    labels = rng.integers(12, size=800)
    keys = rng.normal(size=(12, 16))[labels] + noise * rng.normal(size=(800, 16))
    keys = (keys / np.linalg.norm(keys, axis=1, keepdims=True)).astype(np.float32)
    return Stream("clusters", 0, keys, labels.tolist(), [0] * 800, 10)


def played(name: str, harvest: float, reused: float, key_s: float) -> Played:
    return Played(name, 0.95, harvest, harvest, 0.01, 0.99, reused, key_s, 1.0)


def test_the_cheapest_of_the_good_is_chosen() -> None:
    """Time counts the key, and the model where nothing is reused; a much lower harvest does not count."""
    dear, cheap, poor = played("dear", 0.95, 0.9, 0.4), played("cheap", 0.93, 0.88, 0.1), played("poor", 0.5, 0.5, 0.0)
    assert dear.request_s == pytest.approx(0.5)
    assert choose([dear, cheap, poor], 0.03) is cheap
    assert choose([dear, cheap, poor], 0.0) is dear


def test_stricter_targets_tell_keys_apart_that_are_alike_at_the_first() -> None:
    """An easy stream is answered by any key at 95 %; the better one holds on inputs that are harder."""
    rough, fine = played("rough", 0.93, 0.9, 0.1), played("fine", 0.932, 0.9, 0.2)
    stricter = [replace(rough, target=0.99, harvest=0.6, later=0.6), replace(fine, target=0.99, harvest=0.8, later=0.8)]
    assert choose([rough, fine], 0.01) is rough
    assert choose([rough, stricter[0], fine, stricter[1]], 0.01) is fine


def test_the_first_target_counts_as_much_as_all_others() -> None:
    """What is gained at two stricter ones does not make up for twice as much lost at the one that is asked for."""
    rows = []
    for name, harvests in (("first", (0.90, 0.70, 0.60)), ("others", (0.83, 0.75, 0.66))):
        key = played(name, harvests[0], 0.9, 0.1)
        rows += [replace(key, target=target, harvest=harvest, later=harvest) for target, harvest in enumerate(harvests)]
    assert choose(rows, 0.0).name == "first"
    assert choose(rows[::3], 0.0).name == "first"


def test_a_key_that_goes_on_to_harvest_more_is_taken() -> None:
    """Streams of one's own are longer than those of the comparison."""
    quick, slow = (
        replace(played("quick", 0.80, 0.8, 0.1), later=0.82),
        replace(played("slow", 0.78, 0.8, 0.1), later=0.9),
    )
    assert choose([quick, slow], 0.0) is slow


def test_short_streams_are_played_more_often() -> None:
    """Long ones three times, none without end."""
    assert [coins_for(requests) for requests in (0, 1, 400, 1000, 100_000)] == [20, 20, 15, 6, 3]


def test_the_interval_holds_the_harvest_of_other_coins() -> None:
    """It is of the mean over the given ones, so that of many others lies in it, nearly always."""
    (few,) = play("few", [stream(0.4)], [0.95], 4, "calibrated+ledger", (0.0, 1.0))
    many = np.mean(
        [replay(replace(stream(0.4), seed=seed), "calibrated+ledger", 0.95).harvest for seed in range(4, 12)]
    )
    assert 0 < few.error < 0.2
    assert abs(few.harvest - many) <= few.error


def test_streams_of_several_rounds_count_together() -> None:
    """One that brings little and one that brings much come to what is between, and known the better."""
    easy, hard = stream(0.2), stream(1.2)
    (one,), (other,), (both,) = (
        play("", streams, [0.95], 2, "calibrated+ledger", (0.0, 1.0)) for streams in ([easy], [hard], [easy, hard])
    )
    assert other.harvest < both.harvest < one.harvest
    assert one.harvest < one.later  # there is more in the cache by then
    assert both.reused == pytest.approx((one.reused + other.reused) / 2)
    assert both.accuracy == pytest.approx((one.accuracy + other.accuracy) / 2)


def test_hindsight_ranks_keys_as_playing_them_does() -> None:
    """Clear ones before noisy ones, in between 0 and 1; only what came before answers."""
    clear, noisy = stream(0.2), stream(1.2)
    shares = [hindsight(each.keys, np.array(each.labels), [0.05]) for each in (clear, noisy)]
    assert 0.0 <= shares[1] < shares[0] <= 1.0
    assert hindsight(clear.keys[:10], np.arange(10), [0.05]) == 0.0
