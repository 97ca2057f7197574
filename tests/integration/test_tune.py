"""A function tuned on inputs of one's own, and served with the key that came of it."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import networks
import onnx
import pytest

from likewise import tuning
from likewise.errors import InvalidFunction, InvalidValue
from likewise.function.spec_text import read_spec
from likewise.tuning import meter


def tune(*words: object) -> int:
    parser = argparse.ArgumentParser()
    tuning.add_arguments(parser)
    return tuning.run(parser.parse_args([str(word) for word in words]))


@pytest.fixture
def functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The little network takes microseconds, so that a part of it may not be cheaper than the whole."""
    monkeypatch.setattr(meter, "MOST_WHOLE", 100.0)
    networks.write_function(tmp_path / "functions")
    return tmp_path / "functions"


def test_keys_are_measured_and_the_best_is_written(
    functions: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Extractors, the key that was there and early layers; the comments of the spec stay."""
    monkeypatch.setattr("likewise.tuning.command.measured", lambda *_: [1.0])  # a model that all keys are cheap to
    inputs = networks.fill(tmp_path / "inputs", 400)
    found = tmp_path / "figures.json"
    words = ("kinds", "--functions", functions, "--inputs", inputs, "--most", 1, "--coins", 2, "--target", "0.9,0.95")
    before = (functions / "kinds" / "function.toml").read_text()
    assert tune(*words, "--dry-run", "--train-minutes", 0, "--json", found) == 0
    assert (functions / "kinds" / "function.toml").read_text() == before
    figures = json.loads(found.read_text())
    names = {each["name"] for each in figures["played"]}
    assert {"gray", "color", "dct", "hog"} <= names
    assert {(each["name"], each["target"]) for each in figures["played"]} == {
        (name, target) for name in names for target in (0.9, 0.95)
    }
    assert all(0.0 <= each["harvest"] <= 1.0 and each["key_s"] > 0.0 for each in figures["played"])
    assert "harvest at 0.9" in capsys.readouterr().out
    assert tune(*words, "--train-minutes", 0, "--json", found) == 0
    chosen = json.loads(found.read_text())["chosen"]
    spec, _ = read_spec(functions / "kinds")
    assert "# from the door's camera" in (functions / "kinds" / "function.toml").read_text()
    said = "by likewise tune" in (functions / "kinds" / "function.toml").read_text()
    assert said == (chosen != "gray")  # which it had
    assert spec.keys[0].label == ("layer" if chosen.startswith("layer") else chosen.partition(",")[0])


def test_where_each_key_costs_too_much_none_is_left_out_for_it(functions: Path, tmp_path: Path, capsys) -> None:
    """The one that harvests most is named all the same, not the one that costs least; a note says how it stands."""
    inputs, found = networks.fill(tmp_path / "inputs", 60), tmp_path / "figures.json"
    words = ("kinds", "--functions", functions, "--inputs", inputs, "--most", 1e-6, "--coins", 1, "--target", "0.9")
    assert tune(*words, "--dry-run", "--train-minutes", 0, "--json", found) == 0
    figures = json.loads(found.read_text())
    assert {"gray", "color", "dct", "hog"} <= {each["name"] for each in figures["played"]}
    assert "none is left out for its cost" in capsys.readouterr().out


def test_a_layer_is_served_with_the_same_results_and_nothing_twice(
    functions: Path, tmp_path: Path, live, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A miss goes on from the layer; hits come as ever; another model under the same name is refused."""
    inputs = networks.fill(tmp_path / "inputs", 300)
    pictures = [path.read_bytes() for path in sorted(inputs.iterdir())[:60]]
    headers = {"Content-Type": "image/png", "Cache-Control": "no-store"}
    plain = live(functions=functions, data_dir=tmp_path / "plain")
    expected = [plain.http.post("/v1/functions/kinds/infer", content=each, headers=headers).json() for each in pictures]
    monkeypatch.setattr("likewise.tuning.command.extractors", lambda *_: [])
    monkeypatch.setattr("likewise.tuning.command.measured", lambda *_: [1.0])
    assert tune("kinds", "--functions", functions, "--inputs", inputs, "--train-minutes", 0, "--coins", 1) == 0
    spec, _ = read_spec(functions / "kinds")
    assert spec.layer is not None
    server = live(functions=functions, data_dir=tmp_path / "layered")
    for picture, result in zip(pictures, expected, strict=True):
        found = server.http.post("/v1/functions/kinds/infer", content=picture, headers=headers).json()
        assert found["label"] == result["label"]
        assert found["confidence"] == pytest.approx(result["confidence"], abs=1e-4)
    statuses = []
    for picture in pictures * 2:
        answer = server.http.post("/v1/functions/kinds/infer", content=picture, headers={"Content-Type": "image/png"})
        statuses.append(answer.headers["cache-status"])
    assert sum("; hit" in each for each in statuses) >= 60  # the second time all are exact repeats
    assert plain.http.get("/v1/functions/kinds").json() != server.http.get("/v1/functions/kinds").json()
    onnx.save(networks.residual_model(seed=1), functions / "kinds" / "1" / "model.onnx")
    with pytest.raises(InvalidFunction, match=r"was not cut from model\.onnx as it is now.*likewise tune"):
        live(functions=functions, data_dir=tmp_path / "changed")


def test_keys_and_layers_that_cost_too_much_are_named(
    functions: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key by its share of the model's time; a layer by what key and rest take together."""
    monkeypatch.setattr(meter, "MOST_WHOLE", 0.01)  # no two parts are a hundred times as fast as the whole
    monkeypatch.setattr("likewise.tuning.command.measured", lambda *_: [1.0])
    monkeypatch.setattr("likewise.tuning.candidates.measured", lambda keys, _: [0.1, 0.6, *[0.2] * 9][: len(keys)])
    inputs = networks.fill(tmp_path / "inputs", 90)
    words = ("kinds", "--functions", functions, "--inputs", inputs, "--target", "0.9", "--coins", 1, "--dry-run")
    assert tune(*words, "--train-minutes", 0, "--most", 0.5) == 0
    said = capsys.readouterr().out
    assert (
        "is left out: a key takes 600.000 ms, over 0.5 of the model's 1000.000 ms; --most takes dearer ones in" in said
    )
    assert "layer stem (20%) is left out: key and rest take" in said
    assert "▸ layer" not in said


def test_what_cannot_be_tuned_says_why(functions_dir: Path, functions: Path, tmp_path: Path) -> None:
    """Without a model there are no results to compare; options are checked first."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.npy").write_bytes(b"x")
    with pytest.raises(InvalidValue, match="has no model"):
        tune("devices", "--functions", functions_dir, "--inputs", tmp_path / "a")
    with pytest.raises(InvalidValue, match="--most is above 0"):
        tune("kinds", "--functions", functions, "--inputs", tmp_path / "a", "--most", 0)
    with pytest.raises(InvalidValue, match="none is an input of kind `image`"):
        tune("kinds", "--functions", functions, "--inputs", tmp_path / "a")
