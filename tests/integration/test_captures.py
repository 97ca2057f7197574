"""What a server records can be evaluated, and played against another."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from likewise import evaluation
from likewise.captures import Capture, CaptureWriter, Recorded
from likewise.captures.record import encode
from likewise.commands import replay
from likewise.errors import InvalidValue
from likewise.types import Result

PLAYED = 120


def arguments(verb: Any, *words: object) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    verb.add_arguments(parser)
    return parser.parse_args([str(word) for word in words])


def play(server: Any, toys: Any) -> list[str]:
    """Send pictures from two devices, a refused one and one that is to leave no trace; return the outcomes."""
    outcomes = []
    headers = {"Content-Type": "image/png"}
    for at in range(PLAYED):
        device = {"Likewise-Device": f"cam-{at % 2}"}
        answer = server.http.post(
            "/v1/functions/quadrants/infer", content=toys.picture(at * 7 % 4, at), headers={**headers, **device}
        )
        assert answer.status_code == 200
        outcomes.append("hit" if "; hit" in answer.headers["cache-status"] else "computed")
    secret = {**headers, "Cache-Control": "no-store"}
    server.http.post("/v1/functions/quadrants/infer", content=toys.picture(0, 10_000), headers=secret)
    assert server.http.post("/v1/functions/quadrants/infer", content=b"?", headers=headers).status_code == 400
    return outcomes


def captured(live: Callable[..., Any], toys: Any, path: Path, **settings: object) -> list[str]:
    server = live(capture=str(path), **settings)
    outcomes = play(server, toys)
    server.__exit__()
    return outcomes


def test_an_evaluation_of_a_capture_says_what_was_served(live, toys, functions_dir, tmp_path, capsys) -> None:
    """The very hits, as recorded; and what other targets would have brought, on the same stream."""
    path = tmp_path / "requests.capture"
    outcomes = captured(live, toys, path)
    with Capture(path) as capture:
        records = list(capture)
    assert len(records) == PLAYED + 1  # the refused one, not the one without a trace
    assert records[-1].reason == "undecodable-input"
    found, page = tmp_path / "runs.json", tmp_path / "page.html"
    args = arguments(
        evaluation, "--functions", functions_dir, "--function", "quadrants", "--inputs", path, "--target", "0.9,0.99",
        "--seeds", 2, "--processes", 1, "--json", found, "--html", page,
    )  # fmt: skip
    assert evaluation.run(args) == 0
    runs = json.loads(found.read_text())
    (served,) = [run for run in runs if run["policy"] == "as recorded"]
    assert (served["requests"], served["hits"]) == (PLAYED, outcomes.count("hit"))
    assert served["accuracy"] == 1.0
    assert {(run["target"], run["seed"]) for run in runs if run is not served} == {
        (target, seed) for target in (0.9, 0.99) for seed in (0, 1)
    }
    assert all(run["harvest"] > 0.3 for run in runs)
    assert "as recorded" in capsys.readouterr().out
    assert "as recorded" in page.read_text()
    assert "data:image/png;base64," in page.read_text()


def test_a_capture_plays_against_another_server(live, toys, tmp_path, capsys) -> None:
    """All of it, without pauses, with the same answers."""
    path = tmp_path / "requests.capture"
    captured(live, toys, path)
    server = live()
    found = tmp_path / "replay.json"
    args = arguments(replay, path, "--against", server.url, "--speed", 0, "--concurrency", 1, "--json", found)
    assert replay.run(args) == 0
    figures = json.loads(found.read_text())
    assert (figures["requests"], figures["failed"], figures["same_answer"]) == (PLAYED, 0, 1.0)
    assert figures["outcomes"]["hit"] > PLAYED // 4
    assert server.http.get("/v1/stats").json()["functions"]["quadrants@1"]["requests"] == PLAYED
    assert "same answer as recorded" in capsys.readouterr().out


def test_keys_alone_are_looked_up_and_inserted(live, toys, functions_dir, tmp_path, capsys) -> None:
    """As devices do that compute themselves; the file holds no input, and is evaluated by its keys."""
    path = tmp_path / "keys.capture"
    captured(live, toys, path, capture_keeps="keys")
    with Capture(path) as capture:
        records = [each for each in capture if each.outcome]
    assert len(records) == PLAYED
    assert all(each.key is not None and not each.body for each in records)
    assert len({each.device for each in records}) == 2
    server = live()
    args = arguments(replay, path, "--against", server.url, "--speed", 0, "--concurrency", 1)
    assert replay.run(args) == 0
    assert server.http.get("/v1/stats").json()["functions"]["quadrants@1"]["requests"] == PLAYED
    assert len(server.http.get("/v1/functions/quadrants/entries").json()["entries"]) > 2
    args = arguments(
        evaluation, "--functions", functions_dir, "--function", "quadrants", "--inputs", path, "--seeds", 1,
        "--target", "0.9",
    )  # fmt: skip
    assert evaluation.run(args) == 0
    assert f"{PLAYED} requests are taken to be right" in capsys.readouterr().out


def test_failures_are_counted_and_told(live, toys, tmp_path, capsys) -> None:
    """Where the server has no such function, and the exit code says so."""
    path = tmp_path / "requests.capture"
    captured(live, toys, path)
    empty = tmp_path / "none"
    empty.mkdir()
    server = live(functions=empty, data_dir=tmp_path / "other")
    args = arguments(replay, path, "--against", server.url, "--speed", 0, "--requests", 5)
    assert replay.run(args) == 1
    assert "5 requests failed; the first: " in capsys.readouterr().out


def test_names_that_no_server_gave_fail_and_are_counted(live, tmp_path, capsys) -> None:
    """A capture may come from anywhere: what it calls functions, devices and types are letters, and no more."""
    path = tmp_path / "strange.capture"
    writer = CaptureWriter(path, 1 << 20)
    strange = "\x1b[2J/../../livez?\r\nA: b"
    writer.write([encode(Recorded(1.0, 0.1, f"{strange}@1", strange, "miss", media_type=strange, body=b"x"))])
    writer.write([encode(Recorded(2.0, 0.1, "quadrants@1", "", "miss", media_type="image/png", body=b"x"))])
    writer.write([encode(Recorded(3.0, 0.1, "quadrants@1", "", "miss", media_type="bild/größe", body=b"x"))])
    writer.close()
    args = arguments(replay, path, "--against", live().url, "--speed", 0)
    assert replay.run(args) == 1
    assert "3 requests failed; the first: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--against", "http://127.0.0.1:99999"),
        ("--against", "http://[::1"),
        ("--against", "http://"),
        ("--against", "http://h:0"),
        ("--speed", "nan"),
        ("--timeout", "nan"),
        ("--requests", "0"),
        ("--concurrency", "0"),
        ("--access-key", "a\nb"),
        ("--access-key", "schlüssel"),
    ],
)
def test_options_that_mean_nothing_are_refused(tmp_path, option, value) -> None:
    """Before the capture is looked at."""
    args = arguments(replay, tmp_path / "none", "--against", "http://127.0.0.1:1", option, value)
    with pytest.raises(InvalidValue, match=option):
        replay.run(args)


def test_requests_of_which_nothing_was_kept_are_left_out(live, toys, functions_dir, tmp_path, capsys) -> None:
    """Neither input nor key: they count as left out, and the others play."""
    path = tmp_path / "requests.capture"
    captured(live, toys, path)
    writer = CaptureWriter(path, 1 << 26)
    writer.write([encode(Recorded(1.0, 0.1, "quadrants@1", "", "miss", result=Result(b"{}", "application/json")))])
    writer.close()
    args = arguments(
        evaluation, "--functions", functions_dir, "--function", "quadrants", "--inputs", path, "--seeds", 1,
        "--target", "0.9",
    )  # fmt: skip
    assert evaluation.run(args) == 0
    assert "1 requests have neither input nor key and are left out" in capsys.readouterr().out


def test_a_folder_is_evaluated_as_a_stream(toys, functions_dir, tmp_path, capsys) -> None:
    """Devices by sub-folder; repeated files are exact repeats, and broken ones are left out."""
    rng = np.random.default_rng(0)
    for device in ("left", "right"):
        (tmp_path / "in" / device).mkdir(parents=True)
        for at in range(60):
            body = toys.picture(int(rng.integers(4)), at // 2)  # some of them twice
            (tmp_path / "in" / device / f"{at}.png").write_bytes(body)
    (tmp_path / "in" / "left" / "61.png").write_bytes(toys.picture(1, 1)[:60])
    found = tmp_path / "runs.json"
    args = arguments(
        evaluation, "--functions", functions_dir, "--function", "quadrants", "--inputs", tmp_path / "in", "--target",
        "0.9", "--seeds", 2, "--processes", 1, "--json", found,
    )  # fmt: skip
    assert evaluation.run(args) == 0
    runs = json.loads(found.read_text())
    assert [run["requests"] for run in runs] == [120, 120]
    assert all(run["exact"] > 5 and run["harvest"] > 0.3 for run in runs)
    printed = capsys.readouterr().out
    assert "1 requests could not be read" in printed
    assert "their 2 folders side by side" in printed


@pytest.mark.parametrize(
    ("words", "says"),
    [
        pytest.param(["--function", "quadrants"], "belong together", id="no inputs"),
        pytest.param(["--function", "nothing", "--inputs", "."], "--functions", id="no function"),
        pytest.param(["--function", "quadrants", "--inputs", "nowhere"], "nowhere is not there", id="no folder"),
        pytest.param(["--function", "devices", "--inputs", "empty"], "holds no file", id="empty folder"),
        pytest.param(["--function", "devices", "--inputs", "."], "none is an input of kind `array`", id="other kind"),
    ],
)
def test_what_cannot_be_evaluated_says_what_to_do(functions_dir, words, says, tmp_path, monkeypatch) -> None:
    """Before anything is computed."""
    from likewise.errors import LikewiseError

    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(LikewiseError, match=says):
        evaluation.run(arguments(evaluation, "--functions", functions_dir, *words))
