"""Recognize what a camera sees, frame by frame; most frames are answered from results that were computed before.

likewise serve --functions functions &
python examples/camera_app.py http://127.0.0.1:8080 --function signs --frames 200
python examples/camera_app.py http://127.0.0.1:8080 --camera 0      (a real one; takes opencv-python)

Without a camera the frames are drawn: signs that stay in view for a while, shake, and come back later.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise_client import Client, Event, Label, LikewiseClientError, TimedOut

Pixels = NDArray[np.uint8]
SIZE = 64
"""Width and height of the frames that are drawn, in pixels."""
DWELL = 20
"""Frames for which one sign stays in view."""
SIGNS = (
    ((200, 30, 40), (240, 240, 235), 1.0),
    ((30, 80, 180), (235, 240, 245), 0.5),
    ((230, 190, 40), (40, 40, 40), 0.3),
)
"""Color of the rim, color of the middle, and how much of the sign the middle takes."""


def drawn(frames: int, seed: int = 7) -> Iterator[Pixels]:
    """Yield frames, uint8 of shape (SIZE, SIZE, 3), in RGB."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:SIZE, 0:SIZE]
    for number in range(frames):
        rim, middle, share = SIGNS[(number // DWELL) % len(SIGNS)]
        top, left = SIZE / 2 + rng.uniform(-1, 1, 2)
        apart = np.hypot(rows - top, columns - left) / (SIZE / 2.4)
        frame = np.full((SIZE, SIZE, 3), 110.0)
        frame[apart <= 1] = rim
        frame[apart <= 0.7 * share**0.5] = middle
        yield np.clip(frame + rng.normal(0, 3, frame.shape), 0, 255).astype(np.uint8)


def filmed(camera: int, frames: int) -> Iterator[Pixels]:
    """Yield what a camera sees. Raises SystemExit where there is none."""
    try:
        import cv2
    except ImportError:
        raise SystemExit("--camera takes OpenCV: pip install opencv-python") from None
    source: Any = cv2.VideoCapture(camera)
    try:
        for _ in range(frames):
            seen, frame = source.read()
            if not seen:
                raise SystemExit(f"camera {camera} gives no frames")
            yield np.ascontiguousarray(frame[:, :, ::-1])
    finally:
        source.release()


def main() -> int:
    """Print what is seen whenever it changes, and in the end what reuse saved; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("url", nargs="?", default="http://127.0.0.1:8080")
    parser.add_argument("--function", default="signs")
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--camera", type=int, help="number of a camera; default: frames are drawn")
    parser.add_argument("--deadline", type=float, default=5.0, help="seconds after which a frame is of no use [5]")
    args = parser.parse_args()
    frames = drawn(args.frames) if args.camera is None else filmed(args.camera, args.frames)
    slowest: list[Event] = []

    def watch(event: Event) -> None:
        """Telemetry of the app: remember the slowest call."""
        if not slowest or event.latency_s > slowest[0].latency_s:
            slowest[:] = [event]

    last, answered, late, began = "", 0, 0, time.monotonic()
    with Client(args.url, device="camera-app", on_answer=watch) as client:
        for number, frame in enumerate(frames):
            try:
                answer = client.infer(args.function, frame, media_type="image/png", deadline_s=args.deadline)
            except TimedOut:  # the next frame is as good
                late += 1
                continue
            except LikewiseClientError as error:
                print(f"frame {number}: {error}", file=sys.stderr)
                return 1
            answered += 1
            seen = answer.as_(Label)
            if seen.label != last:
                last = seen.label
                print(f"frame {number}: {seen.label} ({seen.confidence:.0%}, {answer.outcome})")
        info, spent_s = client.cache_info(), time.monotonic() - began
    print(f"{answered} frames in {spent_s:.1f} s, {info.hits + info.coalesced} reused, {late} late")
    print(f"{info.bytes_sent / 1e3:.0f} kB sent, {info.mean_latency_s * 1e3:.1f} ms on average", end="")
    print(f", {slowest[0].latency_s * 1e3:.0f} ms at most" if slowest else "")
    return 0


if __name__ == "__main__":
    sys.exit(main())
