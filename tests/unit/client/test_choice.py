"""Where to compute, learned against a simulated truth."""

from __future__ import annotations

import random

import pytest

from likewise_client._device.choice import MOST_TRIED, TRIED, Choice


def play(choice, truth, turns, price=0.0):
    """Let a choice go on for some turns; return how often it computed on the device, and the mean cost."""
    device = cost = 0.0
    for _ in range(turns):
        way = choice.way(price)
        seconds = truth(way)
        (choice.edge if way == "edge" else choice.device).add(seconds)
        device += way == "device"
        cost += seconds
    return device / turns, cost / turns


@pytest.mark.parametrize(("edge_s", "device_s"), [(0.01, 0.1), (0.1, 0.01), (0.02, 0.04), (2.0, 0.001), (0.05, 0.045)])
@pytest.mark.parametrize("seed", range(4))
def test_the_cheaper_way_is_found_and_tries_cost_little(edge_s, device_s, seed):
    noise = random.Random(seed + 100)
    choice = Choice(random.Random(seed))

    def truth(way):
        return (edge_s if way == "edge" else device_s) * noise.lognormvariate(0.0, 0.3)

    play(choice, truth, 50)
    share, mean = play(choice, truth, 4000)
    best = min(edge_s, device_s) * 1.046  # the mean of such noise
    assert mean <= best * (1 + 2 * TRIED) + 2 * max(edge_s, device_s) / 4000  # a rare try may fall into these
    if max(edge_s, device_s) > 1.5 * min(edge_s, device_s):
        assert (share if edge_s < device_s else 1 - share) <= MOST_TRIED * 1.3


@pytest.mark.parametrize("seed", range(4))
def test_a_network_that_gets_worse_and_better_is_followed(seed):
    choice = Choice(random.Random(seed))
    assert play(choice, lambda way: 0.01 if way == "edge" else 0.05, 1000)[0] < 0.1
    play(choice, lambda way: 1.0 if way == "edge" else 0.05, 50)
    assert play(choice, lambda way: 1.0 if way == "edge" else 0.05, 1000)[0] > 0.9
    play(choice, lambda way: 0.01 if way == "edge" else 0.05, 5000)
    assert play(choice, lambda way: 0.01 if way == "edge" else 0.05, 1000)[0] < 0.2


def test_a_low_battery_makes_what_takes_power_dearer():
    def truth(way):
        return 0.05 if way == "edge" else 0.04

    full, low = (Choice(random.Random(1), device_w=3.0, radio_w=1.0) for _ in range(2))
    assert play(full, truth, 2000, 0.0)[0] > 0.5
    assert play(low, truth, 2000, 1.0)[0] < 0.2  # 0.05 × 2 against 0.04 × 4


def test_both_ways_are_tried_first():
    choice = Choice(random.Random(0))
    assert choice.way() == "edge"
    choice.edge.add(0.001)
    assert choice.way() == "device"
