"""Networks made and measured: each way at the strongest setting that keeps what it loses within a limit."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic

from likewise.compression.counts import count
from likewise.compression.examples import Examples, Task
from likewise.compression.measures import Judged, Row, judge, judge_file, latencies
from likewise.compression.methods import Method
from likewise.compression.network import Network
from likewise.compression.packing import pack
from likewise.errors import LikewiseError
from likewise.files import PUBLIC, write_atomic

FULL = "model"
CHOOSING = 600
"""Inputs that a setting is chosen by."""
LOSSES_TRAINED = 15.0
"""Points that a network may lose before it is trained further: more than that is rarely regained."""

Train = Callable[[Network], Network]


@dataclass(frozen=True, slots=True)
class Made:
    """A network that is smaller."""

    name: str
    category: str
    how: str
    network: Network
    seconds: float


class Workshop:
    """Makes networks of one, and files of them."""

    def __init__(self, network: Network, task: Task, folder: Path, limit: float, threads: int = 1) -> None:
        """Set up. folder: for files, which has to be there; limit: points that may be lost."""
        self.network, self.task, self.folder = network, task, folder
        self._limit, self._threads = limit, threads
        self._choosing = task.chosen.spread(CHOOSING)
        self._full = judge(task, self._choosing, self._choosing.outputs)
        logging.getLogger().addFilter(_quiet)  # ONNX Runtime's tools advise what is done already

    def loss(self, network: Network, examples: Examples | None = None) -> float:
        """Return the points that a network loses, by the inputs that settings are chosen by."""
        path = self.folder / ".trial.onnx"
        try:
            write_atomic(path, network.to_bytes(), PUBLIC)
            chosen = examples or self._choosing
            full = self._full if examples is None else judge(self.task, chosen, chosen.outputs)
            return judge_file(self.task, chosen, path, network.outputs, self._threads).loss(full)
        finally:
            path.unlink(missing_ok=True)

    def strongest(self, method: Method, limit: float, network: Network | None = None) -> tuple[Network, float, float]:
        """Return what a way makes of a network at the strongest setting within a limit, that setting and the loss.

        Where even the mildest loses more, it is that one. Raises LikewiseError where the way does not apply.
        """
        best: tuple[Network, float, float] | None = None
        refused: LikewiseError | None = None
        for strength in method.strengths:
            try:
                made = method.make(network or self.network, self.task, strength)
                loss = self.loss(made)
            except LikewiseError as error:
                refused = error
                continue
            if best is None or loss <= limit:
                best = made, strength, loss
            if loss > limit:
                break
        if best is None:
            assert refused is not None
            raise refused
        return best

    def make(self, method: Method, train: Train | None = None) -> list[Made]:
        """Return what a way makes: as it is, and where it can be trained, trained at a stronger setting."""
        began = monotonic()
        found = []
        if not method.needs_torch:
            made, strength, _ = self.strongest(method, self._limit)
            found.append(Made(method.name, method.category, method.how(strength), made, monotonic() - began))
        if train is not None and (method.trains or method.needs_torch):
            began = monotonic()
            made, strength, _ = self.strongest(method, LOSSES_TRAINED)
            trained = train(made)
            name = method.name if method.needs_torch else f"{method.name}+training"
            found.append(Made(name, method.category, method.how(strength), trained, monotonic() - began))
        return found

    def rows(self, made: Sequence[Made]) -> list[Row]:
        """Write the file of each network, packed beside it, and return all figures; the full model's first."""
        names = self.network.outputs
        judged = self.task.judged
        full = judge(self.task, judged, judged.outputs)
        whole = Made(FULL, "", "", self.network, 0.0)
        rows: list[Row] = []
        paths = [self.task.path]
        for each in (whole, *made):
            content = each.network.to_bytes()
            packed = pack(content)
            path = self.task.path
            found: Judged = full
            if each is not whole:
                path = self.folder / f"{each.name}.onnx"
                write_atomic(path, content, PUBLIC)
                write_atomic(path.with_suffix(".lwz"), packed, PUBLIC)
                paths.append(path)
                found = judge_file(self.task, judged, path, names, self._threads)
            rows.append(
                Row(
                    each.name, each.category, each.how, found, found.loss(full), count(each.network),
                    path.stat().st_size, len(packed), 0.0, 0.0, each.seconds,
                )
            )  # fmt: skip
        times = latencies(paths, judged.tensors)
        return [replace(row, latency_s=time, full_latency_s=times[0]) for row, time in zip(rows, times, strict=True)]


def _quiet(record: logging.LogRecord) -> bool:
    return "pre-processing before quantization" not in record.getMessage()
