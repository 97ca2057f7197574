"""Load on a server: what to send, from wrk or from our own client, and how much the server got done.

A rate is answers per second of the server's own core: answers divided by the CPU seconds that its process spent. Where
the server has its core to itself and the load keeps it busy, that is answers per second; where other work takes turns
on the core, answers per second tell about the neighbors, and this still tells about the server.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.processes import LOAD_CORE, Child, Failed, output_of

CONNECTIONS = 16


@dataclass(frozen=True, slots=True)
class Request:
    """One kind of POST request, with the bodies that are sent in turn."""

    path: str
    media_type: str
    bodies: Sequence[bytes]
    headers: Mapping[str, str]

    def written(self, folder: Path) -> dict[str, Any]:
        """Return it as a job for the client, its bodies in a file."""
        file = folder / f"{abs(hash((self.path, self.media_type, len(self.bodies))))}.bodies"
        file.write_bytes(b"".join(self.bodies))
        return {
            "path": self.path,
            "headers": {"Content-Type": self.media_type, **self.headers},
            "bodies": str(file),
            "lengths": [len(body) for body in self.bodies],
        }


@dataclass(frozen=True, slots=True)
class Run:
    """What a server did under load for a while."""

    answers: int
    """Answers with status 200, without those to returned tickets."""
    seconds: float
    core_s: float
    """CPU seconds that the server spent."""
    by: str
    """The load generator."""
    statuses: Mapping[str, int]
    latency_s: Mapping[str, float]
    refusal_s: Mapping[str, float]
    side_done: int = 0
    right_in_time: int = 0
    """Answers that are right and came before the deadline, and such as are wrong, where the client was told which are.
    """
    wrong: int = 0
    hit_rate: float = 1.0

    @property
    def per_core_s(self) -> float:
        """Answers per second of the server's core."""
        return self.answers / max(self.core_s, 0.005)  # the clock ticks a hundred times a second

    @property
    def share(self) -> float:
        """How much of its core the server used."""
        return self.core_s / self.seconds


def run(
    server: Child, port: int, request: Request, seconds: float, *, connections: int = CONNECTIONS, **job: Any
) -> Run:
    """Load a server with our own client. job: rate, side, side_rate, tickets, wanted, deadline, as in `client.Load`."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "side" in job:
            job["side"] = job["side"].written(folder)
        given = {
            "port": port,
            "connections": connections,
            "seconds": seconds,
            "request": request.written(folder),
            **job,
        }
        (folder / "job.json").write_text(json.dumps(given))
        before = server.cpu_s()
        command = [sys.executable, "-m", "benchmarks.client", str(folder / "job.json")]
        seen = json.loads(output_of(command, LOAD_CORE, seconds + 90, folder / "log"))
        spent = server.cpu_s() - before
    answers = seen["statuses"].get("200", 0)
    return Run(
        answers,
        seen["seconds"],
        spent,
        "own client",
        seen["statuses"],
        seen["latency_s"],
        seen["refusal_s"],
        seen["side_done"],
        seen["right_in_time"],
        seen["wrong"],
    )


def run_wrk(server: Child, port: int, request: Request, seconds: float, *, connections: int = CONNECTIONS) -> Run:
    """Load a server with wrk where it is installed, else with our own client."""
    if shutil.which("wrk") is None:
        return run(server, port, request, seconds, connections=connections)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        given = request.written(folder)
        script = folder / "load.lua"
        script.write_text(lua(given))
        before = server.cpu_s()
        url = f"http://127.0.0.1:{port}{request.path}"
        command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "-s", str(script), url]
        printed = output_of(command, LOAD_CORE, seconds + 60, folder / "log")
        spent = server.cpu_s() - before
    found = re.search(r"(\d+) requests in ([\d.]+)(s|m)", printed)
    if found is None or ("Socket errors: connect 0, read 0, write 0" not in printed and "Socket errors" in printed):
        raise Failed(f"wrk: {printed[-300:]}")
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", printed)
    answers = int(found[1]) - (int(refused[1]) if refused else 0)
    return Run(answers, float(found[2]), spent, "wrk", {"200": answers}, {}, {})


def lua(given: Mapping[str, Any]) -> str:
    """Return the script with which wrk sends what `Request.written` returned, one body after the other."""
    headers = "".join(
        f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}\n" for name, value in given["headers"].items()
    )
    return f"""
local requests, at = {{}}, 0
{headers}
init = function(args)
  local file = io.open({json.dumps(given["bodies"])}, "rb")
  for i, length in ipairs({{{",".join(map(str, given["lengths"]))}}}) do
    requests[i] = wrk.format("POST", nil, nil, file:read(length))
  end
  file:close()
end
request = function()
  at = at % #requests + 1
  return requests[at]
end
"""
