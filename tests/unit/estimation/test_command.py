"""`likewise estimate`: what is printed, written and refused; and an estimate of a bundled model against the truth."""

from __future__ import annotations

from pathlib import Path

import onnx
import orjson
import pytest
from onnx import TensorProto, helper

from likewise.__main__ import main
from likewise.commands.estimate import own_profile, parsed_shapes
from likewise.errors import InvalidValue
from likewise.estimation.calibration import steady
from likewise.estimation.estimate import estimate
from likewise.estimation.isolation import asked
from likewise.estimation.profiles import Profile, device, processor, stored

FUNCTIONS = Path(__file__).parents[3] / "functions"
DIGITS = FUNCTIONS / "digits" / "1" / "model.onnx"


def test_a_device_is_said_to_be_estimated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written = tmp_path / "out.json"
    assert main(["estimate", str(DIGITS), "--device", "raspberry-pi-4", "--json", str(written)]) == 0
    out = capsys.readouterr().out
    assert "nothing of which was measured" in out
    assert "https://" in out
    assert "1,401,946" in out
    found = orjson.loads(written.read_bytes())
    assert found["estimated_profile"]
    assert found["total_ms"] == pytest.approx(sum(each["ms"] for each in found["layers"]), rel=0.05)
    assert found["peak_bytes"] > found["weight_bytes"] > 4 * 1_400_000


def test_a_function_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["estimate", "--function", "digits", "--functions", str(FUNCTIONS), "--device", "phone-large-core"]
    assert main(words) == 0
    assert "multiply-adds 253,625,600" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "Name a MODEL"),
        (["a.onnx", "--function", "digits"], "not both"),
        (["none.onnx", "--device", "raspberry-pi-4"], "cannot be read"),
        ([str(DIGITS), "--device", "abacus"], "no such device"),
        ([str(DIGITS), "--device", "raspberry-pi-4", "--measure"], "leave out --device"),
        ([str(DIGITS), "--device", "raspberry-pi-4", "--input-shape", "x"], "write NAME=AxBxC"),
        ([str(DIGITS), "--device", "raspberry-pi-4", "--input-shape", "x=1x2"], "no such input"),
        ([str(DIGITS), "--device", "raspberry-pi-4", "--batch", "0"], "--batch 1 to"),
        (["--function", "../x", "--device", "raspberry-pi-4"], "no such folder"),
        ([str(DIGITS), "--device", "raspberry-pi-4", "--json", str(DIGITS / "x.json")], "cannot be written"),
    ],
)
def test_what_cannot_be_is_refused(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["estimate", *words]) == 2
    assert message in capsys.readouterr().err


def test_shapes_are_read() -> None:
    assert parsed_shapes(["x=1x3x?x8", "a=b:0=5"]) == {"x": [1, 3, None, 8], "a=b:0": [5]}
    for text in ("x", "=3", "x=1x", "x=-1", "x=0", "x=99999999999", "x=²"):
        with pytest.raises(InvalidValue):
            parsed_shapes([text])


def test_names_from_a_file_do_nothing_to_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    node = helper.make_node("Relu", ["x"], ["y"], name="[red]\x1b[31m[/nonsense]")
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [3]) for name in "xy"]
    graph = helper.make_graph([node], "g", value[:1], value[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "m.onnx")
    assert main(["estimate", str(tmp_path / "m.onnx"), "--device", "raspberry-pi-4"]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "(red)" in out


def test_a_profile_is_kept_and_measured_again_when_the_machine_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from importlib.metadata import version

    taken = device("raspberry-pi-4")
    made: list[int] = []

    def calibrate(threads: int) -> Profile:
        made.append(threads)
        return Profile("here", processor(), version("onnxruntime"), threads, taken.costs, 1.0, 2.0, 3.0)

    monkeypatch.setattr("likewise.commands.estimate.calibrate", calibrate)
    assert own_profile(tmp_path, 1).run_us == own_profile(tmp_path, 1).run_us == 1.0
    assert made == [1]
    own_profile(tmp_path, 2)
    own_profile(tmp_path, 1, again=True)
    assert made == [1, 2, 1]
    path = stored(tmp_path, 1)
    path.write_bytes(path.read_bytes().replace(version("onnxruntime").encode(), b"0.1"))
    own_profile(tmp_path, 1)
    path.write_bytes(path.read_bytes()[:100])
    own_profile(tmp_path, 1)
    assert made == [1, 2, 1, 1, 1]


def test_a_profile_can_be_taken_elsewhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    device("raspberry-pi-4").write(tmp_path / "board.json")
    assert main(["estimate", str(DIGITS), "--device", str(tmp_path / "board.json")]) == 0
    assert "Raspberry Pi 4" in capsys.readouterr().out


def test_the_faster_half_counts() -> None:
    assert steady([5.0, 1.0, 3.0, 900.0]) == 2.0
    assert steady([7.0]) == 7.0


@pytest.mark.slow
def test_an_estimate_is_near_what_is_measured(tmp_path: Path) -> None:
    """Bounds are wide: what is measured depends on what else the machine does."""
    profile = own_profile(tmp_path, 1)
    found = estimate(DIGITS, profile)
    measured = asked({"task": "measure", "path": str(DIGITS), "shapes": {}, "batch": 1, "threads": 1})
    assert 0.5 < found.total_ms * 1e3 / measured["total_us"] < 2.0
    if measured["memory"] is not None:
        assert 0.8 < found.peak_bytes / measured["memory"]["ran"] < 1.25
    assert {each.name for each in found.layers} == set(measured["layers"])
