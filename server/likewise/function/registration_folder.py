"""The functions registered at run time as a folder keeps them: whole or not at all, and checked when they are read."""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import orjson

from likewise.errors import InvalidFunction, LikewiseError, StorageUnavailable
from likewise.files import sync_folder, write_synced
from likewise.function.assembly import Assembler
from likewise.function.function import Function
from likewise.function.proving import Prove
from likewise.function.spec import SPEC_FILE
from likewise.function.spec_table import NAME
from likewise.function.spec_text import read_spec
from likewise.records import Registered

try:
    import fcntl
except ImportError:  # a system without it; there a server has one worker
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger("likewise.function.registrations")

_MANIFEST = ".registered"
"""File in a kept function's folder: what was registered, as JSON; earlier versions wrote the time alone."""
_STAGED, _REMOVED = ".staging-", ".removed-"
_REPLACED = ".old"
"""What was kept before, while it is being replaced; no function has such a name."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the folder of a registered function says of it."""

    at: float
    """When it was registered, in seconds since the Unix epoch."""
    generation: str = ""
    """Tells it from a function of the same name and files that was removed before."""
    digests: Mapping[str, str] | None = None
    """SHA-256 of each file, by its path in the folder."""


class RegistrationFolder:
    """Keeps registered functions in a folder. Its methods block, and may be called from any thread.

    Several workers may have one folder: `alone` keeps the others away while one looks and changes.
    """

    def __init__(self, folder: Path, assembler: Assembler, prove: Prove) -> None:
        """Set up. folder: made when it is needed. prove: what a function has to pass before it is built here."""
        self._folder = folder
        self._assembler = assembler
        self._prove = prove
        self._lock = threading.RLock()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other threads, and other workers of the same folder, away. Not to be nested.

        Raises StorageUnavailable for an OSError of the block.
        """
        with self._lock, ExitStack() as stack:
            with suppress(OSError):  # where nothing can be written, nobody else writes either
                self._folder.mkdir(parents=True, exist_ok=True)
                # a pipe of that name is no reason to wait, either: it can be locked as well
                lock = os.open(self._folder / ".lock", os.O_RDWR | os.O_CREAT | getattr(os, "O_NONBLOCK", 0), 0o644)
                file = stack.enter_context(os.fdopen(lock, "rb", buffering=0))
                if fcntl is not None:
                    fcntl.flock(file, fcntl.LOCK_EX)
            try:
                yield
            except OSError as error:
                log.error("%s cannot be written: %s", self._folder, error)
                raise StorageUnavailable(
                    f"The server's folder of functions cannot be written: {error.strerror}. Free some space there, or "
                    "let the server's user own it; then send this again."
                ) from error

    def names(self) -> list[str]:
        """Return the names of all that is kept, whole or damaged."""
        try:
            return sorted(each.name for each in self._folder.iterdir() if NAME.fullmatch(each.name))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise InvalidFunction(
                f"{self._folder}: cannot be read ({error.strerror}); the server's user has to own it"
            ) from error

    def manifest(self, name: str) -> Manifest | None:
        """Return what is known of a kept function; None where it is not there, or what is there cannot be read."""
        path = self._folder / name / _MANIFEST
        try:
            found = orjson.loads(path.read_bytes()) if path.is_file() else (path.parent / SPEC_FILE).stat().st_mtime
            if isinstance(found, int | float):  # as earlier versions kept it
                return Manifest(float(found))
            return Manifest(float(found["at"]), str(found["generation"]), dict(found["sha256"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def load(self, name: str) -> Function:
        """Return a kept function. Raises InvalidFunction where it is not what was registered."""
        folder = self._folder / name
        manifest = self.manifest(name)
        if manifest is None:
            raise InvalidFunction(f"{folder}: is damaged, {_MANIFEST} cannot be read")
        for path, digest in (manifest.digests or {}).items():
            try:
                if (folder / path).exists() and not (folder / path).is_file():
                    raise InvalidFunction(f"{folder / path}: is damaged, it is no file")  # a pipe may never be read
                content = (folder / path).read_bytes()
            except OSError as error:
                raise InvalidFunction(f"{folder / path}: cannot be read ({error.strerror})") from error
            if hashlib.sha256(content).hexdigest() != digest:
                raise InvalidFunction(f"{folder / path}: is damaged, it is not what was registered")
        return self._assembler.build(folder, generation=manifest.generation)

    def install(
        self, name: str, version: int, toml: str, files: Mapping[str, bytes], manifest: Manifest, check: Check
    ) -> Function:
        """Build a function, and put it in the place of what was kept under its name.

        check: raises LikewiseError for a function that is not to be kept. Raises InvalidFunction as well.
        """
        staging = Path(tempfile.mkdtemp(prefix=_STAGED, dir=self._folder))
        try:
            built = staging / name
            (built / str(version)).mkdir(parents=True)
            contents = {f"{version}/{each}": content for each, content in files.items()}
            contents[SPEC_FILE] = toml.encode()
            for path, content in contents.items():
                write_synced(built / path, content)
            digests = {path: hashlib.sha256(content).hexdigest() for path, content in contents.items()}
            described = {"at": manifest.at, "generation": manifest.generation, "sha256": digests}
            write_synced(built / _MANIFEST, orjson.dumps(described))
            sync_folder(built / str(version))
            sync_folder(built)
            try:
                self._prove(built)
                function = self._assembler.build(built, version, manifest.generation)
                check(function)
            except LikewiseError as error:
                error.detail = error.detail.replace(f"{built}/", "")  # no path of this machine to a client
                raise
            self._replace(name, built, staging)
            return function
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def _replace(self, name: str, built: Path, staging: Path) -> None:
        final = self._folder / name
        if os.path.lexists(final):
            # between this and what follows, `recover` finishes what a crash interrupts
            final.rename(staging / _REPLACED)
        built.rename(final)
        sync_folder(self._folder)

    def forget(self, name: str) -> None:
        """Remove what is kept under a name, if anything is: at once, whole, and for good.

        Raises OSError where the folder does not let it, or does not tell what it holds.
        """
        final = self._folder / name
        if not NAME.fullmatch(name):
            return
        try:
            final.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return
        gone = self._folder / f"{_REMOVED}{secrets.token_hex(8)}"
        final.rename(gone)  # takes no room on a disk that is full
        sync_folder(self._folder)
        shutil.rmtree(gone, ignore_errors=True)

    def recover(self) -> None:
        """Finish what a crash interrupted: a function half replaced is put in place, what is left over goes."""
        if not self._folder.is_dir():
            return
        for left in sorted(self._folder.glob(f"{_STAGED}*")):
            for built in left.iterdir() if (left / _REPLACED).exists() else ():
                if NAME.fullmatch(built.name) and not os.path.lexists(self._folder / built.name):
                    log.warning("finishing the registration of %s, which was interrupted", built.name)
                    built.rename(self._folder / built.name)
                    sync_folder(self._folder)
            shutil.rmtree(left, ignore_errors=True)
        for left in self._folder.glob(f"{_REMOVED}*"):
            shutil.rmtree(left, ignore_errors=True)

    def registration(self, name: str) -> Registered | None:
        """Return a kept function with its files, for other nodes; None where it cannot be read."""
        folder = self._folder / name
        manifest = self.manifest(name)
        try:
            if manifest is None:
                raise InvalidFunction(f"{folder}: cannot be read")
            spec, version = read_spec(folder)
            inside = folder / str(version)
            names = [each.removeprefix(f"{version}/") for each in manifest.digests or () if each != SPEC_FILE]
            files = {each: (inside / each).read_bytes() for each in names or spec.files}
            toml = (folder / SPEC_FILE).read_text(encoding="utf-8")
            return Registered(f"{name}@{version}", manifest.at, toml, files, manifest.generation)
        except (OSError, UnicodeDecodeError, LikewiseError) as error:
            log.error("the function %s cannot be read for other nodes: %s", name, error)
            return None


Check = Callable[[Function], None]


def function_folders(folder: Path) -> list[Path]:
    """Return the sub-folders of an operator's folder that hold a function, by name. Raises InvalidFunction."""
    try:
        if not folder.is_dir():
            return []
        return sorted(each for each in folder.iterdir() if each.name[0] != "." and (each / SPEC_FILE).is_file())
    except OSError as error:
        raise InvalidFunction(
            f"{error.filename or folder}: cannot be read ({error.strerror}); let the server's user read it"
        ) from error
