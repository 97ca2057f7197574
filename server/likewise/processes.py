"""Processes of their own for what files from outside could break: bounded in memory and time, and a crash is theirs.

A request goes as JSON to standard input, the answer comes as JSON in the last line of standard output.
"""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson

from likewise.errors import InvalidFunction, LikewiseError

try:
    import resource
except ImportError:  # not on Windows
    resource = None  # type: ignore[assignment]


def ask(
    module: str, request: Mapping[str, Any], path: str, timeout_s: float, *, late: str, memory: str
) -> dict[str, Any]:
    """Return the answer of a process that runs a module of this program; see `answer`.

    path: what errors are about. late, memory: the remedy where it takes too long, and what bounds its memory. Raises
    InvalidFunction, with the remedy, where it answers with an error, dies, or takes too long.
    """
    try:
        done = subprocess.run(  # noqa: S603 (this program again)
            [sys.executable, "-P", "-m", module],
            input=orjson.dumps({**request, "timeout_s": timeout_s}),
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise InvalidFunction(f"{path}: was not done in {timeout_s:g} s; {late}") from None
    lines = done.stdout.splitlines()
    try:
        found = orjson.loads(lines[-1])
    except (IndexError, orjson.JSONDecodeError):
        found = None
    if not isinstance(found, dict):
        raise InvalidFunction(f"{path}: {_why(done.returncode, done.stderr, memory)}")
    if "error" in found:
        raise InvalidFunction(str(found["error"]))
    return found


def _why(code: int, errors: bytes, memory: str) -> str:
    """Return what ended a process."""
    said = (errors.decode("utf-8", "replace").strip().splitlines() or [""])[-1][:300]
    if code < 0:
        name = signal.Signals(-code).name if -code in {each.value for each in signal.Signals} else f"signal {-code}"
        return f"ended the process that tried it ({name}); it needs more than {memory}, or is damaged: export it again"
    if "alloc" in said.lower() or "MemoryError" in said:
        return f"needs more memory than {memory} allows; raise it, or export a smaller model"
    return f"could not be tried: {said or f'exit code {code}'}; export it again"


def answer(work: Callable[[dict[str, Any]], Mapping[str, Any]], memory: str) -> None:
    """Answer the request on standard input: what such a process does.

    It has a bound on processor time, too, which holds where whoever asked has gone. work: returns the answer; may
    raise LikewiseError. memory: what bounds its memory, which is the `max_memory` of the request beyond what it has.
    """
    request = orjson.loads(sys.stdin.buffer.read())
    _limit(request["max_memory"], request["timeout_s"])
    try:
        done = work(request)
    except LikewiseError as error:
        done = {"error": error.detail}
    except MemoryError:
        done = {"error": f"the model needs more memory than {memory} allows; raise it, or export a smaller model"}
    sys.stdout.buffer.write(b"\n" + orjson.dumps(done, option=orjson.OPT_SERIALIZE_NUMPY) + b"\n")


def taken_bytes() -> int:
    """Return the address space that this process takes. Raises OSError or ValueError where the system does not tell."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def _limit(most: int, seconds: float) -> None:
    """Bound what is allocated from now on, where the system lets it be known and bounded, and processor time."""
    if resource is None or not sys.platform.startswith("linux"):
        return
    for what, limit in (
        (resource.RLIMIT_AS, taken_bytes() + most),
        (resource.RLIMIT_CPU, math.ceil(seconds) * (os.cpu_count() or 1)),
    ):
        hard = resource.getrlimit(what)[1]
        resource.setrlimit(what, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
