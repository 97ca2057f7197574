"""A TCP proxy between one phone and the server, which makes real sockets behave like a network."""

from __future__ import annotations

import asyncio
from collections import deque
from random import Random
from time import monotonic
from typing import Self
from urllib.parse import urlsplit

from likewise_fleet.link import Direction, Spells
from likewise_fleet.networks import Network

_PIECE = 16 << 10
_AHEAD = 64 << 10
"""Bytes under way at most, in each direction of a connection: the sender waits, as for a window."""


class PhoneLink:
    """Listens on loopback for one phone while the block runs, and counts its bytes."""

    def __init__(self, server_url: str, network: Network, seed: str) -> None:
        """Set up. seed: delays, loss and spells follow from it."""
        where = urlsplit(server_url)
        self._host, self._port = str(where.hostname), int(where.port or 80)
        self._network = network
        self._rng = Random(seed)
        self._spells = Spells(network, Random(f"{seed} spells"), monotonic())
        self._tasks: set[asyncio.Task[None]] = set()
        self.url = ""
        self.up_bytes = 0
        """Bytes from the phone so far, heads and bodies of HTTP."""
        self.down_bytes = 0
        self.up_s = 0.0
        """How long the last bytes from the phone are under way."""
        self.down_s = 0.0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        now = monotonic()
        if self._spells.until(now) > now:  # no network: the connection is refused
            writer.transport.abort()
            return
        task = asyncio.ensure_future(self._carry(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: writer.close())  # also where it was canceled before it began

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(self._host, self._port)
        except OSError:  # the server is down
            writer.transport.abort()
            return
        pumps = [
            asyncio.ensure_future(self._pump(reader, far_writer, self._network.up_bps, True)),
            asyncio.ensure_future(self._pump(far_reader, writer, self._network.down_bps, False)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            far_writer.close()
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, bps: float, up: bool) -> None:
        """Carry bytes until the sender has no more, and the end behind them."""
        direction = Direction(self._network, bps, self._rng, self._spells.until)
        under_way: deque[tuple[float, bytes]] = deque()
        more, room = asyncio.Event(), asyncio.Event()

        async def take() -> None:
            while piece := await reader.read(_PIECE):
                now = monotonic()
                arrival = direction.arrival(now, len(piece))
                if up:
                    self.up_bytes += len(piece)
                    self.up_s = arrival - now
                else:
                    self.down_bytes += len(piece)
                    self.down_s = arrival - now
                under_way.append((arrival, piece))
                more.set()
                while sum(len(each) for _, each in under_way) > _AHEAD:
                    room.clear()
                    await room.wait()
            under_way.append((direction.arrival(monotonic(), 0), b""))
            more.set()

        async def deliver() -> None:
            piece = b"-"
            while piece:
                while not under_way:
                    more.clear()
                    await more.wait()
                due, piece = under_way[0]
                await asyncio.sleep(due - monotonic())
                under_way.popleft()
                room.set()
                writer.write(piece)
                await writer.drain()
            writer.write_eof()

        async with asyncio.TaskGroup() as both:
            both.create_task(take())
            both.create_task(deliver())
