"""Functions registered at run time: taken from uploads and from other nodes, served, kept, removed."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping, MutableMapping
from contextlib import suppress

from likewise.errors import Conflict, Forbidden, InvalidFunction, LikewiseError
from likewise.function.function import Function
from likewise.function.registration_folder import Manifest, RegistrationFolder
from likewise.function.registry import Registry
from likewise.function.spec import FunctionSpec
from likewise.function.spec_table import FILE_NAME, NAME
from likewise.function.spec_text import decode_text, parse_json, parse_toml
from likewise.inference.onnx_file import external_files
from likewise.ports import Journal
from likewise.records import Registered, Unregistered
from likewise.types import Clock

log = logging.getLogger("likewise.function.registrations")


class Registrations:
    """What was registered at run time, here or on another node, in one place: folder, registry and journal agree.

    Changes come one after another. The newest on a name counts, removals included, whatever the clocks of other nodes
    say; a function of the operator's folder counts from the start of this process, and comes back with each.
    """

    def __init__(
        self,
        folder: RegistrationFolder,
        registry: Registry,
        journal: Journal,
        withdraw: Callable[[Function], object],
        degraded: MutableMapping[str, str],
        clock: Clock,
        *,
        allowed: bool = True,
    ) -> None:
        """Set up. withdraw: takes all entries of a function out of the journal.

        degraded: told what is kept and cannot be served, by name; allowed: False takes none.
        """
        self._folder = folder
        self._registry = registry
        self._journal = journal
        self._withdraw = withdraw
        self._degraded = degraded
        self._clock = clock
        self._allowed = allowed
        self._started = clock()
        self._changing = asyncio.Lock()
        self._at: dict[str, float] = {}
        """When the newest change of each name was made that is known here, removals included."""
        self._kept: dict[str, float] = {}

    def load(self) -> None:
        """Serve what was registered so far; what cannot be served any more is reported as degraded, and left out."""
        with self._folder.alone():
            self._folder.recover()
            for name in self._folder.names():
                try:
                    self._registry.put(self._folder.load(name))
                except LikewiseError as error:
                    self._degrade(name, f"{error.detail}; register it again, or DELETE /v1/functions/{name}")
                else:
                    manifest = self._folder.manifest(name)
                    self._at[name] = self._kept[name] = manifest.at if manifest else 0.0

    # ── changes made here ──────────────────────────────────────────────────────────────────────────────────

    async def register(
        self, name: str, files: Mapping[str, bytes], spec: bytes, media_type: str
    ) -> tuple[Function, bool]:
        """Serve the function in an upload, keep it and tell other nodes; return it, and whether it replaced another.

        Raises Forbidden where none are taken, InvalidFunction for what cannot be served, Conflict for other results
        under a version that is served.
        """
        self._check_allowed()
        if not NAME.fullmatch(name):
            raise InvalidFunction(f"`{name[:64]}`: a name has 1 to 64 lower-case letters, digits, `.`, `_` or `-`.")
        async with self._changing:
            # loading a model takes long: off the loop, and the old version serves until the new one stands
            function = await asyncio.to_thread(self._install, name, files, spec, media_type)
            replaced = self._serve(function)
            record = await asyncio.to_thread(self.registration, name)
            if record is not None:
                self._journal.append(record)
            return function, replaced

    async def unregister(self, address: str) -> None:
        """Serve a function no more, addressed as `name` or `name@version`, and tell other nodes; its entries go.

        One from the operator's folder comes back at the next start.
        Raises Forbidden where functions are not taken over HTTP, UnknownFunction.
        """
        self._check_allowed()
        async with self._changing:
            name, at_sign, _ = address.partition("@")
            damaged = not at_sign and _place(name) in self._degraded and self._registry.find(name) is None
            function = None if damaged else self._registry.get(address)
            at = self._next_moment(name)
            await asyncio.to_thread(self._forget, name, at)
            if function is not None:
                self._registry.remove(name)
                self._withdraw(function)  # what is still computed of it is not kept: it is retired
            self._degraded.pop(_place(name), None)
            self._journal.append(Unregistered(function.id if function else f"{name}@0", at))

    # ── changes made on other nodes ────────────────────────────────────────────────────────────────────────

    async def follow(self, record: Registered | Unregistered) -> None:
        """Serve, or serve no more, what another node was told to; never raises, for following has to go on."""
        name = record.function.partition("@")[0]
        async with self._changing:
            try:
                if isinstance(record, Registered):
                    function = await asyncio.to_thread(self._adopt, record)
                    if function is not None:
                        self._serve(function)
                        log.info("serving %s, which was registered on another node", function.id)
                elif await asyncio.to_thread(self._apply_removal, record):
                    self._registry.remove(name)
                    self._degraded.pop(_place(name), None)
                    log.info("serving %s no more, it was removed on another node", record.function[:100])
            except Exception as error:  # whatever a model does to its loader
                self._degrade(name, f"{record.function[:100]}, registered on another node, is not served here: {error}")

    def _adopt(self, record: Registered) -> Function | None:
        """Return the function that another node took, kept here too; None where a newer change is known. Blocks."""
        self._check_allowed()
        name, _, version = record.function.partition("@")
        if not (NAME.fullmatch(name) and version.isascii() and version.isdigit() and len(version) < 10):
            raise InvalidFunction(f"`{record.function[:80]}` is no function's name and version.")
        _check_files(parse_toml(record.spec, record.function), record.files)
        with self._folder.alone():
            if record.at <= self._at.get(name, 0.0):
                return None
            manifest = Manifest(record.at, record.generation)
            function = self._of_another_worker(name, manifest) or self._folder.install(
                name, int(version), record.spec, record.files, manifest, lambda _: None
            )
            self._at[name] = self._kept[name] = record.at
            return function

    def _of_another_worker(self, name: str, manifest: Manifest) -> Function | None:
        """Return a function that another worker of this folder has adopted already; None where none has."""
        kept = self._folder.manifest(name)
        if kept is None or (kept.at, kept.generation) != (manifest.at, manifest.generation):
            return None
        with suppress(LikewiseError):  # damaged: written anew
            return self._folder.load(name)
        return None

    def _apply_removal(self, record: Unregistered) -> bool:
        """Forget a function that another node removed; False where what is served here is newer than that. Blocks."""
        name = record.function.partition("@")[0]
        known = self._at.get(name, self._started)
        if not self._allowed or not NAME.fullmatch(name) or record.at <= known:
            return False
        self._forget(name, record.at)
        return True

    # ── for the journal that other nodes read ──────────────────────────────────────────────────────────────

    def kept(self) -> Mapping[str, float]:
        """Return when each was registered, by name."""
        return dict(self._kept)

    def registration(self, name: str) -> Registered | None:
        """Return one that is kept, with its files, for other nodes. Blocks: call it off the event loop."""
        with self._folder.alone():
            return self._folder.registration(name) if name in self._kept else None

    # ── steps ──────────────────────────────────────────────────────────────────────────────────────────────

    def _serve(self, function: Function) -> bool:
        replaced = self._registry.put(function)
        self._degraded.pop(_place(function.name), None)
        self._journal.expect(function.journal_id)
        return replaced is not None

    def _install(self, name: str, files: Mapping[str, bytes], spec: bytes, media_type: str) -> Function:
        parsed, toml = _parse(spec, media_type)
        _check_files(parsed, files)
        with self._folder.alone():
            served, manifest = self._registry.find(name), self._folder.manifest(name)
            version = parsed.version or (served.version if served else 1)
            fresh = "" if served else secrets.token_hex(4)
            generation = manifest.generation if manifest else fresh
            at = self._next_moment(name)

            def check(function: Function) -> None:
                if served and served.version == version and served.fingerprint != function.fingerprint:
                    raise Conflict(
                        f"{served.id} is served with other files, or a spec that makes other results; "
                        f"register this as version {version + 1}: set `version` in the spec."
                    )

            function = self._folder.install(name, version, toml, files, Manifest(at, generation), check)
            self._at[name] = self._kept[name] = at
            return function

    def _forget(self, name: str, at: float) -> None:
        with self._folder.alone():
            self._folder.forget(name)
            self._at[name] = at
            self._kept.pop(name, None)

    def _degrade(self, name: str, reason: str) -> None:
        self._degraded[_place(name)] = reason
        log.error("function %s: %s", name, reason)

    def _next_moment(self, name: str) -> float:
        """Return a moment behind all that is known of a name, whatever the clocks of other nodes say."""
        return max(self._clock(), self._at.get(name, 0.0) + 0.001)

    def _check_allowed(self) -> None:
        if not self._allowed:
            raise Forbidden("This server does not take functions over HTTP; set allow_registration, or use its folder.")


def _place(name: str) -> str:
    """Return under what name an operator finds what is wrong with a function."""
    return f"function {name}"


def _parse(spec: bytes, media_type: str) -> tuple[FunctionSpec, str]:
    """Return an uploaded spec, and its text in the form that every start reads."""
    text = decode_text(spec, "spec")
    if media_type.endswith("json"):
        return parse_json(text, "spec")
    return parse_toml(text, "spec"), text


def _check_files(spec: FunctionSpec, files: Mapping[str, bytes]) -> None:
    """Raise InvalidFunction unless there is exactly what spec and models name, and all of it has a plain name."""
    wanted = dict.fromkeys(spec.files)
    for name in spec.onnx_files:
        if name in files:
            for each in external_files(files[name], name):
                if not FILE_NAME.fullmatch(each):
                    raise InvalidFunction(
                        f"{name}: keeps data in `{each[:200]}`; save model and data in one folder, with a plain file "
                        "name as `location`, and send both"
                    )
                wanted[each] = None
    missing = [each for each in wanted if each not in files]
    extra = [each for each in files if each not in wanted]
    if missing:
        who = "names" if missing[0] in spec.files else "a model keeps data in"
        raise InvalidFunction(
            f"spec: {who} `{missing[0]}`, but no part has that name; send one part per file, named like the file."
        )
    if extra:
        raise InvalidFunction(f"spec: does not name part `{extra[0][:64]}`; name it in the spec, or leave it out.")
