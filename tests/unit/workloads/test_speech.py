from __future__ import annotations

import io
import itertools
import wave
from pathlib import Path

import numpy as np
import pytest

from likewise.errors import InvalidValue
from likewise.workloads.speech import Speech, find_recordings, resay


def samples_of(body: bytes) -> np.ndarray:
    with wave.open(io.BytesIO(body)) as reader:
        assert reader.getframerate() == 8000
        return np.frombuffer(reader.readframes(reader.getnframes()), "<i2").astype(float)


def test_the_stream_plays_every_recording_once_as_it_is(recordings: Path) -> None:
    """The first pass sends the files' own bytes, each with its digit."""
    files = {r.path.read_bytes(): r for r in find_recordings(recordings)}
    stream = Speech(recordings).stream(None, 0, 4)
    assert {s.body for s in stream} == set(files)
    assert len(stream) == 24
    assert all(s.truth == files[s.body].digit and s.held_out == (files[s.body].number % 2 == 1) for s in stream)
    assert {s.media_type for s in stream} == {"audio/wav"}


def test_names_with_underscores_are_speakers_too(recordings: Path) -> None:
    """Only the first and the last underscore part a file's name."""
    assert {r.speaker for r in find_recordings(recordings)} == {"ada", "max_b"}


@pytest.mark.parametrize(("devices", "expected"), [(1, {0}), (2, {0, 1}), (5, {0, 1, 2, 3, 4})])
def test_speakers_keep_to_their_own_phones(recordings: Path, devices: int, expected: set[int]) -> None:
    """With a phone or more for each speaker, none is shared; with fewer, all are used."""
    speakers = {r.path.read_bytes(): r.speaker for r in find_recordings(recordings)}
    stream = Speech(recordings).stream(200, 0, devices)
    assert {s.device for s in stream} == expected
    if devices > 1:
        owners = {(s.device % 2, speakers[s.body]) for s in stream if s.body in speakers}
        assert owners == {(0, "ada"), (1, "max_b")}


def test_blocks_play_one_speaker_after_another(recordings: Path) -> None:
    """The speaker changes exactly once among two; mixed, far more often."""
    speakers = {r.path.read_bytes(): r.speaker for r in find_recordings(recordings)}

    def changes(block: bool) -> int:
        order = [speakers[s.body] for s in Speech(recordings, block=block).stream(None, 0, 2)]
        return sum(a != b for a, b in itertools.pairwise(order))

    assert changes(block=True) == 1
    assert changes(block=False) > 3


def test_one_seed_gives_one_stream(recordings: Path) -> None:
    """Equal arguments, equal bytes, replays included; another seed, another order."""
    speech = Speech(recordings)
    assert speech.stream(60, 1, 3) == speech.stream(60, 1, 3)
    assert speech.stream(60, 1, 3) != speech.stream(60, 2, 3)


def test_longer_streams_never_repeat_a_body(recordings: Path) -> None:
    """Replays differ from the recordings and from each other."""
    stream = Speech(recordings).stream(100, 0, 4)
    assert len({s.body for s in stream}) == 100


def test_held_out_only_plays_odd_recordings(recordings: Path) -> None:
    """Half of the recordings are left, all held out."""
    stream = Speech(recordings, held_out_only=True).stream(None, 0, 4)
    assert len(stream) == 12
    assert all(s.held_out for s in stream)


def test_a_folder_without_held_out_recordings_is_refused(recordings: Path) -> None:
    """The error says that odd numbers are missing."""
    for recording in find_recordings(recordings):
        if recording.held_out:
            recording.path.unlink()
    with pytest.raises(InvalidValue, match="odd number"):
        Speech(recordings, held_out_only=True)


def test_a_replay_is_alike(recordings: Path) -> None:
    """Said again, a recording correlates with itself at some small delay, at a gain within 2 dB."""
    body = find_recordings(recordings)[0].path.read_bytes()
    original = samples_of(body)
    for seed in range(10):
        again = samples_of(resay(body, np.random.default_rng(seed)))
        match = np.correlate(again, original, "full").max()
        assert match / np.sqrt((again**2).sum() * (original**2).sum()) > 0.9
        assert 0.75 < np.abs(again).max() / np.abs(original).max() < 1.35


def wav(width: int) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(width)
        writer.setframerate(8000)
        writer.writeframes(bytes(width * 10))
    return out.getvalue()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param(b"RIFFnonsense", "cannot|not a WAV", id="not-wav"),
        pytest.param(b"", "not a WAV", id="empty"),
        pytest.param(wav(1), "8 bits", id="8-bit"),
    ],
)
def test_what_cannot_be_replayed_is_refused(body: bytes, message: str) -> None:
    """The error names the recording and what is wrong with it."""
    with pytest.raises(InvalidValue, match=message):
        resay(body, np.random.default_rng(0))


def test_very_short_recordings_can_be_replayed() -> None:
    """Ten samples, less than the largest shift, still make a WAV file."""
    for seed in range(10):
        assert len(samples_of(resay(wav(2), np.random.default_rng(seed)))) >= 1
