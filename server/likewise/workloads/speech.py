"""Spoken digits: the Free Spoken Digit Dataset, a phone or several for each speaker."""

from __future__ import annotations

import io
import re
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from likewise.errors import InvalidValue
from likewise.workloads.sample import Sample, check_stream_arguments, data_folder

LAYOUT = "fsdd/recordings"
SOURCE = "https://github.com/Jakobovski/free-spoken-digit-dataset"
_FILE_NAME = re.compile(r"(?P<digit>\d)_(?P<speaker>.+)_(?P<number>\d+)\.wav")


@dataclass(frozen=True, slots=True)
class Recording:
    """One spoken digit."""

    path: Path
    digit: str
    speaker: str
    number: int

    @property
    def held_out(self) -> bool:
        """True where nothing was trained on it: every other recording number."""
        return self.number % 2 == 1


def find_recordings(data: Path | None, workload: str = "speech") -> list[Recording]:
    """Return the recordings under `data`, in the order of their names.

    Raises InvalidValue if there are none, with where to get them.
    """
    folder = data_folder(data, LAYOUT, workload, SOURCE)
    found = [
        Recording(path, match["digit"], match["speaker"], int(match["number"]))
        for path in sorted(folder.glob("*.wav"))
        if (match := _FILE_NAME.fullmatch(path.name))
    ]
    if not found:
        raise InvalidValue(
            f"The workload {workload} found no {{digit}}_{{speaker}}_{{number}}.wav in {folder}. "
            f"Get them from {SOURCE}, and name the folder that holds {LAYOUT}/ with --data DIR or LIKEWISE_DATA."
        )
    return found


def resay(body: bytes, rng: np.random.Generator, *, name: str = "recording") -> bytes:
    """Return a WAV file that sounds like `body` and is not equal to it: other gain, start and noise.

    body: 16-bit PCM. Gain within ±2 dB, start within ±20 ms, white noise 40 dB below the loudest sample.
    Raises InvalidValue, with `name`, where it is something else.
    """
    try:
        with wave.open(io.BytesIO(body)) as reader:
            parameters = reader.getparams()
            frames = reader.readframes(parameters.nframes)
    except (wave.Error, EOFError) as error:
        raise InvalidValue(f"{name} is not a WAV file that can be read: {error}.") from error
    if parameters.sampwidth != 2:
        raise InvalidValue(f"{name} has {8 * parameters.sampwidth} bits a sample; 16-bit PCM is needed.")
    sound = np.frombuffer(frames, "<i2").reshape(-1, parameters.nchannels).astype(np.float64)
    reach = int(0.02 * parameters.framerate)
    start = int(rng.integers(-reach, reach + 1))
    padding = np.zeros((abs(start), parameters.nchannels))
    sound = np.concatenate([padding, sound]) if start >= 0 else sound[min(-start, max(len(sound) - 1, 0)) :]
    loudest = float(np.abs(sound).max(initial=1.0))
    sound = sound * 10 ** (rng.uniform(-2, 2) / 20) + rng.normal(0, 0.01 * loudest, sound.shape)
    out = io.BytesIO()
    with wave.open(out, "wb") as writer:
        writer.setparams(parameters)
        writer.writeframes(np.clip(np.rint(sound), -32768, 32767).astype("<i2").tobytes())
    return out.getvalue()


class Speech:
    """Every recording once; longer streams say them again, a little differently.

    "speech" mixes the speakers, "speech-block" plays one speaker after another, in a seeded order.
    Each speaker owns the devices whose number leaves the speaker's number when divided by the number of speakers.
    """

    function = "speech"

    def __init__(self, data: Path | None, *, block: bool = False, held_out_only: bool = False) -> None:
        """List the recordings. Raises InvalidValue if there are none."""
        self.name = "speech-block" if block else "speech"
        self._block = block
        found = find_recordings(data, self.name)
        self._recordings = [r for r in found if r.held_out or not held_out_only]
        if not self._recordings:
            raise InvalidValue(
                f"The workload {self.name} has no recording with an odd number, the half not trained on; "
                f"--data or LIKEWISE_DATA should name a copy of {SOURCE} with several recordings per speaker."
            )
        self._speakers = sorted({r.speaker for r in found})

    def stream(self, requests: int | None, seed: int, devices: int) -> Sequence[Sample]:
        """Return the recordings as WAV files; see `Workload.stream`."""
        check_stream_arguments(requests, seed, devices)
        rng = np.random.default_rng([seed, 2])
        total = len(self._recordings) if requests is None else requests
        phones = self._phones(devices)
        bodies = {r.path: r.path.read_bytes() for r in self._recordings}
        samples: list[Sample] = []
        again = False
        while len(samples) < total:
            for recording in self._ordered(rng)[: total - len(samples)]:
                body = bodies[recording.path]
                if again:
                    body = resay(body, rng, name=str(recording.path))
                device = int(rng.choice(phones[recording.speaker]))
                samples.append(Sample(device, body, "audio/wav", recording.digit, recording.held_out))
            again = True
        return samples

    def _phones(self, devices: int) -> dict[str, list[int]]:
        count = len(self._speakers)
        return {speaker: list(range(i, devices, count)) or [i % devices] for i, speaker in enumerate(self._speakers)}

    def _ordered(self, rng: np.random.Generator) -> list[Recording]:
        shuffled = [self._recordings[i] for i in rng.permutation(len(self._recordings))]
        if self._block:
            turn = {self._speakers[i]: t for t, i in enumerate(rng.permutation(len(self._speakers)))}
            shuffled.sort(key=lambda r: turn[r.speaker])
        return shuffled
