"""A function's model made smaller in many ways on inputs of one's own, side by side, and written."""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import networks
import onnx
import pytest

from likewise import compression
from likewise.errors import InvalidFunction, InvalidValue
from likewise.function.spec_text import read_spec
from likewise.inference.model import OnnxModel
from likewise_client._device.unpacking import unpack


def compress(*words: object) -> int:
    parser = argparse.ArgumentParser()
    compression.add_arguments(parser)
    return compression.run(parser.parse_args([str(word) for word in words]))


@pytest.fixture
def functions(tmp_path: Path) -> Path:
    networks.write_function(tmp_path / "functions")
    return tmp_path / "functions"


def test_ways_stand_side_by_side_and_their_files_run(functions: Path, tmp_path: Path, capsys) -> None:
    """In all three categories; each file loads, and its packed form is the very same."""
    inputs = networks.fill(tmp_path / "inputs", 150)
    out, found = tmp_path / "out", tmp_path / "figures.json"
    words = ("kinds", "--functions", functions, "--inputs", inputs, "--out", out, "--json", found, "--loss", 5)
    assert compress(*words) == 0
    rows = {row["name"]: row for row in json.loads(found.read_text())}
    assert len(rows) >= 11
    assert {"weights", "convolutions", "architecture"} <= {row["category"] for row in rows.values()}
    full = rows["model"]
    assert full["agreement"] == 1.0
    assert rows["coded"]["packed_bytes"] < full["file_bytes"] / 2
    for name, row in rows.items():
        assert 0 <= row["agreement"] <= 1
        assert row["accuracy"] is None
        assert row["latency_s"] > 0
        assert row["energy_j"] > 0
        if name != "model":
            content = (out / f"{name}.onnx").read_bytes()
            assert unpack((out / f"{name}.lwz").read_bytes()) == content
            assert OnnxModel(out / f"{name}.onnx").shape == (1, 16, 16)
    said = capsys.readouterr().out
    assert "low-rank-dense" in said
    assert "judged on" in said


def test_labels_of_folders_are_the_truth(functions: Path, tmp_path: Path) -> None:
    """With other inputs to judge by; a folder named otherwise is an error that names it."""
    for part in ("seen", "unseen"):
        for kind in range(4):
            networks.fill(tmp_path / part / str(kind), 20)
    words = (
        "kinds", "--functions", functions, "--inputs", tmp_path / "seen", "--held-out", tmp_path / "unseen",
        "--labels", "folders", "--out", tmp_path / "out", "--methods", "float16",
    )  # fmt: skip
    found = tmp_path / "figures.json"
    assert compress(*words, "--json", found) == 0
    rows = json.loads(found.read_text())
    assert all(0 <= row["accuracy"] <= 1 for row in rows)
    shutil.move(tmp_path / "unseen" / "3", tmp_path / "unseen" / "third")
    with pytest.raises(InvalidValue, match="third"):
        compress(*words, "--force")


def test_nothing_is_written_over_unless_asked(functions: Path, tmp_path: Path) -> None:
    """A folder with something in it stays as it is."""
    inputs = networks.fill(tmp_path / "inputs", 60)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    words = ("kinds", "--functions", functions, "--inputs", inputs, "--out", tmp_path / "out", "--methods", "float16")
    with pytest.raises(InvalidValue, match="--force"):
        compress(*words)
    assert compress(*words, "--force") == 0
    assert (tmp_path / "out" / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--methods", "nonsense", "--inputs", "x"], "nonsense"),
        ([], "--inputs"),
        (["--held-out", "x"], "--inputs"),
        (["--loss", "-1", "--inputs", "x"], "--loss"),
        (["--inputs", "nowhere"], "nowhere"),
        (["--workload", "digits"], "digits"),
    ],
)
def test_what_cannot_be_is_refused(functions: Path, tmp_path: Path, words: list[str], said: str) -> None:
    """Naming the option or the file."""
    with pytest.raises(InvalidValue, match=said):
        compress("kinds", "--functions", functions, "--out", tmp_path / "out", *words)


def test_a_model_of_several_inputs_is_refused(functions: Path, tmp_path: Path) -> None:
    """Naming the file."""
    path = functions / "kinds" / "1" / "model.onnx"
    model = onnx.load(path)
    model.graph.input.append(onnx.helper.make_tensor_value_info("more", onnx.TensorProto.FLOAT, [1]))
    model.graph.node.append(onnx.helper.make_node("Add", ["scores", "more"], ["total"]))
    onnx.save(model, path)
    toml = functions / "kinds" / "function.toml"
    toml.write_text(toml.read_text().replace("channels = 1", "channels = 1\nfixed = { more = 1.0 }", 1))
    with pytest.raises(InvalidFunction, match=r"model\.onnx|function\.toml"):
        compress(
            "kinds", "--functions", functions, "--out", tmp_path / "out",
            "--inputs", networks.fill(tmp_path / "inputs", 30),
        )  # fmt: skip


def test_variants_are_written_into_the_spec_and_served(functions: Path, tmp_path: Path, live) -> None:
    """With what was measured; what was not made is refused, and nothing is written then."""
    inputs = networks.fill(tmp_path / "inputs", 200)
    toml = functions / "kinds" / "function.toml"
    words = ("kinds", "--functions", functions, "--inputs", inputs, "--out", tmp_path / "out", "--force")
    words += ("--methods", "exit:0.15", "--train-minutes", 0)
    before = toml.read_text()
    with pytest.raises(InvalidValue, match="student"):
        compress(*words, "--write", "student")
    assert toml.read_text() == before
    assert compress(*words, "--write", "exit-0.15") == 0
    spec, _ = read_spec(functions / "kinds")
    (variant,) = spec.variants
    assert variant.name == "exit-0.15"
    assert 0 < variant.cost < 1
    assert (functions / "kinds" / "1" / variant.file).stat().st_size == variant.size_bytes
    assert "# from the door's camera" in toml.read_text()
    server = live(functions=functions, data_dir=tmp_path / "data")
    picture = next(inputs.iterdir()).read_bytes()
    answer = server.http.post("/v1/functions/kinds/infer", content=picture, headers={"Content-Type": "image/png"})
    assert answer.status_code == 200


def test_a_search_says_what_it_chose_and_why(functions: Path, tmp_path: Path, capsys) -> None:
    """And meets the demands that can be met; others are refused before anything is computed."""
    inputs = networks.fill(tmp_path / "inputs", 150)
    found = tmp_path / "figures.json"
    words = ("kinds", "--functions", functions, "--inputs", inputs, "--out", tmp_path / "out", "--train-minutes", 0)
    for demands in ("memory=4", "memory=4XB", "time=3ms", "loss=1", "storage=-1MB", "latency=0ms", "memory"):
        with pytest.raises(InvalidValue, match="--for"):
            compress(*words, "--for", demands)
    methods = "shared,coded,channels,float16"
    assert compress(*words, "--for", "storage=3kB,loss=10", "--methods", methods, "--json", found) == 0
    _, row = json.loads(found.read_text())
    assert row["packed_bytes"] <= 3000
    said = capsys.readouterr().out
    assert "meets all demands" in said
    assert "▸" in said
