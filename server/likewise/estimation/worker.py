"""A process of its own for what a file from outside could break: reading it, loading it, running it.

The request comes as JSON on standard input, the answer goes as JSON to standard output; see `isolation`.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from likewise.errors import LikewiseError
from likewise.processes import taken_bytes

SPARE_BYTES = 1 << 30
"""Address space that following a graph may take beyond"""
COPIES = 6
"""so many copies of it."""


def answer(request: dict[str, Any]) -> Any:
    """Return what a request asks for. Raises LikewiseError."""
    task = request["task"]
    if task == "describe":
        from likewise.estimation.graph import describe
        from likewise.inference.graphs import optimized, simplified

        path, shapes, batch = Path(request["path"]), request["shapes"], request["batch"]
        return describe(path, shapes, batch, simplified, optimized, partial(_settle, request["memory_bytes"]))
    from likewise.estimation import measuring

    if task == "measure":
        return measuring.measure(Path(request["path"]), request["shapes"], request["batch"], request["threads"])
    return measuring.memory_of(Path(request["path"]), request["threads"])


def _settle(most_bytes: int, graph_bytes: int) -> None:
    """Bound the memory by what a graph takes: a small one may claim constants of many gigabytes."""
    with suppress(OSError, ValueError):  # where the system does not tell
        _limit(min(most_bytes, taken_bytes() + SPARE_BYTES + COPIES * graph_bytes))


def main() -> None:
    """Read one request, write one answer."""
    request = orjson.loads(sys.stdin.buffer.read())
    _limit(request.get("memory_bytes", 0))
    try:
        found = {"answer": answer(request)}
    except LikewiseError as error:
        found = {"error": error.detail, "kind": type(error).__name__}
    except MemoryError:
        found = {"error": f"{request['path']}: takes more memory than there is for it", "kind": "InvalidFunction"}
    sys.stdout.buffer.write(orjson.dumps(found, option=orjson.OPT_SERIALIZE_NUMPY))


def _limit(size_bytes: int) -> None:
    """Let this process take so much address space at the most, where the system can do that."""
    if size_bytes and sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (size_bytes, resource.getrlimit(resource.RLIMIT_AS)[1]))
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


if __name__ == "__main__":
    main()
