from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from likewise.errors import InvalidValue
from likewise.workloads.sample import Sample
from likewise.workloads.sign_names import SIGN_NAMES, sign_name
from likewise.workloads.signs import Signs, find_tracks, load_picture, reshoot


def pixels(body: bytes) -> np.ndarray:
    picture = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return picture


def sources(data: Path, stream: list[Sample]) -> list[int]:
    """Return which track each sample shows, by the closest photograph of the same size."""
    tracks = find_tracks(data)
    pictures = [(i, load_picture(path)) for i, track in enumerate(tracks) for path in track.frames]
    found = []
    for sample in stream:
        shown = pixels(sample.body).astype(float)
        even = shown / shown.mean()
        distances = {
            i: np.abs(even - picture / picture.mean()).mean() for i, picture in pictures if picture.shape == shown.shape
        }
        found.append(min(distances, key=lambda i: distances[i]))
    return found


def test_tracks_come_in_order_with_all_their_frames(photographs: Path) -> None:
    """Classes, tracks and frames are found by their names, whatever order the folder lists them in."""
    tracks = find_tracks(photographs)
    assert [(t.class_id, t.number) for t in tracks] == [(c, n) for c in (0, 14, 42) for n in range(6)]
    assert all([p.stem[-1] for p in t.frames] == list("01234") for t in tracks)
    assert [t.held_out for t in tracks[:4]] == [False, True, False, True]


@pytest.mark.parametrize("kind", ["junction", "drift", "cold"])
def test_streams_show_held_out_tracks_alone(photographs: Path, kind: str) -> None:
    """Every sample is marked held out, and shows a track with an odd number and the true class."""
    stream = list(Signs(photographs, kind).stream(60, 0, 4))
    tracks = find_tracks(photographs)
    assert len(stream) == 60
    assert all(s.held_out and s.media_type == "image/png" for s in stream)
    for sample, i in zip(stream, sources(photographs, stream), strict=True):
        assert tracks[i].number % 2 == 1
        assert sample.truth == sign_name(tracks[i].class_id)


@pytest.mark.parametrize("kind", ["junction", "drift", "cold"])
def test_one_seed_gives_one_stream(photographs: Path, kind: str) -> None:
    """Equal arguments, equal bytes; another seed, another stream."""
    signs = Signs(photographs, kind)
    assert signs.stream(100, 5, 3) == signs.stream(100, 5, 3)
    assert signs.stream(100, 5, 3) != signs.stream(100, 6, 3)


@pytest.mark.parametrize("kind", ["junction", "cold"])
def test_no_two_requests_are_equal(photographs: Path, kind: str) -> None:
    """The same photograph never comes twice bit for bit."""
    stream = Signs(photographs, kind).stream(300, 0, 4)
    assert len({s.body for s in stream}) == 300


def test_a_pass_shows_three_to_five_consecutive_frames(photographs: Path) -> None:
    """One car's samples fall into runs of rising frames of one track."""
    stream = list(Signs(photographs, "junction").stream(80, 0, 1))
    frames = [(pixels(s.body).shape[1] - 20) // 4 for s in stream]
    runs, last = [], -2
    for frame, track in zip(frames, sources(photographs, stream), strict=True):
        if (frame, track) == (last + 1, runs[-1][0] if runs else -1) and runs[-1][1] < 5:
            runs[-1] = (track, runs[-1][1] + 1)
        else:
            runs.append((track, 1))
        last = frame
    assert all(3 <= length <= 5 for _, length in runs[:-1])
    assert len(runs) >= 16


def test_popular_signs_come_more_often(photographs: Path) -> None:
    """Zipf's law: of nine signs the first has about a third of the passes, the last a twenty-fifth."""
    stream = list(Signs(photographs, "junction").stream(600, 0, 4))
    shown = sources(photographs, stream)
    counts = sorted((shown.count(i) for i in set(shown)), reverse=True)
    assert counts[0] > 2.5 * counts[-1]
    assert 0.2 < counts[0] / 600 < 0.55


def test_all_devices_drive(photographs: Path) -> None:
    """Each of 20 cars sends."""
    assert {s.device for s in Signs(photographs, "junction").stream(400, 0, 20)} == set(range(20))


def test_drift_brings_new_signs_in_less_light(photographs: Path) -> None:
    """No track of the first half comes in the second, which is less than half as bright."""
    stream = list(Signs(photographs, "drift").stream(120, 0, 4))
    shown = sources(photographs, stream)
    assert not set(shown[:60]) & set(shown[60:])
    light = [pixels(s.body).mean() for s in stream]
    assert 0.3 < np.mean(light[60:]) / np.mean(light[:60]) < 0.6


def test_cold_plays_every_photograph_before_any_again(photographs: Path) -> None:
    """3 classes × 3 tracks × 5 frames, as they are."""
    stream = Signs(photographs, "cold").stream(45, 0, 4)
    taken = {load_picture(p).tobytes() for t in find_tracks(photographs) if t.held_out for p in t.frames}
    assert {pixels(s.body).tobytes() for s in stream} == taken


def test_an_unasked_length_is_4000(photographs: Path) -> None:
    """Streams of signs have no natural end."""
    assert len(Signs(photographs, "junction", signs=3).stream(None, 0, 8)) == 4000


def test_a_folder_with_trained_tracks_alone_is_refused(photographs: Path) -> None:
    """The error says that odd tracks are missing."""
    for track in find_tracks(photographs):
        if track.held_out:
            for path in track.frames:
                path.unlink()
    with pytest.raises(InvalidValue, match="odd number"):
        Signs(photographs, "cold")


def test_a_broken_photograph_is_refused_by_name(photographs: Path) -> None:
    """The error names the file."""
    broken = next(t for t in find_tracks(photographs) if t.held_out).frames[0]
    broken.write_bytes(b"P6 nonsense")
    with pytest.raises(InvalidValue, match=broken.name):
        Signs(photographs, "cold").stream(45, 0, 1)


def test_a_later_shot_is_alike() -> None:
    """A moment later the sign has moved by a pixel at most and is about as bright."""
    picture = cv2.resize(np.random.default_rng(0).integers(60, 180, (4, 4, 3), dtype=np.uint8), (32, 32))
    for seed in range(10):
        later = reshoot(picture, np.random.default_rng(seed))
        assert later.shape == picture.shape
        assert 0.9 < later.mean() / picture.mean() < 1.1
        assert np.corrcoef(later.ravel(), picture.ravel())[0, 1] > 0.9


def test_every_class_has_a_name_of_its_own() -> None:
    """43 names, none twice; ids beyond them are numbered."""
    assert len(set(SIGN_NAMES)) == 43
    assert sign_name(14) == "stop"
    assert sign_name(43) == "class 43"
