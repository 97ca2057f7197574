"""Networks made and measured: each way at the strongest setting that keeps what it loses within a limit."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Protocol

from likewise.compression.chains import Chain, named
from likewise.compression.counts import count
from likewise.compression.examples import Examples, Task
from likewise.compression.measures import Judged, Row, judge, judge_file, latencies
from likewise.compression.methods import Method
from likewise.compression.network import Network
from likewise.compression.pruning import Importance
from likewise.errors import LikewiseError, SettingsError
from likewise.files import PUBLIC, write_atomic
from likewise.packing.packing import SUFFIX, pack

FULL = "model"
CHOOSING = 600
"""Inputs that a setting is chosen by."""
LOSSES_TRAINED = 15.0
"""Points that a network may lose before it is trained further: more than that is rarely regained."""


class Train(Protocol):
    """Trains a network further."""

    def __call__(
        self, network: Network, *, fresh: bool = False, frozen: Collection[str] = (), share: float = 1.0
    ) -> Network:
        """Return it trained. fresh: it has random weights; frozen: names of weights that stay; share: of the time."""


class Trains(Protocol):
    """What `training.py` has, which is loaded only where there is PyTorch."""

    train: Train

    def second_derivatives(self, network: Network) -> Importance:
        """Return by weight what the loss gains where it is zero, to the second order."""


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

    def make(self, chain: Chain, train: Train | None = None) -> Made:
        """Return what ways make of the network, one behind another. Raises LikewiseError where one does not apply."""
        began = monotonic()
        network, said = self.network, list[str]()
        last: Method | None = None
        for at, step in enumerate(chain):
            method = step.method
            if method is None:
                if train is None:
                    raise SettingsError(
                        "training needs PyTorch: `pip install 'likewise[compress]'`, and --train-minutes."
                    )
                head = last.head if last else ""
                frozen = [name for name in network.weights if head and not name.startswith(head)]
                network = train(network, fresh=last is not None and last.fresh, frozen=frozen)
                continue
            strength = step.strength
            if strength is None and method.fresh:
                strength = method.strengths[0]
            if strength is not None:
                network = method.make(network, self.task, strength)
            else:
                trained = any(later.method is None for later in chain[at + 1 :])
                limit = LOSSES_TRAINED if trained else self._limit
                network, strength, _ = self.strongest(method, limit, network)
            said.append(method.how(strength))
            last = method
        single = [step.method for step in chain if step.method is not None]
        category = single[0].category if len(single) == 1 else "combined"
        return Made(named(chain), category, ", ".join(filter(None, said)), network, monotonic() - began)

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
                write_atomic(path.with_suffix(SUFFIX), packed, PUBLIC)
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
