"""The proxy, on real sockets."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace

from likewise_fleet.networks import NETWORKS
from likewise_fleet.proxy import PhoneLink

QUICK = replace(NETWORKS["good-wifi"], loss=0.0, longest_s=0.002, up_bps=1e9, down_bps=1e9)


@contextlib.asynccontextmanager
async def echoing():
    """A server that sends back what it gets, until its client has no more."""

    async def answer(reader, writer):
        while piece := await reader.read(1 << 16):
            writer.write(piece)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


def connect(link):
    host, port = link.url.removeprefix("http://").split(":")
    return asyncio.open_connection(host, int(port))


async def ended(link):
    """Whether a connection ends at once, with or without a reset."""
    with contextlib.suppress(ConnectionError):
        reader, writer = await connect(link)
        got = await reader.read(10)
        writer.close()
        return got == b""
    return True


async def test_bytes_go_both_ways_whole_in_order_and_counted():
    """Two connections of a phone at once, more bytes than are ever under way, an end behind them."""
    sent = bytes(range(256)) * 2000
    async with echoing() as url, PhoneLink(url, QUICK, "1") as link:

        async def talk():
            reader, writer = await connect(link)
            writer.write(sent)
            writer.write_eof()
            got = await reader.read(-1)
            writer.close()
            return got

        assert await asyncio.gather(talk(), talk()) == [sent, sent]
        assert (link.up_bytes, link.down_bytes) == (2 * len(sent), 2 * len(sent))


async def test_an_answer_takes_at_least_the_delay_of_both_directions():
    """The base delay, there and back; what the link took is told."""
    slow = replace(QUICK, base_s=0.03)
    async with echoing() as url, PhoneLink(url, slow, "1") as link:
        reader, writer = await connect(link)
        started = asyncio.get_running_loop().time()
        writer.write(b"ping")
        assert await reader.read(10) == b"ping"
        assert asyncio.get_running_loop().time() - started >= 0.06
        assert link.up_s + link.down_s >= 0.06
        writer.close()


async def test_without_network_and_without_server_connections_are_refused():
    """A client sees its connection end at once."""
    async with echoing() as url, PhoneLink(url, replace(QUICK, online_s=1e-6, offline_s=1e6), "1") as link:
        assert await ended(link)
    async with PhoneLink("http://127.0.0.1:9", QUICK, "1") as link:  # the discard port: nobody listens
        assert await ended(link)
        assert link.up_bytes == 0
