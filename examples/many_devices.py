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
    """Insert what ten devices measured, then look all of it up with other noise."""
    rng = np.random.default_rng(7)
    places = rng.uniform(-90, -40, size=(10, 4)).astype(np.float32)

    async with AsyncClient(url) as client:

        async def device(number: int) -> None:
            answer = await client.lookup("beacons", key=places[number])
            if not answer.found:  # the ticket tells the server what this lookup would have needed
                result = {"label": f"place {number}"}
                await client.insert("beacons", result, key=places[number], cost_s=0.05, ticket=answer.ticket)

        await asyncio.gather(*(device(number) for number in range(10)))
        answers = await client.lookup("beacons", keys=places + rng.normal(0, 0.2, size=places.shape))
        right = sum(answer.result == {"label": f"place {i}"} for i, answer in enumerate(answers))
        print(f"{right} of {len(answers)} found by noisy keys")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8080"))
