"""A process of its own for what a file from outside could break: reading it, loading it, running it.

The request comes as JSON on standard input, the answer goes as JSON to standard output; see `isolation`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import orjson

from likewise.errors import LikewiseError


def answer(request: dict[str, Any]) -> Any:
    """Return what a request asks for. Raises LikewiseError."""
    task = request["task"]
    if task == "describe":
        from likewise.estimation.graph import describe
        from likewise.inference.graphs import optimized, simplified

        return describe(Path(request["path"]), request["shapes"], request["batch"], simplified, optimized)
    from likewise.estimation import measuring

    if task == "measure":
        return measuring.measure(Path(request["path"]), request["shapes"], request["batch"], request["threads"])
    return measuring.memory_of(Path(request["path"]), request["threads"])


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
