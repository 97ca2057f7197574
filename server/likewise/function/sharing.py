"""The files of a function that devices may fetch: what makes its keys, and, where its spec allows it, its models."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import NamedTuple

from likewise.errors import NotFound
from likewise.function.fingerprint import file_digest
from likewise.function.leasing import KeyFile
from likewise.function.parts import Parts
from likewise.function.preparation_spec import Preparation
from likewise.function.spec import KeySpec
from likewise.packing.packing import SUFFIX, pack

_APART = {"kind", "labels", "alphabet", "equality", "tolerance", "iou", "similarity"}
"""Fields of results that say nothing of how outputs become a result, or are told by themselves."""


class Offer(NamedTuple):
    """A model that a device may run itself."""

    name: str
    """`model` for the full one, else that of the variant."""
    path: Path
    sha256: str
    """Of the ONNX file, in hexadecimal."""
    size_bytes: int
    """Of the ONNX file."""
    takes: str
    """`input` or `key`."""
    cost: float
    """Time of one answer as a share of the full model's."""
    memory_bytes: int | None
    """What it takes once loaded; None: nobody measured it."""
    agreement: float
    """Share of inputs for which it answers what the full model does."""
    origin: str
    prepare: dict[str, object]
    """How an input becomes what the file takes, as specs say it; what is as by default is left out."""

    @property
    def file(self) -> str:
        """Its name, packed."""
        return self.path.name + SUFFIX


class PackedFile(NamedTuple):
    """An offer's file, as it is sent."""

    content: bytes
    sha256: str


class Sharing:
    """The models that devices may fetch, packed when first asked for and kept from then on. Owned by one event loop."""

    def __init__(self, function: str, offers: tuple[Offer, ...], result: dict[str, object]) -> None:
        """Set up. result: how outputs become a result, as specs say it, with the labels themselves."""
        self.offers = offers
        self.result = result
        self._function = function
        self._packing: dict[str, asyncio.Task[PackedFile]] = {}

    async def packed(self, file: str) -> PackedFile:
        """Return a packed file by its name, made on another thread. Raises NotFound."""
        offer = next((each for each in self.offers if each.file == file), None)
        if offer is None:
            raise NotFound(
                f"`{self._function}` has no file {file[:64]!r} for devices; its variants name those there are."
            )
        task = self._packing.get(file)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = self._packing[file] = asyncio.create_task(asyncio.to_thread(_packed, offer))
        try:
            return await asyncio.shield(task)  # whoever asked first may leave
        except (OSError, ValueError):
            raise NotFound(
                f"The file {offer.path.name} of `{self._function}` is gone, or another one by now; register the "
                "function anew."
            ) from None


def sharing_of(function: str, parts: Parts) -> Sharing | None:
    """Return what devices may fetch of a function's models; None: its spec does not allow it, or there is none."""
    spec = parts.spec
    if not spec.share_model or spec.model is None:
        return None
    whole = (_offer(parts, "model", spec.model.file, spec.model, "input", 1.0, None, 1.0, ""),)
    others = [
        _offer(
            parts, each.name, each.file, None if each.takes == "key" else spec.prepared(each), each.takes,
            each.cost, each.memory_bytes, each.agreement, each.origin,
        )
        for each in spec.rungs
    ]  # fmt: skip
    result = spec.result.model_dump(exclude_defaults=True, exclude=_APART)
    return Sharing(
        function,
        tuple(each for each in (*whole, *others) if each is not None),
        {"kind": spec.result.kind, "labels": list(parts.labels), **result},
    )


def _offer(
    parts: Parts,
    name: str,
    file: str,
    preparation: Preparation | None,
    takes: str,
    cost: float,
    memory_bytes: int | None,
    agreement: float,
    origin: str,
) -> Offer | None:
    """Return an offer; None where the model is more than one file."""
    files = parts.files.get(file, ())
    if len(files) != 1:
        return None
    path, prepare = files[0], {}
    if preparation is not None:
        prepare = preparation.model_dump(include=set(Preparation.model_fields), exclude_defaults=True)
    size = path.stat().st_size
    return Offer(name, path, file_digest(path), size, takes, cost, memory_bytes, agreement, origin, prepare)


def _packed(offer: Offer) -> PackedFile:
    """Return the file packed. Raises OSError, and ValueError where it is another one by now."""
    content = offer.path.read_bytes()
    if hashlib.sha256(content).hexdigest() != offer.sha256:
        raise ValueError("it is another file by now")
    made = pack(content)
    return PackedFile(made, hashlib.sha256(made).hexdigest())


def key_file(key: KeySpec, parts: Parts) -> KeyFile | None:
    """Return the file that makes keys, where it is one and stands alone."""
    files = parts.files.get(key.file or "", ()) if key.extractor == "onnx" else ()
    if len(files) != 1:
        return None
    return _named(files[0])


def projection_file(key: KeySpec, parts: Parts) -> KeyFile | None:
    """Return the file of the projection that keys are searched by from the start, if any."""
    path = parts.projection_path(key)
    return None if path is None else _named(path)


def _named(path: Path) -> KeyFile:
    return KeyFile(path, file_digest(path), path.stat().st_size)
