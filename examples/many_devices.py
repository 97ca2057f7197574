"""Ten devices at once over one asynchronous client, many keys in one lookup, and tickets by hand.

likewise serve --functions examples/functions &
python examples/many_devices.py http://127.0.0.1:8080
"""

from __future__ import annotations

import asyncio
import sys

import numpy as np

from likewise_client import AsyncClient


async def main(url: str) -> None:
    """Let ten devices look up where they are, with other noise each time, and insert what they had to compute."""
    rng = np.random.default_rng(7)
    places = rng.uniform(-90, -40, size=(10, 4)).astype(np.float32)

    async with AsyncClient(url) as client:

        async def insert(number: int, key: np.ndarray, ticket: str | None) -> None:
            # the ticket tells the server what this lookup would have needed
            await client.insert("beacons", {"label": f"place {number}"}, key=key, cost_s=0.05, ticket=ticket)

        found = right = 0
        for _ in range(50):
            keys = places + rng.normal(0, 0.2, size=places.shape).astype(np.float32)
            answers = await client.lookup("beacons", keys=keys)
            await asyncio.gather(*(insert(i, keys[i], each.ticket) for i, each in enumerate(answers) if not each.found))
            found += sum(each.found for each in answers)
            right += sum(each.result == {"label": f"place {i}"} for i, each in enumerate(answers) if each.found)
        print(f"{found} of 500 found by noisy keys, {right} right")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8080"))
