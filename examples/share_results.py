"""Devices share what they compute themselves: one works out a room from radio strengths, its neighbors reuse it.

likewise serve --functions examples/functions &
python examples/share_results.py http://127.0.0.1:8080
"""

from __future__ import annotations

import random
import sys
import time

from likewise_client import Client

ROOMS = {"kitchen": (-40, -70, -80, -60), "hall": (-75, -45, -60, -70), "workshop": (-85, -65, -42, -50)}
REQUESTS = 400


def main(url: str) -> None:
    """Locate devices that move between three rooms; each measures a little noise."""
    rng = random.Random(7)
    computed = []
    right = 0
    with Client(url) as client:

        @client.reuse("beacons", key=lambda strengths: strengths, ttl_s=60, tags=["ground floor"])
        def locate(strengths: list[float]) -> dict[str, str]:
            """Find the nearest room. A real one would solve for a position; this one takes a nap."""
            time.sleep(0.005)
            computed.append(strengths)
            nearest = min(ROOMS, key=lambda r: sum((a - b) ** 2 for a, b in zip(ROOMS[r], strengths, strict=True)))
            return {"label": nearest}

        for _ in range(REQUESTS):
            room = rng.choice(list(ROOMS))
            right += locate([strength + rng.gauss(0, 1) for strength in ROOMS[room]])["label"] == room
        # at first all is computed: the server has to see that near keys have equal results before it reuses any
        print(f"computed {len(computed)} of {REQUESTS}, {right} right")
        print(f"invalidated {client.invalidate('beacons', tag='ground floor')}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8080")
