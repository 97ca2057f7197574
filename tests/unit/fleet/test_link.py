"""What a link does to bytes, without sockets."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import numpy as np
import pytest

from likewise.errors import InvalidValue
from likewise_fleet.link import Direction, Spells
from likewise_fleet.networks import NETWORKS, network, phone

STEADY = replace(NETWORKS["good-wifi"], base_s=0.01, jitter_median_s=1e-9, jitter_sigma=0.0, loss=0.0)


def direction(profile, bps=8e6, rng=None):
    return Direction(profile, bps, rng or Random(1), lambda now: now)


def test_bytes_leave_at_the_rate_and_arrive_after_the_delay():
    """A megabyte at 8 Mbit/s takes a second, and what is sent behind it waits for its turn."""
    link = direction(STEADY)
    assert link.arrival(0.0, 1_000_000) == pytest.approx(1.01)
    assert link.arrival(0.0, 500_000) == pytest.approx(1.51)
    assert link.arrival(10.0, 1000) == pytest.approx(10.011)


@pytest.mark.parametrize("name", NETWORKS)
def test_bytes_arrive_in_the_order_of_sending(name):
    """Whatever jitter and loss do."""
    profile, rng = NETWORKS[name], Random(2)
    link = direction(profile, profile.up_bps, rng)
    now, last = 0.0, 0.0
    for _ in range(2000):
        now += rng.expovariate(100)
        arrival = link.arrival(now, rng.randrange(1, 5000))
        assert arrival >= max(last, now + profile.base_s)
        last = arrival


def test_a_lost_segment_comes_a_retransmission_later():
    """The share of late ones is the share lost, of as many segments as the bytes take."""
    link = direction(replace(STEADY, loss=0.1), 8e9)
    late = [link.arrival(float(at), 3 * 1448) - at > 0.2 for at in range(4000)]
    assert np.mean(late) == pytest.approx(1 - 0.9**3, abs=0.03)


@pytest.mark.parametrize(
    ("name", "median_ms", "ninetieth_ms"),
    [pytest.param("good-wifi", 3, 20, id="good"), pytest.param("busy-wifi", 20, 100, id="busy")],
)
def test_round_trips_are_as_the_sources_have_them(name, median_ms, ninetieth_ms):
    """Median and 90th percentile of small messages there and back, to a third."""
    profile, rng = NETWORKS[name], Random(3)
    up, down = direction(profile, profile.up_bps, rng), direction(profile, profile.down_bps, rng)
    trips = [1000 * (down.arrival(up.arrival(at * 10.0, 64), 64) - at * 10.0) for at in range(8000)]
    assert np.percentile(trips, 50) == pytest.approx(median_ms, rel=0.35)
    assert np.percentile(trips, 90) == pytest.approx(ninetieth_ms, rel=0.35)


def test_spells_without_network_take_their_share_and_end():
    """The share of time without network is that of the means, and bytes sent meanwhile arrive when it ends."""
    profile = replace(NETWORKS["offline-spells"], online_s=8.0, offline_s=2.0)
    spells = Spells(profile, Random(4), 0.0)
    ends = [spells.until(at / 10) for at in range(200_000)]
    offline = [end > at / 10 for at, end in enumerate(ends)]
    assert np.mean(offline) == pytest.approx(0.2, abs=0.03)
    again = Spells(profile, Random(4), 0.0)
    link = Direction(STEADY, 8e9, Random(1), again.until)
    at = offline.index(True)
    assert link.arrival(at / 10, 10) >= ends[at]


def test_a_network_without_spells_is_always_there():
    """No spell ever begins."""
    assert Spells(NETWORKS["lte"], Random(5), 0.0).until(1e9) == 1e9


def test_unknown_profiles_are_refused_by_name():
    """The message has those that there are."""
    with pytest.raises(InvalidValue, match="busy-wifi"):
        network("wimax")
    with pytest.raises(InvalidValue, match="entry"):
        phone("fast")
    assert phone("entry", 3.0).factor == 3.0
    assert phone("entry", None, 2.0).watts == 2.0
