"""The verb, on handwritten digits: they need no data folder."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from likewise.errors import InvalidFunction, InvalidValue, SettingsError
from likewise.evaluation import add_arguments, run
from likewise.evaluation.command import Job, play
from likewise.evaluation.streams import load_stream

FUNCTIONS = Path(__file__).parents[3] / "functions"


def arguments(*words: str) -> argparse.Namespace:
    """Return parsed arguments."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(
        ["--functions", str(FUNCTIONS), "--workload", "digits", "--requests", "250", "--processes", "1", *words]
    )


@pytest.mark.skipif(not (FUNCTIONS / "digits").is_dir(), reason="the bundled functions are not in this checkout")
class TestOnDigits:
    """Runs of the command."""

    def test_files_are_written_and_the_table_printed(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """One object for each run, and a picture."""
        words = ("--seeds", "2", "--policy", "calibrated+ledger,hknn:theta=0.9", "--target", "0.9,0.95")
        found, drawn = tmp_path / "runs.json", tmp_path / "runs.png"
        assert run(arguments(*words, "--json", str(found), "--plot", str(drawn))) == 0
        runs = json.loads(found.read_text())
        assert len(runs) == 8
        assert {each["policy"] for each in runs} == {"calibrated+ledger", "hknn:theta=0.9"}
        assert all(each["requests"] == 250 for each in runs)
        assert drawn.read_bytes().startswith(b"\x89PNG")
        assert "calibrated+ledger" in capsys.readouterr().out

    def test_the_models_answers_may_be_the_truth(self) -> None:
        """They differ little from the labels, and have the same ids for the same names."""
        streams = [
            load_stream("digits", 0, requests=60, devices=4, data=None, functions=FUNCTIONS, truth=truth, key_type=None)
            for truth in ("label", "model")
        ]
        same = sum(one == two for one, two in zip(streams[0].labels, streams[1].labels, strict=True))
        assert same > 30
        assert (streams[0].keys == streams[1].keys).all()

    def test_a_job_plays_all_policies_and_targets_on_one_stream(self) -> None:
        """Keys are computed once."""
        job = Job(
            "digits", 0, ("fixed", "potluck"), (0.9, 0.99), 80, 100, 4, "label", None, FUNCTIONS, None, "exact"
        )  # fmt: skip
        assert [(each.policy, each.target) for each in play(job)] == [
            ("fixed", 0.9),
            ("fixed", 0.99),
            ("potluck", 0.9),
            ("potluck", 0.99),
        ]

    def test_several_processes_give_the_same_runs(self, tmp_path: Path) -> None:
        """In the order of workloads and seeds."""
        files = [tmp_path / "one.json", tmp_path / "two.json"]
        for processes, path in zip("12", files, strict=True):
            run(arguments("--seeds", "2", "--target", "0.9", "--processes", processes, "--json", str(path)))
        one, two = ([(r["seed"], r["harvest"]) for r in json.loads(path.read_text())] for path in files)
        assert one == two

    @pytest.mark.parametrize(("option", "value"), [("--json", "runs.json"), ("--plot", "runs.png")])
    def test_a_file_that_cannot_be_written_is_named(self, tmp_path: Path, option: str, value: str) -> None:
        """With the option it came from."""
        path = tmp_path / "missing" / value
        with pytest.raises(SettingsError, match=option):
            run(arguments("--seeds", "1", "--target", "0.9", option, str(path)))

    def test_an_unknown_key_type_is_refused(self) -> None:
        """Naming it."""
        with pytest.raises(InvalidValue, match="`smell`"):
            run(arguments("--seeds", "1", "--key-type", "smell"))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        pytest.param(("--policy", "guess"), "no policy `guess`", id="policy"),
        pytest.param(("--target", "high"), "give numbers", id="target"),
        pytest.param(("--target", "1.5"), "between 0 and 1", id="range"),
        pytest.param(("--policy", " , "), "empty", id="empty"),
        pytest.param(("--seeds", "0"), "at least 1", id="seeds"),
        pytest.param(("--requests", "-1"), "--requests.* at least 1", id="requests"),
        pytest.param(("--devices", "0"), "--devices.* at least 1", id="devices"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused(words: tuple[str, ...], says: str) -> None:
    """Before anything is computed."""
    with pytest.raises(InvalidValue, match=says):
        run(arguments(*words))


def test_a_missing_function_is_named(tmp_path: Path) -> None:
    """With the option that names another folder."""
    with pytest.raises(InvalidFunction, match="--functions"):
        load_stream("digits", 0, requests=5, devices=1, data=None, functions=tmp_path, truth="label")


def test_an_unknown_truth_is_refused(tmp_path: Path) -> None:
    """Naming those there are."""
    with pytest.raises(InvalidValue, match="label, model"):
        load_stream("digits", 0, requests=5, devices=1, data=None, functions=tmp_path, truth="rumor")


@pytest.mark.skipif("LIKEWISE_DATA" not in os.environ, reason="LIKEWISE_DATA names no data folder")
@pytest.mark.parametrize("workload", ["speech", "signs-cold"])
def test_real_streams_keep_the_target(workload: str) -> None:
    """A short stretch of each kind of input."""
    job = Job(
        workload, 0, ("calibrated+ledger",), (0.95,), 800, 20_000, 20, "label", Path(os.environ["LIKEWISE_DATA"]),
        FUNCTIONS, None, "exact",
    )  # fmt: skip
    (found,) = play(job)
    assert found.accuracy >= 0.95
    assert found.harvest > 0.4


def test_any_extractor_can_be_tried_by_name() -> None:
    """Also one that the function's spec does not list; a network of the function itself is never projected."""
    options = {"requests": 5, "devices": 1, "data": None, "functions": FUNCTIONS, "truth": "label"}
    own, tried = (load_stream("digits", 0, key_type=name, **options) for name in (None, "dct"))
    assert (own.projected, tried.projected) == (False, True)
    assert tried.keys.shape[1] == 63
    with pytest.raises(InvalidValue, match="color, dct, gray, hog"):
        load_stream("digits", 0, key_type="mfcc", **options)


@pytest.mark.skipif(not (FUNCTIONS / "signs").is_dir(), reason="the bundled functions are not in this checkout")
def test_variants_play_along_on_inputs_of_ones_own(tmp_path: Path) -> None:
    """Each way answers all of them, and what each computed is told."""
    folder, found = tmp_path / "pictures", tmp_path / "runs.json"
    folder.mkdir()
    for at in range(70):
        pixels = np.full((32, 32, 3), 40, np.uint8)
        pixels[4 : 8 + at % 7 * 3, 6:20] = 200 - at // 7
        (folder / f"{at:03}.png").write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    words = ("--function", "signs", "--inputs", str(folder), "--seeds", "1", "--target", "0.9", "--json", str(found))
    assert run(arguments(*words, "--ladder", "off,exits,all")) == 0
    runs = {each["ladder"]: each for each in json.loads(found.read_text())}
    assert list(runs) == ["off", "exits", "all"]
    assert set(runs["exits"]["sources"]) == {"cache", "head", "model"}
    assert set(runs["all"]["sources"]) == {"cache", "head", "student", "model"}
    for each in runs.values():
        assert sum(each["sources"].values()) == pytest.approx(1.0)
        assert each["compute"] > each["sources"]["model"]
