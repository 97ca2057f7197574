"""`likewise watch` as a whole: real videos and cameras, a real server with a real model, real receivers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import pytest
from cameras import HEIGHT, WIDTH, lines, serve_tcp, write_sound, write_video
from receivers import Broker, Hook

from likewise.access import add_key
from likewise_watch.command import main


@pytest.fixture
def run(shared_server: Any, tmp_path: Path) -> Callable[..., tuple[int, list[dict[str, Any]], list[dict[str, Any]]]]:
    """Watch with the shared server; return the exit code, the lines and the counts of each source."""

    def watch(*arguments: object) -> tuple[int, list[dict[str, Any]], list[dict[str, Any]]]:
        out, counts = tmp_path / "out.jsonl", tmp_path / "counts.json"
        given = ["--function", "quadrants", "--url", shared_server.url, "--output", out, "--json", counts, *arguments]
        code = main([str(each) for each in given])
        return code, lines(out), json.loads(counts.read_text())["sources"] if counts.exists() else []

    return watch


def test_every_frame_of_a_file_is_answered_in_order(run: Any, shared_server: Any, tmp_path: Path) -> None:
    """With what the model says of it, whatever the encoding on the way."""
    quadrants = [at // 5 % 4 for at in range(40)]
    film = write_video(tmp_path / "film.mp4", quadrants)
    for encoding in ("raw", "jpeg"):
        (tmp_path / "out.jsonl").unlink(missing_ok=True)
        code, found, (counts,) = run(film, "--encoding", encoding)
        assert code == 0
        assert [each["frame"] for each in found] == list(range(40))
        names = ("north-west", "north-east", "south-west", "south-east")
        assert [each["result"]["label"] for each in found] == [names[each] for each in quadrants]
        assert found[30]["position_s"] == pytest.approx(3.0)
        assert {each["stream"] for each in found} == {"film"}
        assert (counts["read"], counts["sent"], counts["answered"], counts["dropped"]) == (40, 40, 40, 0)
        assert counts["hits"] == sum(each["outcome"] in ("hit", "coalesced") for each in found)
        assert sum(counts["outcomes"].values()) == 40


def test_a_file_is_sampled_at_a_rate_and_ended_where_wanted(run: Any, tmp_path: Path) -> None:
    """Every fourth of twenty a second, six of them."""
    film = write_video(tmp_path / "film.mkv", [0] * 60, rate=20)
    code, found, (counts,) = run(film, "--rate", 5, "--frames", 6)
    assert code == 0
    assert [each["frame"] for each in found] == [0, 4, 8, 12, 16, 20]
    assert counts["sampled"] == 6


def test_a_file_plays_at_its_own_pace_where_wanted(run: Any, tmp_path: Path) -> None:
    """Each frame is answered or dropped, as of a camera."""
    film = write_video(tmp_path / "film.mp4", [0, 1, 2, 3], rate=20)
    code, found, (counts,) = run(film, "--realtime")
    assert code == 0
    assert counts["answered"] + counts["dropped"] == counts["sampled"] == 4
    assert len(found) == counts["answered"] > 0


@pytest.mark.parametrize("codec", ["mjpeg", "mpeg4", "libx264"])
def test_several_sources_are_watched_at_once(run: Any, tmp_path: Path, codec: str) -> None:
    """Each in its own order, under its own name."""
    films = [write_video(tmp_path / f"{which}.avi", [which] * 12, codec=codec) for which in range(3)]
    code, found, counts = run(*films, "--name", "first")
    assert code == 0
    assert [each["stream"] for each in counts] == ["first", "1", "2"]
    for which, (name, label) in enumerate((("first", "north-west"), ("1", "north-east"), ("2", "south-west"))):
        own = [each for each in found if each["stream"] == name]
        assert [each["frame"] for each in own] == list(range(12)), which
        assert {each["result"]["label"] for each in own} == {label}


def test_results_are_drawn_into_a_video(run: Any, tmp_path: Path) -> None:
    """As many pictures as frames, as long as the original."""
    film = write_video(tmp_path / "film.mp4", [0, 1, 2, 3] * 3)
    code, found, _ = run(film, "--save", tmp_path / "seen.mp4")
    assert code == 0
    with av.open(str(tmp_path / "seen.mp4")) as container:
        frames = list(container.decode(video=0))
    assert len(frames) == len(found) == 12
    assert (frames[0].width, frames[0].height) == (WIDTH, HEIGHT)
    assert frames[-1].time == pytest.approx(1.1, abs=0.01)


def test_results_go_to_a_web_hook_and_a_broker(run: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The same documents as the lines; no credential is printed."""
    hook, broker = Hook(), Broker()
    film = write_video(tmp_path / "film.mp4", [0, 1, 2, 3])
    code, found, _ = run(film, "--webhook", hook.url, "--mqtt", f"mqtt://me:sesame@127.0.0.1:{broker.port}/a/b")
    hook.close()
    broker.die()
    assert code == 0
    assert hook.taken == found
    assert broker.taken == [("a/b", each) for each in found]
    told = capfd.readouterr()
    assert "sesame" not in told.out + told.err


def test_a_result_that_could_not_be_delivered_is_told_by_the_exit_code(
    run: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Not by the summary alone, which a script does not read."""
    hook = Hook(204, 400)
    film = write_video(tmp_path / "film.mp4", [0, 1, 2, 3])
    code, found, _ = run(film, "--webhook", hook.url)
    hook.close()
    assert code == 1
    assert hook.taken == [found[0], *found[2:]]
    assert "webhook: 1 results could not be delivered" in capfd.readouterr().err


def test_lines_go_to_standard_output_and_the_summary_to_standard_error(
    shared_server: Any, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """So that a pipe gets results alone."""
    film = write_video(tmp_path / "film.mp4", [0, 1, 2])
    assert main([str(film), "--function", "quadrants@1", "--url", shared_server.url]) == 0
    told = capfdbinary.readouterr()
    assert [json.loads(line)["frame"] for line in told.out.splitlines()] == [0, 1, 2]
    assert b"film: 3 frames read, 3 sent, 0 dropped" in told.err


def test_functions_of_arrays_get_arrays(live: Any, toys: Any, tmp_path: Path) -> None:
    """Of the shape that the command line names."""
    spec = (
        '[input]\nkind = "array"\n[model]\nfile = "model.onnx"\n[result]\nkind = "label"\nlabels = "labels.txt"\n'
        '[[keys]]\nname = "v"\nextractor = "vector"\ndimension = 64\nmetric = "l2"\n'
    )
    toys.write_quadrants(tmp_path / "functions", "planes", spec)
    film, out = write_video(tmp_path / "film.mp4", [0, 1, 2, 3]), tmp_path / "out.jsonl"
    given = ["--url", live(functions=tmp_path / "functions").url, "--function", "planes", "--shape", "1x8x8", "--unit"]
    assert main([str(film), "--output", str(out), *given]) == 0
    assert [each["result"]["label"] for each in lines(out)] == list(toys.labels)


BAD: dict[str, tuple[list[str], str]] = {
    "no such file": (["nowhere.mp4"], "nowhere.mp4 is not there"),
    "a folder": (["."], "is a folder"),
    "no video at all": (["sound.wav"], "sound.wav has no video stream"),
    "no media": (["text.bin"], "text.bin"),
    "unknown scheme": (["nosuch://host/x"], "nosuch://host/x cannot be opened"),
    "no camera there": (["rtsp://me:sesame@127.0.0.1:9/x", "--wait", "0"], "rtsp://127.0.0.1:9/x cannot be opened"),
    "no page there": (["PAGE/missing", "--wait", "0"], "/missing cannot be opened"),
    "no such function": (["film.mp4", "--function", "cats"], "no function `cats`"),
    "no such version": (["film.mp4", "--function", "quadrants@7"], "no function `quadrants@7`"),
    "takes no pictures": (["film.mp4", "--function", "devices"], "--shape"),
    "too large": (["film.mp4", "--max-pixels", "100"], "--max-pixels"),
    "no server": (
        ["film.mp4", "--url", "http://127.0.0.1:9", "--wait", "0"],
        "No server answers at http://127.0.0.1:9",
    ),
    "no node": (["film.mp4", "--url", "ftp://x"], "--url"),
    "output": (["film.mp4", "--output", "no/folder/x"], "--output no/folder/x"),
    "save": (["film.mp4", "--save", "no/folder/x.mp4"], "--save no/folder/x.mp4"),
    "web hook": (["film.mp4", "--webhook", "nowhere"], "--webhook"),
    "broker": (["film.mp4", "--mqtt", "mqtt://127.0.0.1:9/t"], "--mqtt mqtt://127.0.0.1:9/t"),
    "two servers": (["film.mp4", "--serve", "--url", "http://127.0.0.1:9"], "leave one of them out"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_ends_with_a_word_about_it(
    case: str, run: Any, shared_server: Any, tmp_path: Path, monkeypatch: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, one line that names it, nothing read."""
    monkeypatch.chdir(tmp_path)
    write_video("film.mp4", [0, 1])
    write_sound(tmp_path / "sound.wav")
    (tmp_path / "text.bin").write_bytes(b"\x00\x01" * 500)
    arguments, says = BAD[case]
    code, found, _ = run(*(each.replace("PAGE", shared_server.url) for each in arguments))
    told = capfd.readouterr().err
    assert code == 2, told
    assert says in told
    assert "Traceback" not in told
    assert "sesame" not in told
    assert found == []


def test_a_server_that_lets_nobody_in_is_an_error(
    live: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Without an access key, or with a wrong one; with a good one in the environment it is none."""
    film = write_video(tmp_path / "film.mp4", [0])
    key = add_key(tmp_path / "keys.json", "cam-1", ["infer"])
    server = live(key_file=str(tmp_path / "keys.json"), require_key="always")
    for given, code in (("", 2), (key[:-1] + "?", 2), (key, 0)):
        monkeypatch.setenv("LIKEWISE_ACCESS_KEY", given)
        assert main([str(film), "--function", "quadrants", "--url", server.url]) == code
        told = capfd.readouterr()
        assert ("(401)" in told.err) == (code == 2)
        assert not given or given not in told.out + told.err


def test_a_stream_over_tcp_is_watched_to_its_end(run: Any) -> None:
    """MPEG-TS that PyAV serves from a process; the latest frame wins, and each one is accounted for."""
    server, url = serve_tcp([at // 10 % 4 for at in range(40)])
    code, found, (counts,) = run(url, "--once", "--wait", 240)
    server.wait(240)
    assert code == 0
    assert counts["read"] == counts["sampled"] == counts["answered"] + counts["dropped"] == 40
    numbers = [each["frame"] for each in found]
    assert numbers == sorted(set(numbers))
    assert "position_s" not in found[0]


def test_it_starts_a_server_for_itself_where_wanted(
    functions_dir: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """And ends it; a folder that does not hold the function is named."""
    film, out = write_video(tmp_path / "film.mp4", [0, 1, 2, 3]), tmp_path / "out.jsonl"
    given = [str(film), "--serve", "--function", "quadrants", "--output", str(out)]
    assert main(given) == 2
    assert "`quadrants`" in capfd.readouterr().err
    assert main([*given, "--functions", str(functions_dir)]) == 0
    assert [each["frame"] for each in lines(out)] == [0, 1, 2, 3]
