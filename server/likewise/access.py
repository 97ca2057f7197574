"""Access keys: who may do what. A key is shown once, when it is made; only its hash is kept.

A key is 256 random bits, so nobody can guess one and a hash cannot be turned back by trying. That is why a plain
SHA-256 is right here, and a slow password hash, made for what people choose, would only cost time.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import hmac
import json
import logging
import re
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from likewise.errors import Conflict, Forbidden, InvalidValue, NotFound, SettingsError, Unauthorized
from likewise.files import read_regular, write_atomic

SCOPES = ("infer", "insert", "admin")
"""infer: infer, lookup, read; insert: bring entries; admin: everything, such as invalidating entries."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_PREFIX = "lw_"
_VERIFIED_LIMIT = 1024
_VERIFIED_BYTES = 256
"""Longest Authorization header that is remembered."""
MAX_FILE_BYTES = 8 << 20
"""Longest file of access keys: it is read on the event loop."""
_LOOK_EVERY_S = 1.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Principal:
    """Who sent a request, as far as its access key tells."""

    name: str
    group: str
    """Keys of one group share what they may use up; empty: the key is on its own."""
    scopes: frozenset[str]

    @cached_property
    def account(self) -> str:
        """Whose error budget this spends: the group's, or the key's own; empty without a key, since those share one."""
        return "" if self is ANONYMOUS else self.group or self.name

    @cached_property
    def may_insert(self) -> bool:
        """Whether it can bring results."""
        return self.allows("insert")

    def allows(self, scope: str) -> bool:
        """Say whether a scope is covered; admin covers all."""
        return scope in self.scopes or "admin" in self.scopes


ANONYMOUS = Principal("anonymous", "", frozenset(SCOPES))
"""Who sent a request without a key, where none is needed."""


@dataclass(frozen=True, slots=True)
class AccessKey:
    """What is kept of one access key."""

    name: str
    scopes: frozenset[str]
    digest: bytes
    """SHA-256 of the key: 32 bytes."""
    created_at: str
    """ISO 8601, UTC."""
    group: str = ""
    """See `Principal`."""

    @property
    def principal(self) -> Principal:
        """Who a request with this key comes from."""
        return Principal(self.name, self.group, self.scopes)


def read_keys(path: Path) -> tuple[AccessKey, ...]:
    """Return the access keys in a file, in the order they were added; none where there is no file.

    Raises SettingsError, naming the file and the remedy, where it cannot be read or is not what `add_key` writes.
    """
    try:
        document = json.loads(read_regular(path, MAX_FILE_BYTES))
        return tuple(_parsed(each) for each in document["keys"])
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise SettingsError(
            f"Access keys {path}: cannot be read ({error.strerror}). The server's user has to own it."
        ) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SettingsError(
            f"Access keys {path}: is not what `likewise keys` writes. Restore it, or remove it and add the keys again."
        ) from error


def _parsed(each: Any) -> AccessKey:
    scopes, digest = frozenset(each["scopes"]), bytes.fromhex(each["sha256"])
    group = each.get("group", "")
    if not (_usable(each["name"]) and (group == "" or _usable(group)) and scopes.issubset(SCOPES)):
        raise ValueError
    if len(digest) != hashlib.sha256().digest_size:
        raise ValueError
    return AccessKey(each["name"], scopes, digest, str(each["created_at"]), group)


def _usable(name: object) -> bool:
    return isinstance(name, str) and _NAME.fullmatch(name) is not None and name != ANONYMOUS.name


def add_key(path: Path, name: str, scopes: Sequence[str], group: str = "") -> str:
    """Make a new access key and return it: the one time that it is seen.

    group: those with whom it shares an error budget; empty: none. Raises InvalidValue for an unknown scope or an
    unusable name, Conflict where the name is taken.
    """
    key = _PREFIX + secrets.token_urlsafe(32)
    _store(path, name, scopes, key, group)
    return key


def create_first_key(path: Path, place: Path) -> bool:
    """Where there are no access keys yet, make one with all scopes and write it to `place`, with mode 600.

    Returns whether it did.
    """
    if read_keys(path):
        return False
    key = _PREFIX + secrets.token_urlsafe(32)
    # The key itself first: a hash whose key never reached the disk would lock everybody out.
    write_atomic(place, f"{key}\n".encode())
    _store(path, "first", ("admin",), key)
    return True


def remove_key(path: Path, name: str) -> None:
    """Forget an access key; running servers refuse it within about a second. Raises NotFound."""
    with _locked(path):
        keys = read_keys(path)
        kept = tuple(key for key in keys if key.name != name)
        if len(kept) == len(keys):
            raise NotFound(f"There is no access key named {name!r} in {path}. `likewise keys list` shows all.")
        _write(path, kept)


def _store(path: Path, name: str, scopes: Sequence[str], key: str, group: str = "") -> None:
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown or not scopes:
        raise InvalidValue(f"Scope {', '.join(unknown) or 'missing'}: give one or more of {', '.join(SCOPES)}.")
    for each in (name, group) if group else (name,):
        if not _usable(each):
            raise InvalidValue(f"The name {each!r} cannot be used. Take up to 64 letters, digits, dots, dashes and _.")
    with _locked(path):
        keys = read_keys(path)
        if any(each.name == name for each in keys):
            raise Conflict(f"There is an access key named {name!r} already. Remove it first, or take another name.")
        # the two are accounts by their names: a group must not spend what belongs to a single key
        if any(each.group == name for each in keys) and group != name:
            raise Conflict(f"There is a group named {name!r} already. Take another name for the key.")
        if any(each.name == group and each.group != group for each in keys):
            raise Conflict(f"There is an access key named {group!r} already. Take another name for the group.")
        created_at = datetime.now(UTC).isoformat(timespec="seconds")
        _write(path, (*keys, AccessKey(name, frozenset(scopes), _digest(key.encode()), created_at, group)))


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def _write(path: Path, keys: Sequence[AccessKey]) -> None:
    rows = [
        {
            "name": key.name,
            **({"group": key.group} if key.group else {}),
            "scopes": sorted(key.scopes),
            "sha256": key.digest.hex(),
            "created_at": key.created_at,
        }
        for key in keys
    ]
    write_atomic(path, json.dumps({"keys": rows}, indent=2).encode() + b"\n")


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keep two commands that change one file from losing each other's change."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(path.name + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _by_digest(keys: Sequence[AccessKey]) -> dict[bytes, AccessKey]:
    return {key.digest: key for key in keys}


class AccessControl:
    """Checks the access key of each request. Belongs to one event loop."""

    def __init__(self, keys_file: Path | None, required: bool, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Set up. keys_file: None: nobody is checked. required: False: a request without a key passes.

        Raises SettingsError where the file cannot be used.
        """
        self._path = keys_file
        self._required = required and keys_file is not None
        self._monotonic = monotonic
        self._stamp = self._look()
        self._next_look_at = monotonic() + _LOOK_EVERY_S if keys_file else float("inf")
        # Neither lookup is constant in time, but what they could tell is a hash seeded at random for each process, of a
        # digest that nobody can choose; that a digest is the same is found in constant time, below.
        self._keys = _by_digest(read_keys(keys_file) if keys_file else ())
        self._verified: dict[bytes | str, Principal] = {}

    def check(self, authorization: bytes | str | None, scope: str) -> Principal:
        """Return who sent a request with such an Authorization header, ANONYMOUS where no key is needed or sent.

        Raises Unauthorized where a key is needed or the one sent is not known, Forbidden where it lacks the scope.
        """
        if self._monotonic() >= self._next_look_at:
            self._refresh()
        if not authorization or self._path is None:
            if self._required:
                raise Unauthorized("Send an access key: `Authorization: Bearer KEY`; `likewise keys add` makes one.")
            return ANONYMOUS
        principal = self._verified.get(authorization)
        if principal is None:
            principal = self._verify(authorization)
        if scope in principal.scopes or "admin" in principal.scopes:
            return principal
        raise Forbidden(f"Access key {principal.name!r} lacks the scope `{scope}`. Use a key that has it.")

    def _verify(self, authorization: bytes | str) -> Principal:
        header = authorization if isinstance(authorization, bytes) else authorization.encode("utf-8", "replace")
        scheme, _, token = header.partition(b" ")
        if scheme.lower() != b"bearer" or not token.strip():
            raise Unauthorized("The Authorization header has to read `Bearer KEY`.")
        digest = _digest(token.strip())
        found = self._keys.get(digest)
        if found is None or not hmac.compare_digest(found.digest, digest):
            raise Unauthorized("This access key is not known here. It may have been removed; ask for a new one.")
        if len(self._verified) >= _VERIFIED_LIMIT:
            self._verified.clear()
        principal = found.principal
        if len(authorization) <= _VERIFIED_BYTES:
            self._verified[authorization] = principal
        return principal

    def _look(self) -> tuple[int, int, int] | None:
        try:
            status = self._path.stat() if self._path else None
        except OSError:
            return None
        return (status.st_mtime_ns, status.st_size, status.st_ino) if status else None

    def _refresh(self) -> None:
        """Take over a keys file that changed; an unusable one lets nobody in rather than anybody it should not."""
        self._next_look_at = self._monotonic() + _LOOK_EVERY_S
        stamp = self._look()
        if stamp == self._stamp or self._path is None:
            return
        self._stamp = stamp
        self._verified.clear()
        try:
            self._keys = _by_digest(read_keys(self._path))
        except SettingsError as error:
            self._keys = {}
            log.error("%s Until then every access key is refused.", error.detail)
        else:
            log.info("Access keys: %d in %s.", len(self._keys), self._path)
