"""Layers that several functions have in common: computed once for an input, whoever of them asks first.

Functions whose models take the same tensor and begin with the same nodes and weights (`inference/prefixes.py`) note
the tensors that they compute. Where one function's input was another's lately, often enough, both go on from the
last layer that they have in common, and what it gave is kept for the others. Until then nothing is cut, loaded or kept.

Source: MCDNN (Han et al., MobiSys 2016), shared trunks; here they are found, not declared.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Sequence
from hashlib import blake2b
from itertools import combinations
from weakref import WeakSet

import numpy as np

from likewise.errors import LikewiseError
from likewise.inference.graphs import Piece
from likewise.inference.model import OnnxModel
from likewise.inference.prefixes import Cut, Prefixes, deepest
from likewise.types import Tensor

_log = logging.getLogger("likewise.function.trunks")

NOTED = 512
"""Inputs that are remembered, to see whether another function gets them too."""
RATE = 0.05
"""Weight of the newest input in the share of those that another function had before."""
WORTH_FROM, WORTH_TO = 0.1, 0.02
"""Shares of inputs in common from which a trunk is used, and below which it is left again."""
MOST = 4
"""Sets of layers in common that a model looks at."""


class Trunk:
    """The layers in common of some functions, up to one digest. Any thread may use it."""

    def __init__(self, digest: bytes, limit_bytes: int) -> None:
        """Set up. limit_bytes: of what is kept of the last inputs."""
        self.digest = digest
        self._limit = limit_bytes
        self._lock = threading.Lock()
        self._noted: OrderedDict[bytes, int] = OrderedDict()
        self._kept: OrderedDict[bytes, Tensor] = OrderedDict()
        self._bytes = 0
        self._shared = 0.0
        self.active = False
        """Whether enough inputs come to several functions."""
        self.computed = self.reused = 0

    def note(self, names: Sequence[bytes], asker: int) -> bool:
        """Take note of inputs of a function; return whether the trunk is to be used."""
        with self._lock:
            for name in names:
                before = self._noted.get(name, asker)
                self._noted[name] = asker
                self._noted.move_to_end(name)
                self._shared += RATE * ((before != asker) - self._shared)
            while len(self._noted) > NOTED:
                self._noted.popitem(last=False)
            self.active = self._shared > (WORTH_TO if self.active else WORTH_FROM)
            if not self.active and self._kept:
                self._kept.clear()
                self._bytes = 0
            return self.active

    def known(self, names: Sequence[bytes]) -> list[Tensor | None]:
        """Return what was kept for inputs."""
        with self._lock:
            found = [self._kept.get(name) for name in names]
            self.reused += sum(each is not None for each in found)
            return found

    def keep(self, name: bytes, tensor: Tensor) -> None:
        """Keep what was computed for an input; the oldest goes where there is too much."""
        with self._lock:
            self.computed += 1
            if name not in self._kept and tensor.nbytes <= self._limit:
                self._kept[name] = tensor
                self._bytes += tensor.nbytes
                while self._bytes > self._limit:
                    self._bytes -= self._kept.popitem(last=False)[1].nbytes


class _Halves:
    """A model in two parts."""

    def __init__(self, prefixes: Prefixes, cut: Cut, batch: Tensor, outputs: Sequence[str]) -> None:
        """Load them. batch: one that the model takes. Raises InvalidFunction, ModelFailed or ValueError."""
        self._input, self._cut, self._outputs = prefixes.input, cut.tensor, list(outputs)
        self._before = Piece(prefixes.before(cut))
        tensor = self.trunk(batch)
        if tensor.dtype != np.float32 or tensor.ndim < 1 or len(tensor) != len(batch):
            raise ValueError("what they have in common is no float32 tensor for each input")
        self._after = Piece(prefixes.after(cut, tensor.ndim))

    def trunk(self, batch: Tensor) -> Tensor:
        return self._before.run({self._input: batch})[0]

    def rest(self, tensors: Tensor) -> list[Tensor]:
        return self._after.run({self._cut: tensors}, self._outputs)


class SharedModel:
    """A function's model, of which the beginning may be others', too. A `likewise.ports.Model`."""

    def __init__(self, model: OnnxModel) -> None:
        self.model = model
        self.dynamic_batch = model.dynamic_batch
        self.places: list[tuple[Trunk, Cut]] = []
        """What it has in common with others, and where that ends in it; the deepest first."""
        self._halves: dict[bytes, _Halves | None] = {}
        self._lock = threading.Lock()

    def run(self, batch: Tensor) -> Sequence[Tensor]:
        """Return the outputs for a batch. Raises ModelFailed."""
        if not self.places:
            return self.model.run(batch)
        salt = repr(batch.shape[1:]).encode()[:16]
        names = [blake2b(row.tobytes(), digest_size=16, salt=salt).digest() for row in batch]
        active = [place for place in self.places if place[0].note(names, id(self))]
        halves = self._split(active[0], batch) if active else None
        if halves is None:
            return self.model.run(batch)
        trunk = active[0][0]
        found = trunk.known(names)
        missing = [at for at, each in enumerate(found) if each is None]
        if missing:
            for at, tensor in zip(missing, halves.trunk(batch[missing]), strict=True):
                found[at] = tensor
                trunk.keep(names[at], tensor.copy())
        return halves.rest(np.stack([each for each in found if each is not None]))

    def _split(self, place: tuple[Trunk, Cut], batch: Tensor) -> _Halves | None:
        """Return the two parts of the model, loaded when they are first needed; None where they cannot be."""
        trunk, cut = place
        with self._lock:
            if trunk.digest not in self._halves:
                self._halves[trunk.digest] = None
                try:
                    prefixes = Prefixes(self.model.path)
                    self._halves[trunk.digest] = _Halves(prefixes, cut, batch, self.model.outputs)
                except (LikewiseError, ValueError, KeyError, OSError) as error:
                    _log.warning("%s is computed as a whole: %s", self.model.path.name, error)
            return self._halves[trunk.digest]

    def statistics(self) -> list[dict[str, float]]:
        """Return what each set of layers in common did so far, the deepest first; depth: share of the nodes."""
        return [
            {"depth": cut.depth, "used": trunk.active, "computed": trunk.computed, "reused": trunk.reused}
            for trunk, cut in self.places
        ]


class Trunks:
    """All models of a worker that might have layers in common."""

    def __init__(self, limit_bytes: int) -> None:
        """Set up. limit_bytes: that each trunk may keep of its last inputs; 0: nothing is shared."""
        self._limit = limit_bytes
        self._models: WeakSet[SharedModel] = WeakSet()
        self._cuts: dict[tuple[str, int, int], Sequence[Cut]] = {}

    def share(self, model: OnnxModel) -> SharedModel | None:
        """Return a model that begins with another's layers where it has them in common; None: it cannot be cut."""
        if not self._limit or not model.plain or model.dtype != np.float32:
            return None
        shared = SharedModel(model)
        self._models.add(shared)
        self._arrange()
        return shared

    def _arrange(self) -> None:
        """Give each model the deepest layers that it has in common with each other one."""
        models = sorted(self._models, key=lambda each: str(each.model.path))
        common: dict[SharedModel, dict[bytes, Cut]] = {each: {} for each in models}
        for one, other in combinations(models, 2):
            if one.model.shape == other.model.shape:
                found = deepest(self._cuts_of(one.model), self._cuts_of(other.model))
                for each, cut in zip((one, other), found or (), strict=False):
                    common[each][cut.digest] = cut
        trunks = {trunk.digest: trunk for each in models for trunk, _ in each.places}
        for each, cuts in common.items():
            places = [
                (trunks.setdefault(digest, Trunk(digest, self._limit)), cut)
                for digest, cut in sorted(cuts.items(), key=lambda item: -item[1].depth)
            ]
            each.places = places[:MOST]

    def _cuts_of(self, model: OnnxModel) -> Sequence[Cut]:
        try:
            status = model.path.stat()
            key = str(model.path), status.st_mtime_ns, status.st_size
            if key not in self._cuts:
                self._cuts[key] = ()
                self._cuts[key] = Prefixes(model.path).cuts
        except (ValueError, KeyError, IndexError, OSError) as error:
            _log.debug("%s is not compared with others: %s", model.path, error)
            return ()
        return self._cuts[key]
