"""Costs fitted to measured layers, profiles that keep them, and estimates made from them."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest

from likewise.errors import InvalidValue
from likewise.estimation.cost import Costs, fit
from likewise.estimation.description import Description, Layer, Value
from likewise.estimation.estimate import priced
from likewise.estimation.features import TERMS, Features, coldness, features
from likewise.estimation.profiles import device, devices, parsed, read_profile


def _feature(work: float, shape: float) -> Features:
    return Features("conv.direct", "conv", (1.0, work, *[0.0] * (TERMS - 2)), (shape,))


def test_rates_are_found_again() -> None:
    samples = [(_feature(work, 0.0), 3.0 + 0.01 * work) for work in (10, 100, 1000, 10_000, 100_000)]
    costs = fit(samples)
    for features_, us in samples:
        assert costs.microseconds(features_) == pytest.approx(us, rel=0.02)
    assert costs.microseconds(_feature(30_000, 0.0)) == pytest.approx(303, rel=0.02)


def test_what_rates_miss_is_interpolated_between_points() -> None:
    """Times that depend on the shape beside the work: near a point they are the point's, in between in between."""
    samples = [(_feature(1000.0, at), 10.0 * 2 ** (at / 8)) for at in range(0, 17, 2)]
    costs = fit(samples)
    for at in range(1, 16):
        assert costs.microseconds(_feature(1000.0, at)) == pytest.approx(10.0 * 2 ** (at / 8), rel=0.1)


def test_rates_are_never_below_zero() -> None:
    rng = np.random.default_rng(1)
    samples = [
        (Features("Add", "numbers", tuple(rng.random(TERMS)), (float(at % 5),)), float(rng.random() + 0.1))
        for at in range(40)
    ]
    for kind in (*fit(samples).kinds.values(), *fit(samples).groups.values()):
        assert min(kind.rates) >= 0


def test_an_unknown_kind_takes_its_group_and_that_the_rest() -> None:
    costs = fit([(replace(_feature(work, 0.0), group=group), scale * work) for group, scale in
                 (("conv", 1.0), ("numbers", 5.0)) for work in (10, 100, 1000)])  # fmt: skip
    assert costs.microseconds(replace(_feature(100, 0.0), kind="conv.new")) == pytest.approx(100, rel=0.01)
    other = replace(_feature(100, 0.0), kind="New", group="new")
    assert costs.microseconds(other) == pytest.approx(500, rel=0.01)


def test_a_document_says_it_all() -> None:
    samples = [(_feature(work, float(at)), 5.0 + work) for at, work in enumerate((10, 100, 1000, 10_000))]
    costs = fit([*samples, *((replace(each, kind="Add", group="numbers"), us) for each, us in samples)])
    again = Costs.read(orjson.loads(orjson.dumps(costs.document())))
    for each, _ in samples:
        assert again.microseconds(each) == pytest.approx(costs.microseconds(each), rel=0.01)


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2}, {"costs": {}}, {"costs": {"kinds": {}, "groups": {}}}, {"run_us": -1}, {"run_us": "much"},
        {"costs": {"kinds": {}, "groups": {"numbers": {"rates": [1, 2]}}}},
        {"costs": {"kinds": {}, "groups": {"numbers": {"rates": [-1.0] * TERMS}}}},
        {"costs": {"kinds": {}, "groups": {"numbers": {"rates": [1.0] * TERMS, "points": [[1]], "off": []}}}},
        {"memory": None}, {"threads": "x"},
    ],
)  # fmt: skip
def test_what_is_no_profile_is_refused(change: dict[str, object]) -> None:
    whole = device("raspberry-pi-4").document()
    assert parsed(orjson.dumps(whole), "p").estimated
    with pytest.raises(InvalidValue, match="p: is no profile"):
        parsed(orjson.dumps({**whole, **change}), "p")


def test_a_text_that_is_no_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text("{")
    with pytest.raises(InvalidValue, match="is no profile"):
        read_profile(tmp_path / "p.json")
    with pytest.raises(InvalidValue, match="cannot be read"):
        read_profile(tmp_path / "none.json")


def test_devices_say_where_their_figures_are_from() -> None:
    assert "raspberry-pi-4" in devices()
    for name in devices():
        profile = device(name)
        assert profile.estimated
        assert any("http" in each for each in profile.sources)
        assert not profile.fits(1)
    with pytest.raises(InvalidValue, match=r"there are .*raspberry-pi-4"):
        device("no-such-thing")


def _network(unknown: str = "") -> Description:
    values = {
        "x": Value("float32", (1, 64, 16, 16)), "w": Value("float32", (64, 64, 3, 3), True),
        "a": Value("float32", (1, 64, 16, 16)), "b": Value("float32", (1, 64, 16, 16)),
    }  # fmt: skip
    conv = Layer("conv", "com.microsoft.nchwc::Conv", ("x", "w"), ("a",), {"pads": [1] * 4}, 64 * 64 * 9 * 256, 36_864)
    other = Layer("other", "Tanh", ("a",), ("b",), {}, 0, 0, unknown)
    return Description(36_864, conv.macs, 2 * 64 * 256, values, [conv, other], ["x"], ["b"])


def test_an_estimate_is_the_sum_of_its_layers() -> None:
    profile = device("raspberry-pi-4")
    found = priced(_network(), profile)
    assert found.complete
    assert found.total_ms == pytest.approx(profile.run_us / 1e3 + sum(each.ms or math.nan for each in found.layers))
    macs_per_s = found.macs / (found.layers[0].ms or math.nan) * 1e3
    assert 1e9 < macs_per_s < 6e9  # below the peak of the core
    assert found.weight_bytes == 4 * 36_864
    assert found.arena_bytes == 2 * 4 * 64 * 256
    assert found.peak_bytes > found.weight_bytes + found.arena_bytes


def test_what_is_not_estimated_is_said() -> None:
    found = priced(_network("it loops"), device("raspberry-pi-4"))
    assert not found.complete
    assert found.layers[1].ms is None
    assert found.notes == ("Not estimated: 1 layer: it loops.",)


def test_kinds_are_those_of_kernels() -> None:
    def kind(operator: str, weight: tuple[int, ...], **attributes: object) -> str:
        values = {
            "x": Value("float32", (1, weight[1], 8, 8)), "w": Value("float32", weight, True),
            "y": Value("float32", (1, weight[0], 8, 8)),
        }  # fmt: skip
        layer = Layer("c", operator, ("x", "w"), ("y",), attributes, 1000, 0)
        found = features(layer, Description(values=values, layers=[layer]), 1.0)
        assert found is not None
        return found.kind

    blocks = "com.microsoft.nchwc::Conv"
    assert kind(blocks, (32, 32, 3, 3), pads=[1] * 4) == "conv.direct"
    assert kind(blocks, (32, 32, 1, 1)) == "conv.pointwise"
    assert kind(blocks, (32, 1, 3, 3), group=32) == "conv.depthwise"
    assert kind(blocks, (32, 3, 3, 3)) == "conv.first"
    assert kind("Conv", (32, 32, 3, 3)) == "conv.columns"
    assert kind("Conv", (32, 4, 3, 3), group=8) == "conv.columns.groups"


def test_small_networks_are_warm_and_large_ones_cold() -> None:
    assert coldness(0) == coldness(1000) == 0.0
    assert coldness(1 << 30) == 1.0
    assert 0.0 < coldness(3 << 20) < 1.0
