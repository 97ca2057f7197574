"""Functions registered at run time: checked, kept in a folder of their own, told to other nodes and taken from them."""

from __future__ import annotations

import hashlib
import logging
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import orjson

from likewise.errors import BadRequest, Conflict, Forbidden, InvalidFunction, LikewiseError
from likewise.function.assembly import Assembler
from likewise.function.function import Function
from likewise.function.spec import NAME, SPEC_FILE, FunctionSpec, parse_spec, parse_toml, read_spec
from likewise.types import Clock, Registered, Unregistered

try:
    import fcntl
except ImportError:  # a system without it; there a server has one worker
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger("likewise.function.registrations")

_AT = ".registered"
"""File in a kept function's folder: when it was registered."""
_DIGEST = ".digest"
"""File in its version's folder: what stands for the content of its files."""


class Uploads:
    """The functions registered at run time, here or on another node. Its methods may be called from any thread.

    Several workers may have one folder: whoever comes first writes, the others read.
    """

    def __init__(
        self,
        folder: Path,
        assembler: Assembler,
        current: Callable[[str], Function | None],
        clock: Clock,
        *,
        allowed: bool = True,
    ) -> None:
        """Set up. folder: where they are kept; current: the function served under a name; allowed: False takes none."""
        self._folder = folder
        self._assembler = assembler
        self._current = current
        self._clock = clock
        self._allowed = allowed
        self._started = clock()
        self._lock = threading.Lock()
        self._at: dict[str, float] = {}
        """The newest word on each name, removals included."""
        self._kept: dict[str, float] = {}

    def load(self) -> Iterator[Function]:
        """Build what was registered so far. Raises InvalidFunction."""
        for folder in function_folders(self._folder):
            self._at[folder.name] = self._kept[folder.name] = _moment_of(folder)
            yield self._assembler.build(folder)

    def register(self, name: str, files: Mapping[str, bytes], spec: bytes, media_type: str) -> Function:
        """Return the function built from an upload, kept for the next start. Blocks: call it off the event loop.

        Raises Forbidden where none are taken, InvalidFunction for what cannot be served, Conflict for other files under
        a version served before.
        """
        self._check_allowed()
        if not NAME.fullmatch(name):
            raise InvalidFunction(f"`{name[:64]}`: a name has 1 to 64 lower-case letters, digits, `.`, `_` or `-`.")
        parsed = self._parse(spec, media_type)
        _check_files(parsed, files)
        with self._alone():
            served = self._current(name)
            version = parsed.version or (served.version if served else 1)
            kept = self._folder / name / str(version)
            if served is not None and served.version == version and _digest(files) != _read(kept / _DIGEST):
                if parsed.version is not None:
                    raise Conflict(f"{served.id} is served with other files; register them as version {version + 1}.")
                version += 1
            return self._install(name, version, _toml(spec, media_type), files, self._next_moment(name))

    def adopt(self, word: Registered) -> Function | None:
        """Return the function that another node took, kept here as well; None where this node knows a newer word.

        Blocks: call it off the event loop. Raises Forbidden and InvalidFunction as `register` does.
        """
        self._check_allowed()
        name, _, version = word.function.partition("@")
        if not (NAME.fullmatch(name) and version.isdigit()):
            raise InvalidFunction(f"`{word.function[:80]}` is no function's name and version.")
        _check_files(parse_toml(word.spec, word.function), word.files)
        with self._alone():
            if word.at <= self._at.get(name, 0.0):
                return None
            folder = self._folder / name
            if _moment_of(folder) == word.at and _read(folder / version / _DIGEST) == _digest(word.files):
                self._at[name] = self._kept[name] = word.at  # another worker of this machine was faster
                return self._assembler.build(folder, int(version))
            return self._install(name, int(version), word.spec, word.files, word.at)

    def remove(self, name: str) -> float:
        """Forget a function; return when, for other nodes. One from the operator's folder comes back at the next start.

        Blocks: call it off the event loop. Raises Forbidden where functions are not taken over HTTP.
        """
        self._check_allowed()
        with self._alone():
            at = self._next_moment(name)
            self._forget(name, at)
            return at

    def obey(self, word: Unregistered) -> bool:
        """Forget a function that another node removed; False where what is served here is newer than that.

        A function of the operator's folder counts from the start of this process: it comes back with each. Blocks.
        """
        name = word.function.partition("@")[0]
        with self._alone():
            if not self._allowed or not NAME.fullmatch(name) or word.at <= self._at.get(name, self._started):
                return False
            self._forget(name, word.at)
            return True

    def kept(self) -> Mapping[str, float]:
        """Return when each was registered, by name."""
        return dict(self._kept)

    def word(self, name: str) -> Registered | None:
        """Return one that is kept, with its files, for other nodes. Blocks: call it off the event loop."""
        with self._alone():
            folder = self._folder / name
            at = self._kept.get(name)
            if at is None:
                return None
            try:
                spec, version = read_spec(folder)
                files = {each: (folder / str(version) / each).read_bytes() for each in spec.files}
                return Registered(f"{name}@{version}", at, (folder / SPEC_FILE).read_text(encoding="utf-8"), files)
            except (OSError, LikewiseError) as error:
                log.error("the function %s cannot be read for other nodes: %s", name, error)
                return None

    # ── the folder ─────────────────────────────────────────────────────────────────────────────────────────

    def _install(self, name: str, version: int, toml: str, files: Mapping[str, bytes], at: float) -> Function:
        staging = Path(tempfile.mkdtemp(prefix=".staging-", dir=self._folder))
        try:
            built = staging / name
            (built / str(version)).mkdir(parents=True)
            for each, content in files.items():
                (built / str(version) / each).write_bytes(content)
            (built / str(version) / _DIGEST).write_text(_digest(files))
            (built / SPEC_FILE).write_text(toml, encoding="utf-8")
            (built / _AT).write_text(repr(at))
            try:
                function = self._assembler.build(built, version)
            except LikewiseError as error:
                error.detail = error.detail.replace(f"{built}/", "")  # no path of this machine to a client
                raise
            final = self._folder / name
            if final.exists():
                final.rename(staging / "old")
            built.rename(final)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        self._at[name] = self._kept[name] = at
        return function

    def _forget(self, name: str, at: float) -> None:
        self._at[name] = at
        self._kept.pop(name, None)
        if NAME.fullmatch(name):
            shutil.rmtree(self._folder / name, ignore_errors=True)

    def _next_moment(self, name: str) -> float:
        """Return a moment behind all that is known of a name, whatever the clocks of other nodes say."""
        return max(self._clock(), self._at.get(name, 0.0) + 0.001)

    def _check_allowed(self) -> None:
        if not self._allowed:
            raise Forbidden("This server does not take functions over HTTP; set allow_registration, or use its folder.")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other threads, and other workers of the same folder, away."""
        with self._lock, ExitStack() as stack:
            with suppress(OSError):  # where nothing can be written, nobody else writes either
                self._folder.mkdir(parents=True, exist_ok=True)
                file = stack.enter_context((self._folder / ".lock").open("w"))
                if fcntl is not None:
                    fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _parse(self, spec: bytes, media_type: str) -> FunctionSpec:
        try:
            text = spec.decode("utf-8")
        except UnicodeDecodeError:
            raise BadRequest("The spec is not UTF-8 text.") from None
        if media_type.endswith("json"):
            try:
                data = orjson.loads(text)
            except orjson.JSONDecodeError as error:
                raise InvalidFunction(f"spec: not valid JSON: {error}") from None
            if not isinstance(data, dict):
                raise InvalidFunction("spec: has to be a JSON object; see docs/functions.md")
            return parse_spec(data, "spec")
        return parse_toml(text, "spec")


def _check_files(spec: FunctionSpec, files: Mapping[str, bytes]) -> None:
    missing = [each for each in spec.files if each not in files]
    extra = [each for each in files if each not in spec.files]
    if missing or extra:
        wrong = f"names `{missing[0]}`, but no part has that name" if missing else f"does not name part `{extra[0]}`"
        raise InvalidFunction(f"spec: {wrong}; send one part per file, named as in the spec.")


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _moment_of(folder: Path) -> float:
    """Return when a kept function was registered; what was kept before that was noted counts as old as its spec."""
    try:
        return float(_read(folder / _AT) or (folder / SPEC_FILE).stat().st_mtime)
    except (OSError, ValueError):
        return 0.0


def function_folders(folder: Path) -> Iterator[Path]:
    """Yield the sub-folders of a folder that hold a function, by name."""
    if folder.is_dir():
        yield from sorted(each for each in folder.iterdir() if (each / SPEC_FILE).is_file() and each.name[0] != ".")


def _toml(spec: bytes, media_type: str) -> str:
    """Return a spec as TOML: an uploaded JSON spec is kept in the form that every start reads."""
    if not media_type.endswith("json"):
        return spec.decode("utf-8")
    return "".join(_toml_lines(orjson.loads(spec)))


def _toml_lines(table: Mapping[str, Any]) -> Iterator[str]:
    """Yield a table line by line; JSON text of strings, numbers and lists of them is TOML too."""
    nested = {key: value for key, value in table.items() if isinstance(value, dict)}
    lists = {key: value for key, value in table.items() if isinstance(value, list) and value and _is_table(value[0])}
    for key, value in table.items():
        if key not in nested and key not in lists and value is not None:
            yield f"{key} = {orjson.dumps(value).decode()}\n"
    for key, value in nested.items():
        yield f"\n[{key}]\n"
        for inner, each in value.items():
            if each is not None:
                yield f"{inner} = {_inline(each)}\n"
    for key, rows in lists.items():
        for row in rows:
            yield f"\n[[{key}]]\n"
            for inner, each in row.items():
                if each is not None:
                    yield f"{inner} = {_inline(each)}\n"


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_inline(each)}" for key, each in value.items()) + " }"
    return orjson.dumps(value).decode()


def _is_table(value: object) -> bool:
    return isinstance(value, dict)


def _digest(files: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(name.encode() + b"\0" + hashlib.sha256(files[name]).digest())
    return digest.hexdigest()
