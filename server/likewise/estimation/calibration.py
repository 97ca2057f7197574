"""A machine's costs, measured: small networks are run through ONNX Runtime, and each of their layers is timed.

What layers read is in the processor's cache where it would be within a network, and weights are not, since all of a
network's are used in turn. No network of a user's is looked at.
"""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx

from likewise.estimation.arena import held
from likewise.estimation.cost import LEAST_US, Costs, fit, non_negative
from likewise.estimation.features import Features, coldness, features
from likewise.estimation.graph import followed
from likewise.estimation.isolation import asked
from likewise.estimation.networks import TINY, memory_networks, networks, tiny
from likewise.estimation.profiles import Profile, processor
from likewise.inference.graphs import Timed, optimized, profiled
from likewise.types import Tensor

SECONDS = 0.08
"""For one network, each of the two times that it is run."""
LEAST_RUNS, MOST_RUNS, MOST_ROUNDS = 8, 40, 200
"""Of one network, for layers and as a whole."""
USUAL_BYTES = (300_000.0, 8_000.0)
"""Of a loaded model, and of each layer, where the system does not tell."""


def calibrate(threads: int) -> Profile:
    """Return this machine's profile; takes some seconds."""
    costs, run_us = _costs(threads)
    session, layer = _memory(threads)
    return Profile(
        "this machine", processor(), version("onnxruntime"), threads, costs, run_us, session, layer,
        about=f"measured with {threads} thread{'s'[: threads > 1]}",
    )  # fmt: skip


def _costs(threads: int) -> tuple[Costs, float]:
    """Return the costs of this machine's layers, and the µs of a run without any."""
    layer_us, run_us, wrapped = _overheads(threads)
    samples: list[tuple[Features, float, float | None]] = []
    for net in networks():
        model = net.model()
        network = followed(onnx.load_model_from_string(optimized(model, "calibration")), {})
        by_name = layer_times(model, net.feeds, threads)
        cold, total = coldness(network.footprint), 0.0
        given, found = set(network.inputs), list[tuple[Features, float]]()
        for layer in network.layers:
            each = features(layer, network, cold)
            if each is None or layer.name not in by_name:
                continue
            us = max(by_name[layer.name] - wrapped + layer_us, LEAST_US)
            total += us
            if cold < 0.5 or not given.intersection(layer.inputs):
                found.append((each, us))
        slower = None
        if len(by_name) == len(network.layers):
            slower = max(run_time(model, net.feeds, threads) - run_us, LEAST_US) / total
        samples += [(each, us, slower) for each, us in found]
    usual = float(np.median([slower for *_, slower in samples if slower is not None]))
    return fit((each, us * (slower or usual)) for each, us, slower in samples), run_us


def steady(times: list[float]) -> float:
    """Return the mean of the faster half: what others do on the machine only adds."""
    faster = np.sort(times)[: max(1, (len(times) + 1) // 2)]
    return float(faster.mean())


def layer_times(model: bytes, feeds: Mapping[str, Tensor], threads: int) -> dict[str, float]:
    """Return the µs of each layer of a model by its name, those left out whose name is another's too."""
    started = time.perf_counter()
    events = profiled(
        model, feeds, threads,
        lambda done: done < LEAST_RUNS or (done < MOST_RUNS and time.perf_counter() - started < SECONDS),
    )  # fmt: skip
    times: dict[str, list[float]] = defaultdict(list)
    for event in events:
        times[str(event["name"]).removesuffix("_kernel_time")].append(float(event["dur"]))
    runs = min(map(len, times.values()), default=0)  # a name that is another's too comes more often
    return {name: steady(each[2:]) for name, each in times.items() if len(each) == runs}


def _memory(threads: int) -> tuple[float, float]:
    """Return the bytes of a loaded model beside weights and tensors: those of any, and those of each layer."""
    rows, more = list[tuple[float, float]](), list[float]()
    for net in (tiny(4), *memory_networks()):
        model = net.model()
        network = followed(onnx.load_model_from_string(optimized(model, "calibration")), {})
        with tempfile.TemporaryDirectory(prefix="likewise-") as folder:
            path = Path(folder) / "model.onnx"
            path.write_bytes(model)
            found = asked({"task": "memory", "path": str(path), "threads": threads})
        if found is None:
            return USUAL_BYTES
        weights = sum(each.size_bytes for each in network.values.values() if each.weight)
        rows.append((1 / found["ran"], len(network.layers) / found["ran"]))
        more.append((found["ran"] - weights - held(network)) / found["ran"])
    session, layer = non_negative(np.array(rows), np.array(more))
    return float(session), float(layer)


def _overheads(threads: int) -> tuple[float, float, float]:
    """Return the µs of a layer that does next to nothing, of a run without layers, and of such a layer in a profile."""
    short, long = tiny(4), tiny(TINY)
    took = [run_time(net.model(), net.feeds, threads) for net in (short, long)]
    layer_us = max(LEAST_US, (took[1] - took[0]) / (TINY - 4))
    wrapped = float(np.median([*layer_times(long.model(), long.feeds, threads).values()]))
    return layer_us, max(0.0, took[0] - 5 * layer_us), wrapped


def run_time(model: bytes, feeds: Mapping[str, Tensor], threads: int) -> float:
    """Return the µs of a whole run: processor time for one thread, else time on the clock."""
    clock = time.thread_time if threads == 1 else time.perf_counter
    timed = Timed(model, threads)
    timed.run(feeds)
    times: list[float] = []
    until = time.perf_counter() + SECONDS
    while len(times) < LEAST_RUNS or (len(times) < MOST_ROUNDS and time.perf_counter() < until):
        started = clock()
        timed.run(feeds)
        times.append((clock() - started) * 1e6)
    return float(np.median(times))
