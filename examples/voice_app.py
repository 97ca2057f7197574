"""Listen to spoken commands; what was said before, here or on another device, is not computed again.

likewise serve --functions functions &
python examples/voice_app.py http://127.0.0.1:8080 --function speech --commands 60
python examples/voice_app.py http://127.0.0.1:8080 --microphone      (a real one; takes the package sounddevice)

Without a microphone the words are made up of a few tones each, spoken at other moments and as loud as it comes, and
silence lies between them, which is not sent.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise_client import AsyncClient, Label, LikewiseClientError, Sound

Samples = NDArray[np.int16]
RATE = 8000
"""Samples in a second."""
QUIET = 400.0
"""Root mean square up to which a second of 16 bit samples is silence."""
WORDS = ((300, 620, 410), (700, 350, 900), (250, 240, 1100), (820, 810, 330))
"""Made-up words: the tones of each, in Hz, one after another."""


async def made_up(count: int, seed: int = 3) -> AsyncIterator[Samples]:
    """Yield seconds of sound, shape (RATE,), every third of them silent."""
    rng = np.random.default_rng(seed)
    spoken = 0
    while spoken < count:
        if rng.random() < 1 / 3:
            yield (rng.normal(0, 20, RATE)).astype(np.int16)
            continue
        spoken += 1
        tones = WORDS[int(rng.integers(len(WORDS)))]
        time_s = np.arange(RATE // 5) / RATE
        word = np.concatenate([np.sin(2 * np.pi * tone * time_s) * np.hanning(len(time_s)) for tone in tones])
        sound = rng.normal(0, 20, RATE)
        start = int(rng.integers(0, 400))
        sound[start : start + len(word)] += rng.uniform(6000, 9000) * word
        yield sound.astype(np.int16)


async def heard(count: int) -> AsyncIterator[Samples]:
    """Yield what a microphone hears, second by second. Raises SystemExit where there is none."""
    try:
        import sounddevice  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        raise SystemExit("--microphone takes the package sounddevice: pip install sounddevice") from None
    recorder: Any = sounddevice
    for _ in range(count):
        recorded = await asyncio.to_thread(
            lambda: recorder.rec(RATE, samplerate=RATE, channels=1, dtype="int16", blocking=True)
        )
        yield recorded[:, 0]


async def listen(url: str, function: str, sounds: AsyncIterator[Samples]) -> int:
    """Print each command; return the exit code."""
    said: Counter[str] = Counter()
    silent = 0
    async with AsyncClient(url, device="voice-app") as client:
        async for samples in sounds:
            if np.sqrt(np.mean(samples.astype(float) ** 2)) < QUIET:
                silent += 1
                continue
            try:
                answer = await client.infer(function, Sound(samples, RATE), deadline_s=10)
            except LikewiseClientError as error:
                print(error, file=sys.stderr)
                return 1
            command = answer.as_(Label)
            said[command.label] += 1
            print(f"{command.label} ({command.confidence:.0%}, {answer.outcome})")
        info = client.cache_info()
    reused = info.hits + info.coalesced
    print(f"{sum(said.values())} commands, {reused} reused; {silent} seconds of silence were not sent")
    return 0


def main() -> int:
    """Listen as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("url", nargs="?", default="http://127.0.0.1:8080")
    parser.add_argument("--function", default="speech")
    parser.add_argument("--commands", type=int, default=60)
    parser.add_argument("--microphone", action="store_true", help="listen to one; default: words are made up")
    args = parser.parse_args()
    sounds = heard(args.commands) if args.microphone else made_up(args.commands)
    return asyncio.run(listen(args.url, args.function, sounds))


if __name__ == "__main__":
    sys.exit(main())
