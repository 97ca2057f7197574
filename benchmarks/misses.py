"""Rows that compute: what a miss costs beside its model, inference under load, and behavior far beyond capacity."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import thread_time
from typing import Any

import numpy as np

from benchmarks.judgement import Bar, Figure
from benchmarks.load import Request, Run, run
from benchmarks.lookups import alternate
from benchmarks.pictures import pictures
from benchmarks.processes import ROOT, SERVER_CORE, output_of
from benchmarks.served import Served, serving

MISS = Bar("miss", "miss: server time ÷ model time alone, one at a time", "ms", "model alone", 1.08, at_most=True)
BEHIND = Bar("miss/no-store", "miss: server time ÷ the same server, reuse off", "ms", "no-store", 1.05, at_most=True)
SATURATION = Bar("saturation", "misses: inferences ÷ ONNX Runtime with its best batch", "/s", "ONNX Runtime", 0.93)
OVERLOAD = Bar("overload", "3 times capacity: goodput ÷ peak", "/s", "peak", 0.90)

BATCHES = (1, 2, 4, 8, 16, 32)


def misses(
    folder: Path, wanted: Callable[[Bar], bool], runs: int, quick: bool, name: str = "signs"
) -> Iterator[Figure]:
    """Yield the rows of misses, of a function in `functions/`."""
    source = ROOT / "functions" / name
    bars = [bar for bar in (MISS, BEHIND, SATURATION, OVERLOAD) if wanted(bar)]
    if not (source / "1" / "model.onnx").is_file():
        yield from (Figure(bar, note=f"functions/{name}/1/model.onnx is not there") for bar in bars)
        return
    functions = folder / "miss-functions"
    functions.mkdir()
    (functions / name).mkdir()
    (functions / name / "1").symlink_to(source / "1")
    text = (source / "function.toml").read_text()
    reuse = '\n[capacity]\nentries = 20000\n[reuse]\npolicy = "fixed"\n[reuse.options]\nthreshold = 0.0\n'
    bodies = pictures(100 if quick else 3000, 48, seed=9)
    seconds = 0.3 if quick else 3.0
    with serving(folder / "miss", {name: text.partition("\n[reuse]")[0] + reuse}, functions=functions) as served:
        request = Request(f"/v1/functions/{name}/infer", "image/png", bodies, served.headers)
        off = Request(request.path, "image/png", bodies, {**served.headers, "Cache-Control": "no-store"})

        def load(which: Request, connections: int) -> Run:
            return run(served.child, served.port, which, seconds, connections=connections)

        def alone(batches: str) -> dict[str, float]:
            command = [sys.executable, "-m", "benchmarks.misses", str(functions / name), batches, str(seconds)]
            found: dict[str, float] = json.loads(output_of(command, SERVER_CORE, 600, folder / "alone.log"))
            return found

        def fresh(which: Request, connections: int) -> float:
            served.ask("DELETE", f"/v1/functions/{name}/entries?all=true")
            return load(which, connections).per_core_s

        if wanted(MISS) or wanted(BEHIND):
            ours, bypass, model = alternate(
                runs,
                lambda: 1000 / fresh(request, 1),
                lambda: 1000 / fresh(off, 1),
                lambda: 1000 / alone("1")["1"],
            )
            _all_misses(served, name)
            yield Figure(
                MISS, ours, model, note="CPU time of the whole server process, HTTP and keeping the entry included"
            )
            yield Figure(BEHIND, ours, bypass)
        if wanted(SATURATION):
            best: list[str] = []

            def runtime() -> float:
                found = alone(",".join(map(str, BATCHES)) if not best else best[0])
                best[:] = best or [max(found, key=lambda size: found[size])]
                return found[best[0]]

            ours, theirs = alternate(runs, lambda: fresh(request, 16), runtime)
            yield Figure(SATURATION, ours, theirs, note=f"ONNX Runtime's best batch here: {best[0]}")
        if wanted(OVERLOAD):
            yield _overload(load, served, off, runs, quick)


def _all_misses(served: Served, name: str) -> None:
    outcomes = served.outcomes(name)
    assert not outcomes["hit"], f"misses were to be measured, but there were hits: {outcomes}"


def _overload(load: Any, served: Served, request: Request, runs: int, quick: bool) -> Figure:
    refusals: list[float] = []

    def peak() -> Run:
        return load(request, 16)  # type: ignore[no-any-return]

    def flooded() -> float:
        capacity = peak()
        offered = 3 * capacity.answers / capacity.seconds
        seen = run(
            served.child, served.port, request, 1.0 if quick else 5.0, connections=64 if quick else 900, rate=offered
        )
        if seen.refusal_s:
            refusals.append(seen.refusal_s["p50"])
        return seen.per_core_s

    ours, theirs = alternate(1 if quick else runs, flooded, lambda: peak().per_core_s)
    said = f"refused with 503 in {np.median(refusals) * 1000:.1f} ms (median)" if refusals else "nothing was refused"
    return Figure(OVERLOAD, ours, theirs, note=said)


def main() -> None:
    """Print inferences a second of CPU time by batch size: FOLDER SIZES SECONDS."""
    from likewise.function.assembly import Assembler, Defaults
    from likewise.inference.runner import ModelRunner
    from likewise.inference.workers import Workers

    with tempfile.TemporaryDirectory():
        assembler = Assembler(Defaults(), Workers(None, 1), None, lambda: 0.0, lambda: 0.5)  # type: ignore[arg-type]
        function = assembler.build(Path(sys.argv[1]))
    assert isinstance(function.runner, ModelRunner)
    batcher = function.runner._batcher
    bodies = pictures(64, 48, seed=3)
    values = [batcher._prepare(function.reader.read_now("image/png", body).value) for body in bodies]
    batches = {
        size: np.stack([values[i % len(values)] for i in range(size)]) for size in map(int, sys.argv[2].split(","))
    }
    times: dict[int, list[float]] = {size: [] for size in batches}
    for batch in batches.values():
        batcher._model.run(batch)
    until = thread_time() + float(sys.argv[3]) / 2 * len(batches)
    while thread_time() < until or any(len(each) < 3 for each in times.values()):
        for size, batch in batches.items():  # in turn, so that a machine that is slow for a while is so for all of them
            started = thread_time()
            batcher._model.run(batch)
            times[size].append(thread_time() - started)
    found = {str(size): size / float(np.mean(each)) for size, each in times.items()}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
