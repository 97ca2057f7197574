"""Figures and floors of a run."""

from __future__ import annotations

from dataclasses import replace

import pytest

from likewise.errors import InvalidValue
from likewise_fleet.networks import WIFI, Phone
from likewise_fleet.records import Answered, Check, From
from likewise_fleet.requirements import missed, parse
from likewise_fleet.scores import figures
from likewise_fleet.trace import Request, Trace

PHONE = Phone("test", 10.0, 2.0, "")


def request(phone):
    return Request(phone, 1.0, 0, 0, 0, True, b"x", "image/png", "a")


def test_figures_of_all_phones_and_of_each():
    """Accuracy against the model, latency, energy, bytes, and where answers came from."""
    trace = Trace(2, ("digits",), [request(0), request(0), request(1)])
    answers = [
        Answered(1, "b", From.EDGE_CACHE, False, 0.030, 100, 10, 0.0),
        Answered(0, "a", From.DEVICE_MODEL, True, 0.050, 0, 0, 0.050),
        Answered(2, "", From.NOWHERE, False, 0.100, 50, 0, 0.0, "TimedOut: x"),
    ]
    found, single = figures(trace, answers, ["a", "a", "a"], WIFI, PHONE)
    assert found.requests == 3
    assert (found.failed, found.inferences, found.edge_hits, found.device_hits, found.probes) == (1, 1, 1, 0, 1)
    assert found.accuracy == pytest.approx(1 / 3)
    assert found.mean_ms == pytest.approx(60)
    assert found.bytes == 160
    assert [each.requests for each in single] == [2, 1]
    assert single[0].compute_joules == pytest.approx(0.1)
    assert found.joules == pytest.approx(sum(each.joules for each in single))
    assert single[1].accuracy == 0.0


def test_a_check_costs_bytes_energy_and_an_inference_but_no_time():
    """It goes on while the phone thinks: what is left of that is idle."""
    trace = Trace(1, ("digits",), [request(0), request(0)])
    near = Answered(0, "a", From.DEVICE_CACHE, False, 0.002, 0, 0, 0.001)
    checked = replace(near, check=Check(0.4, 1000, 100, True))
    last = Answered(1, "a", From.EDGE_CACHE, False, 0.030, 100, 10, 0.0)
    (without, _), (found, _) = (figures(trace, [one, last], ["a", "a"], WIFI, PHONE) for one in (near, checked))
    assert (found.mean_ms, found.compute_joules) == (without.mean_ms, without.compute_joules)
    assert (found.inferences, found.probes, found.device_hits) == (1, 1, 1)
    assert found.bytes == without.bytes + 1100
    transfer = 0.4 * WIFI.base_w + 1000 * WIFI.up_j_per_byte + 100 * WIFI.down_j_per_byte
    awake = WIFI.promotion_w * WIFI.promotion_s + WIFI.tail_w * WIFI.tail_s
    assert found.radio_joules - without.radio_joules == pytest.approx(transfer + awake)


def test_floors_are_read_and_judged():
    """What is not known falls short as well."""
    floors = parse("accuracy=0.95,speedup=3")
    assert floors == {"accuracy": 0.95, "speedup": 3.0}
    assert missed({"accuracy": 0.95, "speedup": 3.5}, floors) == []
    assert len(missed({"accuracy": 0.94}, floors)) == 2
    assert parse("") == {}
    for wrong in ("accuracy", "accuracy=high", "beauty=1", "speedup=-1", "speedup=nan"):
        with pytest.raises(InvalidValue, match="NAME=FLOOR"):
            parse(wrong)
