"""Rows over HTTP that the cache answers: lookups as bytes, as JSON, in batches, and `infer` of a picture."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
import tomllib
import venv
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np

from benchmarks import in_process
from benchmarks.judgement import Bar, Figure
from benchmarks.load import Request, Run, run, run_wrk
from benchmarks.pictures import altered, pictures
from benchmarks.processes import ROOT, SERVER_CORE, Child, Failed, free_port
from benchmarks.served import DEFAULT, DIMENSION, FIXED, RESULT_BYTES, Served, clustered, result, serving, spec

ECHO = Bar("lookup/echo", "lookup, one binary key, hits ÷ bare echo", "/s", "bare ASGI echo", 0.50)
FASTAPI = Bar("lookup/fastapi", "lookup, one binary key, hits ÷ FastAPI with FAISS", "/s", "FastAPI with FAISS", 2.0)
GPTCACHE = Bar("lookup/gptcache", "lookup, one binary key, hits ÷ GPTCache's server", "/s", "GPTCache's server", 80.0)
AS_JSON = Bar("lookup-json", "lookup, one key as JSON, hits ÷ bare echo", "/s", "bare ASGI echo", 0.30)
BATCH = Bar("lookup-batch", "lookup, 256 keys a request ÷ FAISS HNSW batch", "keys/s", "raw FAISS HNSW", 0.60)
PICTURE = Bar("infer-hit", "infer, hit, a 32 × 32 PNG that came before ÷ bare echo", "/s", "bare ASGI echo", 0.2)
NEW_PICTURE = Bar(
    "infer-hit/new", "infer, hit, a new 32 × 32 PNG, tiny CNN key ÷ bare echo", "/s", "bare ASGI echo", 0.2
)

BYTES = "application/octet-stream"
GPTCACHE_HOME = Path.home() / ".cache" / "likewise-benchmarks" / "gptcache"
GPTCACHE_NEEDS = (
    "gptcache==0.1.44",
    "openai<1",
    "faiss-cpu",
    "sqlalchemy",
    "fastapi",
    "uvicorn",
)


@contextmanager
def bare(folder: Path, kind: str, *arguments: str) -> Iterator[tuple[Child, int]]:
    """Run one of the servers in `bare` on the server's core."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.bare", kind, str(port), *arguments]
    with Child(command, SERVER_CORE, folder / f"{kind}.log") as child:
        child.wait_for_port(port)
        yield child, port


def alternate(runs: int, *sides: Callable[[], float]) -> list[list[float]]:
    """Run the sides in turn, after one turn that does not count; return the values of each side."""
    values: list[list[float]] = [[] for _ in sides]
    for turn in range(runs + 1):
        for side, kept in zip(sides, values, strict=True):
            value = side()
            if turn or runs == 1:
                kept.append(value)
    return values


class Filled:
    """A server with entries in a function of the default policy and in one of a fixed threshold."""

    def __init__(self, served: Served, folder: Path, quick: bool) -> None:
        self.served = served
        self.quick = quick
        self.folder = folder
        filled = 300 if quick else 10_000
        for function in ("standard", "fixed"):
            served.fill(function, filled)
        served.settle()
        self.hit_rate = served.warm("standard", rounds=3 if quick else 200)
        served.settle()
        self.keys, self.labels = clustered(4096, 3)
        self.results = folder / "results.json"
        self.results.write_text(json.dumps([result(label) for label in self.labels.tolist()]))

    def rate(self, function: str, media_type: str, bodies: Sequence[bytes], seconds: float, wrk: bool) -> Run:
        """Load one of the functions and return the run; only hits count. Raises Failed where few are hits."""
        before = self.served.outcomes(function)
        request = self.served.lookup(function, media_type, bodies)
        if wrk:
            seen = run_wrk(self.served.child, self.served.port, request, seconds)
        else:
            tickets = {
                "path": f"/v1/functions/{function}/entries",
                "headers": {"Content-Type": "application/json", **self.served.headers},
                "results": str(self.results),
            }
            seen = run(self.served.child, self.served.port, request, seconds, tickets=tickets)
        after = self.served.outcomes(function)
        hits = after["hit"] - before["hit"]
        answers = sum(after.values()) - sum(before.values())
        if hits < (0.99 if function == "fixed" else 0.7) * answers and not self.quick:
            raise Failed(f"only {hits} of {answers} lookups of {function} were hits")
        return replace(seen, hit_rate=hits / max(1, answers))


def _echo(child: Child, port: int, media_type: str, bodies: Sequence[bytes], headers: Mapping[str, str], wrk: bool,
          seconds: float) -> Run:  # fmt: skip
    request = Request("/v1/functions/echo/lookup", media_type, bodies, headers)
    return (run_wrk if wrk else run)(child, port, request, seconds)


def lookups(folder: Path, wanted: Callable[[Bar], bool], runs: int, quick: bool) -> Iterator[Figure]:
    """Yield the rows of lookups."""
    seconds = 0.2 if quick else 1.5
    with ExitStack() as stack:
        specs = {"standard": spec(DEFAULT, 20_000), "fixed": spec(FIXED, 20_000)}
        filled = Filled(stack.enter_context(serving(folder, specs)), folder, quick)
        headers = filled.served.headers
        echo, echo_port = stack.enter_context(bare(folder, "echo"))
        bodies = [key.tobytes() for key in filled.keys]
        keys_file = folder / "keys.f32"
        clustered(300 if quick else 10_000, 1)[0].tofile(keys_file)
        seen: list[Run] = []

        def lookup() -> float:
            seen.append(filled.rate("fixed", BYTES, bodies, seconds, wrk=False))
            return seen[-1].per_core_s

        if wanted(ECHO) or wanted(FASTAPI):
            fastapi, fastapi_port = stack.enter_context(
                bare(folder, "fastapi", str(keys_file), str(DIMENSION), str(RESULT_BYTES))
            )
            ours, theirs, route = alternate(
                runs,
                lookup,
                lambda: _echo(echo, echo_port, BYTES, bodies, headers, False, seconds).per_core_s,
                lambda: run(fastapi, fastapi_port, Request("/lookup", BYTES, bodies, headers), seconds).per_core_s,
            )
            standard = filled.rate("standard", BYTES, bodies, seconds, wrk=False)
            note = (
                f"policy fixed, so that all are hits; {seen[-1].share:.0%} of the core in the last run, median latency "
                f"{seen[-1].latency_s['p50'] * 1e6:.0f} µs; default policy, with the inserts of its probes and "
                f"misses ({1 - standard.hit_rate:.1%}): {standard.per_core_s:,.0f} /s"
            )
            yield Figure(ECHO, ours, theirs, note=note)
            yield Figure(FASTAPI, ours, route)
        if wanted(GPTCACHE):
            yield _gptcache(folder, filled, keys_file, lookup, runs, quick)
        if wanted(AS_JSON):
            short = [json.dumps({"key": [round(x, 6) for x in key.tolist()]}).encode() for key in filled.keys]
            ours, theirs = alternate(
                runs,
                lambda: filled.rate("fixed", "application/json", short, seconds, wrk=True).per_core_s,
                lambda: _echo(echo, echo_port, "application/json", short, headers, True, seconds).per_core_s,
            )
            size = len(short[0])
            yield Figure(AS_JSON, ours, theirs, note=f"{size} bytes a key")
        if wanted(BATCH):
            blocks = [filled.keys[i : i + 256].tobytes() for i in range(0, 4096, 256)]
            ours, theirs = alternate(
                runs,
                lambda: 256 * filled.rate("fixed", BYTES, blocks, seconds, wrk=True).per_core_s,
                lambda: in_process.ask(folder, "batch", 300 if quick else 10_000, seconds),
            )
            yield Figure(BATCH, ours, theirs)


def _gptcache(folder: Path, filled: Filled, keys: Path, lookup: Callable[[], float], runs: int, quick: bool) -> Figure:
    """Return the row against GPTCache's own server, or why it could not be run."""
    try:
        python = gptcache_python(folder, install=not quick)
        port = free_port()
        store = folder / "gptcache-store"
        command = [str(python), "-P", str(ROOT / "benchmarks" / "rival.py"), str(port), str(keys), str(DIMENSION)]
        command += [str(RESULT_BYTES), str(store)]
        with Child(command, SERVER_CORE, folder / "gptcache.log") as child:
            child.wait_for_port(port, 600)
            bodies = [json.dumps({"prompt": base64.b64encode(key.tobytes()).decode()}).encode() for key in filled.keys]
            request = Request("/get", "application/json", bodies, {})
            ours, theirs = alternate(runs, lookup, lambda: run(child, port, request, 2.0, connections=4).per_core_s)
    except Failed as error:
        return Figure(GPTCACHE, note=f"GPTCache could not be run here: {error}")
    return Figure(GPTCACHE, ours, theirs, note="GPTCache with SQLite and FAISS, reports off, embedding free")


def gptcache_python(folder: Path, install: bool) -> Path:
    """Return the Python of an environment that has GPTCache, made once. Raises Failed."""
    python = GPTCACHE_HOME / "bin" / "python"
    stamp = GPTCACHE_HOME / ".installed"
    if stamp.is_file() and stamp.read_text() == " ".join(GPTCACHE_NEEDS):
        return python
    if not install:
        raise Failed("not installed yet, and a quick run installs nothing")
    print("  installing GPTCache into an environment of its own (once)", flush=True)
    shutil.rmtree(GPTCACHE_HOME, ignore_errors=True)
    venv.create(GPTCACHE_HOME, with_pip=True)
    with (folder / "pip.log").open("wb") as log:
        command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *GPTCACHE_NEEDS]
        if subprocess.run(command, stdout=log, stderr=log, timeout=900, check=False).returncode:
            raise Failed(f"pip: {(folder / 'pip.log').read_text(errors='replace')[-300:]}")
    stamp.write_text(" ".join(GPTCACHE_NEEDS))
    return python


def infer_hits(folder: Path, wanted: Callable[[Bar], bool], runs: int, quick: bool) -> Iterator[Figure]:
    """Yield the rows of `infer` answered from the cache: of the very pictures that came before, and of new ones.

    New ones differ from those in one number, so each is decoded and its key made. Each run has 8,000 of its own, more
    than `seen_bytes` has room for, asked for in a circle: none is still known when it comes again.
    """
    seconds = 0.2 if quick else 1.5
    source = ROOT / "functions" / "signs"
    if not (source / "1" / "key.onnx").is_file():
        yield from (Figure(bar, note="functions/signs/1/key.onnx is not there") for bar in (PICTURE, NEW_PICTURE))
        return
    key = tomllib.loads((source / "function.toml").read_text())["keys"][0]
    functions = folder / "picture-functions"
    (functions / "signs" / "1").mkdir(parents=True)
    shutil.copy(source / "1" / "key.onnx", functions / "signs" / "1" / "key.onnx")
    lines = "".join(f"{name} = {json.dumps(value)}\n" for name, value in key.items())
    text = f'[input]\nkind = "image"\n[[keys]]\n{lines}[reuse]\npolicy = "fixed"\n[reuse.options]\nthreshold = 0.02\n'
    bodies = pictures(60 if quick else 1000, 32, seed=5)
    with (
        serving(folder / "picture", {"signs": text}, functions=functions) as served,
        bare(folder, "echo") as (echo, port),
    ):
        served.insert(
            "signs",
            [
                {"input_base64": base64.b64encode(body).decode(), "input_media_type": "image/png", "result": result(i)}
                for i, body in enumerate(bodies)
            ],
        )
        served.settle()
        versions = 1 if quick else 8
        for bar in (PICTURE, NEW_PICTURE):
            if not wanted(bar):
                continue
            turns = count()

            def ours(bar: Bar = bar, turns: Iterator[int] = turns) -> float:
                sent = bodies if bar is PICTURE else altered(bodies, versions, versions * next(turns))
                request = Request("/v1/functions/signs/infer", "image/png", sent, served.headers)
                seen = run_wrk(served.child, served.port, request, seconds)
                if served.outcomes("signs")["miss"]:
                    raise Failed("not all pictures were hits")
                return seen.per_core_s

            values, bases = alternate(
                runs, ours, lambda: _echo(echo, port, "image/png", bodies, served.headers, True, seconds).per_core_s
            )
            yield Figure(bar, values, bases, note=f"{int(np.mean([len(body) for body in bodies]))} bytes a picture")
