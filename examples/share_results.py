"""Devices share what they compute themselves: one works out a room from radio strengths, its neighbors reuse it.

likewise serve --functions examples/functions &
python examples/share_results.py http://127.0.0.1:8080
"""

from __future__ import annotations

import sys
import time

from likewise_client import Client

ROOMS = {"kitchen": (-40, -70, -80, -60), "hall": (-75, -45, -60, -70), "workshop": (-85, -65, -42, -50)}


def main(url: str) -> None:
    """Locate three devices, two of them in one room."""
    computed = []
    with Client(url) as client:

        @client.reuse("beacons", key=lambda strengths: strengths, ttl_s=60, tags=["ground floor"])
        def locate(strengths: list[float]) -> dict[str, str]:
            """Find the nearest room. A real one would solve for a position; this one takes a nap."""
            time.sleep(0.05)
            computed.append(strengths)
            nearest = min(ROOMS, key=lambda r: sum((a - b) ** 2 for a, b in zip(ROOMS[r], strengths, strict=True)))
            return {"label": nearest}

        for device, strengths in (
            ("phone", [-41.0, -69.0, -80.0, -61.0]),
            ("watch", [-40.5, -69.5, -80.5, -60.5]),
            ("robot", [-84.0, -66.0, -43.0, -50.0]),
        ):
            start = time.perf_counter()
            before = len(computed)
            label = locate(strengths)["label"]
            how = "computed" if len(computed) > before else "reused"
            print(f"{device}: {label}, {how} in {1000 * (time.perf_counter() - start):.1f} ms")
        print(f"computed {len(computed)} of 3")
        print(f"invalidated {client.invalidate('beacons', tag='ground floor')}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8080")
