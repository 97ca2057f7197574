"""A process of its own in which a model is tried, bounded in memory and time: a crash there is no crash here."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import orjson

from likewise.errors import InvalidFunction

MODULE = "likewise.onboarding.trials"


def ask(request: Mapping[str, Any], path: str, timeout_s: float) -> dict[str, Any]:
    """Return the answer of a process that does what a request asks.

    path: the model, for messages. Raises InvalidFunction, with the remedy, where it answers with an error, dies, or
    takes too long.
    """
    try:
        done = subprocess.run(  # noqa: S603 (this program again)
            [sys.executable, "-P", "-m", MODULE],
            input=orjson.dumps(request),
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise InvalidFunction(
            f"{path}: was not done in {timeout_s:g} s; raise --timeout, or give fewer inputs with --most"
        ) from None
    lines = done.stdout.splitlines()
    try:
        answer = orjson.loads(lines[-1])
    except (IndexError, orjson.JSONDecodeError):
        raise InvalidFunction(f"{path}: {_why(done.returncode, done.stderr)}") from None
    if not isinstance(answer, dict):
        raise InvalidFunction(f"{path}: {_why(done.returncode, done.stderr)}")
    if "error" in answer:
        raise InvalidFunction(str(answer["error"]))
    return answer


def _why(code: int, errors: bytes) -> str:
    """Return what ended a process."""
    said = (errors.decode("utf-8", "replace").strip().splitlines() or [""])[-1][:300]
    if code < 0:
        name = signal.Signals(-code).name if -code in {each.value for each in signal.Signals} else f"signal {-code}"
        return (
            f"ended the process that tried it ({name}); it needs more than --max-memory, or is damaged: export it again"
        )
    if "alloc" in said.lower() or "MemoryError" in said:
        return "needs more memory than --max-memory allows; raise it, or export a smaller model"
    return f"could not be tried: {said or f'exit code {code}'}; export it again"
