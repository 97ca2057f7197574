"""Simulated fleets, by hand and against what they were calibrated on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from likewise.errors import InvalidValue
from likewise_fleet.capacity import resources
from likewise_fleet.demand import Demand
from likewise_fleet.networks import NETWORKS, PHONES
from likewise_fleet.records import CHECKED, From
from likewise_fleet.simulating import load_run
from likewise_fleet.simulation import Chances, Simulation, World, grown

DEMAND = Demand(20, 2000, ("signs",), (400,))
STEADY = replace(
    NETWORKS["good-wifi"], base_s=0.01, jitter_median_s=1e-9, jitter_sigma=0.0, loss=0.0, up_bps=1e12, down_bps=1e12
)
EDGE, HIT, OWN = From.EDGE_MODEL.value, From.EDGE_CACHE.value, From.DEVICE_MODEL.value


def source(rest_s, busy_s=0.0, size=1000.0):
    return {"rest_s": [rest_s] * 100, "busy_s": busy_s, "up_bytes": size, "down_bytes": size / 10}


CALIBRATION = {
    "node": {"miss_s": 0.004, "hit_s": 0.001, "stored_share": 0.5, "entry_bytes": 1000},
    "redis": {"add_s": 3e-6, "read_s": 1e-6, "record_bytes": 700.0, "measured": 1.0},
    "ways": {
        "edge_cache": {
            "table": {f"{own},{all_}": {HIT if all_ else EDGE: 100} for own in range(7) for all_ in range(own, 7)},
            "wrong": {HIT: 0.1, EDGE: 0.0},
            "by_source": {EDGE: source(0.006), HIT: source(0.002)},
        },
        "device": {
            "table": {"0,0": {OWN: 10}},
            "wrong": {OWN: 0.0},
            "by_source": {OWN: source(0.1, 0.1, 0.0)},
        },
    },
}


def play(way="edge_cache", demand=DEMAND, **options):
    return Simulation(CALIBRATION, way, demand, World(STEADY, PHONES["entry"], **options)).run()


def test_latency_is_the_links_and_what_the_real_run_took():
    """20 ms there and back, and 2 or 6 at the node."""
    found = play()
    hits, misses = found.sources[HIT], found.sources[EDGE]
    assert hits + misses == 2000
    assert sorted({round(1000 * each) for each in found.latencies_s}) == [22, 26]
    assert found.document()["mean_ms"] == pytest.approx((22 * hits + 26 * misses) / 2000, rel=0.02)
    assert found.document()["accuracy"] == pytest.approx(1 - 0.1 * hits / 2000)
    assert found.up_bytes == 2_000_000
    assert found.inserts == [pytest.approx(misses / 2)]
    assert found.busy_s[0] == pytest.approx(0.004 * misses + 0.001 * hits)


def test_the_device_alone_takes_its_processors_time_and_energy():
    """No bytes, no radio."""
    found = play("device").document()
    assert found["mean_ms"] == pytest.approx(100)
    assert found["joules"] == found["compute_joules"] == pytest.approx(2000 * 0.1 * PHONES["entry"].watts)
    assert found["bytes"] == 0
    assert found["inferences"] == 2000


def test_what_a_device_has_checked_costs_the_edge_and_the_radio_and_nobody_waits():
    """Every second answer of the device is checked: the node computes for each, and the app waits 2 ms."""
    near = From.DEVICE_CACHE.value
    way = {
        "table": {f"{own},{all_}": {near: 100, CHECKED: 100} for own in range(7) for all_ in range(own, 7)},
        "wrong": {near: 0.0, CHECKED: 0.0},
        "by_source": {near: source(0.002, 0.001, 0.0), CHECKED: source(0.002, 0.001), EDGE: source(0.006)},
    }
    world = World(STEADY, PHONES["entry"])
    played = Simulation({**CALIBRATION, "ways": {"both": way}}, "both", DEMAND, world).run()
    found, checks = played.document(), played.sources[CHECKED]
    assert 900 < checks < 1100
    assert (found["device_hits"], found["inferences"], found["bytes"]) == (2000, checks, 1100 * checks)
    assert found["mean_ms"] == pytest.approx(2)
    assert played.busy_s[0] == pytest.approx(0.004 * checks)
    assert found["radio_joules"] > checks * 1000 * STEADY.radio.up_j_per_byte


def test_the_same_seed_gives_the_same_figures():
    """Nothing depends on a clock."""
    assert play().document() == play().document()
    assert play().document() != play(demand=replace(DEMAND, seed=2)).document()


def test_requests_wait_for_a_core_where_there_are_too_few():
    """Three hundred phones that need more than one core wait; on 20 cores they do not."""
    crowd = Demand(300, 6000, ("signs",), (2000,), pause_s=0.1, places=5)
    short, ample = play(demand=crowd, cores=1), play(demand=crowd, cores=20)
    assert short.waits_s > 100 * ample.waits_s
    assert short.document()["p99_ms"] > ample.document()["p99_ms"]


def test_groups_of_nodes_share_less():
    """The same phones on more partitions compute more."""
    demand = Demand(60, 3000, ("speech",), (40,), places=6)
    assert play(demand=demand, nodes=6, partitions=6).sources[EDGE] > play(demand=demand, nodes=6).sources[EDGE]


def test_cells_with_few_observations_lean_on_those_of_more():
    """A cell seen once is not certain; one that was never seen is as its row."""
    chances = Chances({"table": {"0,0": {EDGE: 1}, "0,3": {HIT: 99, EDGE: 1}}})
    drawn = [chances.draw(0, 0, at / 100) for at in range(100)]
    assert 20 < drawn.count(HIT) < 80
    assert [chances.draw(0, 5, at / 100) for at in range(100)].count(HIT) == pytest.approx(98, abs=2)
    assert chances.draw(6, 6, 0.9999999999999999) in (HIT, EDGE)


def test_what_ends_first_grows_with_the_fleet_and_says_what_to_do():
    """Ten times the phones on as many nodes use ten times as much of each; more groups relieve Redis."""
    few, many = Demand(50, 2000, ("signs",), (400,)), Demand(500, 20_000, ("signs",), (400,))
    small, large = (
        {each.name.partition(":")[0]: each for each in resources(CALIBRATION, demand, world, found)}
        for demand in (few, many)
        for world in [World(STEADY, PHONES["entry"], 10)]
        for found in [play(demand=demand, nodes=10)]
    )
    assert set(small) == {"Redis", "node", "place"}
    used = [each.used for each in resources(CALIBRATION, many, World(STEADY, PHONES["entry"], 10), play(nodes=10))]
    assert used == sorted(used, reverse=True)
    assert large["node"].used > 3 * small["node"].used
    assert large["node"].ends_at_phones > 0
    assert all(each.remedy for each in large.values())
    leased = resources(CALIBRATION, many, World(STEADY, PHONES["entry"], 10), play(nodes=10), leases=True)
    assert len(leased) == len(used) + 1
    assert next(each for each in leased if "leases" in each.name).used == pytest.approx(50 * 2.5 / 50)


def test_a_larger_fleet_has_more_places_and_things():
    """As many phones to a place, as many things to it; words are shared and do not grow."""
    base = {
        "phones": 20, "requests": 4000, "workloads": ["signs", "speech"], "things": [374, 40], "seed": 1, "places": 0,
        "things_per_place": 25, "zipf": 1.0, "pause_s": 4.0, "burst": [3, 5],
    }  # fmt: skip
    made = grown(base, 2000, 40_000, 7)
    assert (made.phones, made.place_count, made.things, made.seed) == (2000, 400, (10_000, 40), 7)
    assert grown(base, 20, 4000, 1).things == (374, 40)
    with pytest.raises(InvalidValue, match="--trace"):
        grown({"trace": "t.zip"}, 20, 4000, 1)


def test_what_cannot_be_simulated_is_refused(tmp_path):
    """A way that was not played, more groups than nodes, a file that is no run."""
    with pytest.raises(InvalidValue, match="both"):
        play("both")
    with pytest.raises(InvalidValue, match="partitions"):
        play(nodes=2, partitions=3)
    path = tmp_path / "run.json"
    for text in ("", "{}", '{"calibration": {"ways": {}}, "ways": {}, "phones": 1}', "[]"):
        path.write_text(text)
        with pytest.raises(InvalidValue, match="--json"):
            load_run(path)
