"""What type checkers must see in the client's API; checked by mypy --strict, never run."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, assert_type

import numpy as np

from likewise_client import (
    Answer,
    AsyncClient,
    AsyncInserts,
    CacheInfo,
    Client,
    Computed,
    Entry,
    Inserted,
    Inserts,
    Label,
    Page,
    Retry,
    Reused,
    Sound,
)

client = Client(["http://a:1", "http://b:1"], access_key="k", timeout_s=1.0, retry=Retry(rounds=2))
anext_ = AsyncClient("http://a:1")

assert_type(client.infer("f", b"", media_type="image/png"), Answer)
assert_type(client.infer("f", Path("a.png"), cache="no-store"), Answer)
assert_type(client.infer("f", np.zeros(3), max_age_s=3), Answer)
assert_type(client.lookup("f", key=[1.0, 2.0]), Answer)
assert_type(client.lookup("f", keys=np.zeros((2, 3))), list[Answer])
assert_type(client.lookup("f", input=b"", media_type="audio/wav"), Answer)
assert_type(client.insert("f", {"label": "a"}, key=[1.0], ticket=client.lookup("f", key=[1.0]).ticket), Inserted)
assert_type(client.invalidate("f", tag="t"), int)
assert_type(client.insert_many("f", [Computed(1, [1.0])]), list[Inserted])
assert_type(client.lookup("f", keys=[[1.0]], max_age_s=3), list[Answer])
assert_type(client.page("f"), Page)
assert_type(list(client.entries("f")), list[Entry])
assert_type(client.register("f", "", {"model.onnx": Path("m.onnx")}), dict[str, Any])

assert_type(client.infer("f", Sound([0.0], 16000), deadline_s=0.5).as_(Label), Label)
assert_type(client.inserts("f", when_full="drop"), Inserts)
assert_type(anext_.inserts("f"), AsyncInserts)
assert_type(client.cache_info(), CacheInfo)

client.inserts("f", when_full="explode")  # type: ignore[arg-type]
client.infer("f", b"", cache="sometimes")  # type: ignore[arg-type]
client.lookup("f")  # type: ignore[call-overload]
client.lookup("f", key=[1.0], input=b"")  # type: ignore[call-overload]
Client("http://a:1", no_such_setting=1)  # type: ignore[call-arg]
client.reuse("f", no_such_option=1)  # type: ignore[call-arg]


@client.reuse("f", key=lambda text: [len(text)], ttl_s=3.0)
def recognize(text: str) -> int:
    return len(text)


assert_type(recognize, Reused[str, int])
assert_type(recognize("a"), int)
assert_type(recognize.cache_info(), CacheInfo)
recognize(3)  # type: ignore[arg-type]


@anext_.reuse("f")
async def recognize_later(text: str) -> int:
    return len(text)


assert_type(recognize_later, Reused[str, Coroutine[Any, Any, int]])


async def later() -> None:
    """Awaited, the same types."""
    assert_type(await anext_.infer("f", b""), Answer)
    await anext_.infer("f", b"", cache="sometimes")  # type: ignore[arg-type]
    await anext_.lookup("f")  # type: ignore[call-overload]
    assert_type(await asyncio.create_task(anext_.lookup("f", key=[1.0])), Answer)
    assert_type(await asyncio.create_task(anext_.insert("f", 1, key=[1.0])), Inserted)
    assert_type([entry async for entry in anext_.entries("f")], list[Entry])
    assert_type(await anext_.insert_many("f", []), list[Inserted])
    assert_type(await anext_.lookup("f", keys=[[1.0]]), list[Answer])
    assert_type(await recognize_later("a"), int)
