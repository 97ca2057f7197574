"""Addresses, sampling, handing over, waiting: the parts of `likewise watch` that need neither camera nor server."""

from __future__ import annotations

import itertools
import random
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from likewise.errors import SettingsError
from likewise_watch.address import addresses
from likewise_watch.backoff import Backoff
from likewise_watch.handoff import Handoff
from likewise_watch.sampler import Sampler


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://admin:sesame@10.0.0.7:554/h264/ch1", "rtsp://10.0.0.7:554/h264/ch1"),
        ("http://10.0.0.7/video.cgi?user=admin&pwd=sesame#sesame", "http://10.0.0.7/video.cgi"),
        ("rtsp://10.0.0.7/user=admin_password=sesame_channel=1.sdp", "rtsp://10.0.0.7/…"),
        ("rtsp://10.0.0.7/a/user%3Dsesame/b", "rtsp://10.0.0.7/a/…/b"),
        ("rtsp://admin:sesame@[::1]:8554/x", "rtsp://[::1]:8554/x"),
        ("rtsp://admin:sesame@host:notaport/x", "rtsp://…"),
        ("rtsp://admin:ses/ame@host/x", "rtsp://…"),
        ("rtsp://admin:x@ses/ame@host/x", "rtsp://…"),
    ],
)
def test_credentials_of_a_url_are_never_shown(url: str, shown: str) -> None:
    """Neither in what is printed nor in the stream's name; what is opened has them."""
    (found,) = addresses([url])
    assert (found.shown, found.target) == (shown, url)
    assert "sesame" not in found.name
    assert "admin" not in found.name


@given(
    st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF), max_size=20),
    st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF), max_size=20),
)
def test_no_password_gets_through_whatever_it_is_made_of(before: str, after: str) -> None:
    """Also one with signs that URLs give a meaning to."""
    secret = f"{before}Sesame{after}"
    (found,) = addresses([f"rtsp://user:{secret}@camera.example/stream"])
    assert "sesame" not in (found.shown + found.name).lower()


def test_each_source_has_a_name_of_its_own(tmp_path: Path) -> None:
    """Given, or after its file or address, with a number where that is taken."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "film.mp4").touch()
    films = [str(tmp_path / name / "film.mp4") for name in ("a", "b")]
    found = addresses([*films, "tcp://h:1/x y", str(tmp_path / "a" / "film.mp4")], ["film-2"])
    assert [each.name for each in found] == ["film-2", "film", "h:1/x-y", "film-3"]
    assert [each.kind for each in found] == ["file", "file", "network", "file"]


@pytest.mark.parametrize("names", [["a", "b"], ["", "b"], ["ä"], ["a" * 101], ["a b"]])
def test_names_that_cannot_be_used_are_refused(names: list[str]) -> None:
    """More than sources, the same twice, or what the protocol does not take."""
    with pytest.raises(SettingsError, match="--name"):
        addresses(["tcp://h:1"], names)
    with pytest.raises(SettingsError, match="--name"):
        addresses(["tcp://h:1", "tcp://h:2"], ["a", "a"])


@pytest.mark.parametrize("source", ["/no/such/film.mp4", "", "\0", "/dev/video77", "."])
def test_a_file_that_is_not_there_is_named(source: str) -> None:
    """At once, before anything is started."""
    with pytest.raises(SettingsError):
        addresses([source])


def test_what_is_read_from_a_network_cannot_name_files_here(tmp_path: Path) -> None:
    """FFmpeg follows what playlists name; which protocols it may is said unless the user says so."""
    (tmp_path / "a.mp4").touch()
    stream, file = addresses(["http://h/list.m3u8", str(tmp_path / "a.mp4")])
    assert "file" not in stream.options["protocol_whitelist"].split(",")
    assert set(file.options["protocol_whitelist"].split(",")).isdisjoint({"http", "https", "tcp"})
    (own,) = addresses(["http://h/list.m3u8"], options={"protocol_whitelist": "file,http,tcp"})
    assert own.options["protocol_whitelist"] == "file,http,tcp"


@given(
    st.floats(0.5, 60),
    st.lists(st.floats(0.001, 0.5), min_size=1, max_size=200),
)
def test_a_rate_is_never_exceeded_and_taken_where_there_are_frames(rate: float, gaps: list[float]) -> None:
    """Over any time; where frames come more often than needed none is missed for longer than two intervals."""
    sampler = Sampler(rate)
    at, taken = 0.0, []
    for gap in gaps:
        if sampler.takes(at):
            taken.append(at)
        at += gap
    span = (at - gaps[-1]) - taken[0]
    assert len(taken) <= span * rate + 1.5 + 1e-6
    assert all(b - a <= 2.01 / rate + 0.5 for a, b in itertools.pairwise(taken))


@pytest.mark.parametrize(("rate", "wanted"), [(30, 60), (10, 20), (5, 10), (3, 6), (1, 2), (29.97, 60), (60, 60)])
def test_a_recording_is_sampled_evenly(rate: float, wanted: int) -> None:
    """Two seconds of thirty frames, stamped in milliseconds as some files have it."""
    sampler = Sampler(rate)
    assert sum(sampler.takes(round(at / 30, 3)) for at in range(60)) == wanted


def test_a_camera_that_trembles_is_taken_whole_at_its_own_rate() -> None:
    """Frames that come somewhat early or late are frames all the same."""
    rng = random.Random(1)
    sampler = Sampler(30.0)
    assert sum(sampler.takes(at / 30 + rng.uniform(-0.008, 0.008)) for at in range(300)) > 280


def test_a_source_that_begins_anew_is_sampled_on() -> None:
    """Where time stamps jump back, the next frame is taken."""
    sampler = Sampler(1.0)
    assert [sampler.takes(at) for at in (100.0, 100.5, 101.0, 0.0, 0.5, 1.0)] == [True, False, True, True, False, True]


def test_the_latest_frame_wins() -> None:
    """A full queue drops its oldest, and counts it; the writer never waits."""
    frames: Handoff[int] = Handoff(1, latest=True)
    assert all(frames.put(each) for each in range(5))
    assert frames.newer()
    frames.end()
    assert (frames.get(), frames.get(), frames.replaced) == (4, None, 4)


def test_of_a_file_no_frame_is_lost() -> None:
    """The writer waits for the reader; order is kept."""
    frames: Handoff[int] = Handoff(2, latest=False)

    def write() -> None:
        for each in range(100):
            frames.put(each)
        frames.end()

    thread = threading.Thread(target=write)
    thread.start()
    got = []
    while (each := frames.get()) is not None:
        got.append(each)
    thread.join()
    assert got == list(range(100))
    assert frames.replaced == 0


@pytest.mark.parametrize("latest", [True, False])
def test_stopping_wakes_both_sides(latest: bool) -> None:
    """A writer before a full queue, and a reader before an empty one."""
    full: Handoff[int] = Handoff(1, latest)
    empty: Handoff[int] = Handoff(1, latest)
    full.put(0)
    ended = []
    threads = [
        threading.Thread(target=lambda: ended.append(full.put(1) and not latest)),
        threading.Thread(target=lambda: ended.append(empty.get())),
    ]
    for each in threads:
        each.start()
    full.stop()
    empty.stop()
    for each in threads:
        each.join(60)
    assert sorted(map(str, ended)) == ["False", "None"]
    assert full.get() is None


def test_waits_double_up_to_a_limit_and_begin_anew() -> None:
    """Between half and all of each."""
    backoff = Backoff(random.Random(0), first_s=1.0, max_s=5.0)
    waits = [backoff.next_s() for _ in range(40)]
    for longest, wait in zip([1, 2, 4, 5, *[5] * 36], waits, strict=True):
        assert longest / 2 <= wait <= longest
    backoff.reset()
    assert backoff.next_s() <= 1.0
