"""Who asks what, when and where."""

from __future__ import annotations

from collections import Counter
from itertools import islice, pairwise
from random import Random

import numpy as np
import pytest

from likewise.errors import InvalidValue
from likewise_fleet.demand import FRAME_S, Demand, Town, looks, per_phone
from likewise_fleet.movement import CELL_M, FASTEST, Places, Walk

DEMAND = Demand(10, 1000, ("signs", "speech"), (200, 40), seed=3)


def test_the_same_demand_gives_the_same_looks_and_another_seed_others():
    """All chance comes from the seed."""
    first, again = (list(islice(looks(DEMAND, Town(DEMAND), 4), 50)) for _ in range(2))
    other = Demand(10, 1000, ("signs", "speech"), (200, 40), seed=4)
    assert first == again != list(islice(looks(other, Town(other), 4), 50))


def test_bursts_look_at_one_thing_and_pauses_lie_between():
    """3 to 5 looks, a fifth of a second apart."""
    found = list(islice(looks(DEMAND, Town(DEMAND), 0), 400))
    starts = [at for at, look in enumerate(found) if look.first]
    assert set(np.diff(starts)) <= {3, 4, 5}
    for begin, end in pairwise(starts):
        assert len({(look.workload, look.thing) for look in found[begin:end]}) == 1
        assert all(look.think_s == FRAME_S for look in found[begin + 1 : end])


def test_things_are_drawn_by_zipfs_law():
    """The first of 25 comes as often as Zipf's law with exponent 1 has it, and twice as often as the second."""
    town, rng = Town(DEMAND), np.random.default_rng(1)
    counts = Counter(town.draw(0, 0, float(rng.random())) for _ in range(20_000)).most_common()
    assert counts[0][1] / 20_000 == pytest.approx(1 / sum(1 / n for n in range(1, 26)), rel=0.05)
    assert counts[0][1] / counts[1][1] == pytest.approx(2, rel=0.1)
    assert town.draw(0, 0, 0.9999999999999999) < 200


def test_places_have_their_own_things_while_there_are_enough():
    """Two places share no sign; of 40 words they must."""
    town = Town(DEMAND)
    drawn = [{town.draw(place, 0, u / 1000) for u in range(1000)} for place in range(2)]
    assert len(drawn[0]) == len(drawn[1]) == 25
    assert not drawn[0] & drawn[1]
    assert max(town.draw(place, 1, 0.5) for place in range(2)) < 40


def test_a_walk_stays_on_the_square_and_is_no_faster_than_on_foot():
    """Random waypoint, looked at every second."""
    walk = Walk(1000.0, Random(2))
    way = np.array([walk.at(float(second)) for second in range(4000)])
    assert way.min() >= 0
    assert way.max() <= 1000
    steps = np.linalg.norm(np.diff(way, axis=0), axis=1)
    assert steps.max() <= FASTEST + 1e-6
    assert np.linalg.norm(way.max(axis=0) - way.min(axis=0)) > 500


@pytest.mark.parametrize("count", [1, 2, 5, 400])
def test_the_nearest_place_is_found(count):
    """Nearly always of all, and anywhere on the square."""
    rng = np.random.default_rng(5)
    places = Places(count, np.random.default_rng(4))
    where = np.random.default_rng(4).uniform(0, CELL_M, (count, 2))
    columns = int(np.ceil(np.sqrt(count)))
    where += CELL_M * np.stack([np.arange(count) % columns, np.arange(count) // columns], axis=1)
    points = rng.uniform(0, places.side_m, (500, 2))
    truth = [int(np.linalg.norm(where - point, axis=1).argmin()) for point in points]
    assert np.mean([places.nearest(tuple(point)) == best for point, best in zip(points, truth, strict=True)]) > 0.97


def test_requests_are_shared_out_evenly():
    """Phones differ by one at most."""
    assert per_phone(Demand(3, 10, ("digits",), (5,))) == [4, 3, 3]


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"phones": 0}, id="phones"),
        pytest.param({"requests": 0}, id="requests"),
        pytest.param({"zipf": -1.0}, id="zipf"),
        pytest.param({"burst": (3, 2)}, id="burst"),
        pytest.param({"things": (200,)}, id="things"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(wrong):
    """At once, by name."""
    given = {"phones": 2, "requests": 10, "workloads": ("signs", "speech"), "things": (200, 40)}
    with pytest.raises(InvalidValue):
        Demand(**{**given, **wrong})
