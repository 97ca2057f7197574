"""Access keys: made, kept as hashes, checked, removed."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from likewise.access import ANONYMOUS, AccessControl, add_key, create_first_key, read_keys, remove_key
from likewise.errors import Conflict, Forbidden, InvalidValue, NotFound, SettingsError, Unauthorized


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "access-keys.json"


def bearer(key: str) -> bytes:
    return f"Bearer {key}".encode()


def test_key_itself_is_never_kept(path: Path) -> None:
    """The file holds name, scopes, date and hash, readable by its owner alone."""
    key = add_key(path, "cam-1", ["infer", "insert"])
    assert key not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    (kept,) = read_keys(path)
    assert (kept.name, kept.scopes) == ("cam-1", {"infer", "insert"})


def test_keys_are_long_and_differ(path: Path) -> None:
    """A key carries 256 random bits."""
    keys = {add_key(path, f"cam-{i}", ["infer"]) for i in range(5)}
    assert len(keys) == 5
    assert all(len(key) == 46 for key in keys)


@pytest.mark.parametrize(
    ("name", "scopes", "error"),
    [
        pytest.param("cam", ["fly"], InvalidValue, id="unknown-scope"),
        pytest.param("cam", [], InvalidValue, id="no-scope"),
        pytest.param("", ["infer"], InvalidValue, id="no-name"),
        pytest.param("a b", ["infer"], InvalidValue, id="space"),
        pytest.param("x" * 65, ["infer"], InvalidValue, id="long"),
        pytest.param("taken", ["infer"], Conflict, id="taken"),
    ],
)
def test_unusable_keys_are_refused(path: Path, name: str, scopes: list[str], error: type[Exception]) -> None:
    """A refused key leaves the file as it was."""
    add_key(path, "taken", ["infer"])
    before = path.read_bytes()
    with pytest.raises(error):
        add_key(path, name, scopes)
    assert path.read_bytes() == before


def test_removing_what_is_not_there_is_an_error(path: Path) -> None:
    """A misspelt name must not look like success."""
    with pytest.raises(NotFound, match="cam-9"):
        remove_key(path, "cam-9")


def test_keys_added_at_once_are_all_kept(path: Path) -> None:
    """Two commands never lose each other's key."""
    threads = [threading.Thread(target=add_key, args=(path, f"cam-{i}", ["infer"])) for i in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {key.name for key in read_keys(path)} == {f"cam-{i}" for i in range(12)}
    assert sorted(each.name for each in path.parent.iterdir()) == ["access-keys.json", "access-keys.json.lock"]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "null",
        '{"keys": 5}',
        "[" * 100_000,
        '{"keys": [{"name": "x"}]}',
        '{"keys": [{"name": "x", "scopes": ["fly"], "sha256": "00", "created_at": ""}]}',
        '{"keys": [{"name": "x", "scopes": ["admin"], "sha256": "", "created_at": ""}]}',
    ],
)
def test_broken_file_is_refused_by_name(path: Path, content: str) -> None:
    """What is not a keys file never counts as one without keys."""
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(SettingsError, match=str(path)):
        AccessControl(path, required=True)


def test_unreadable_file_is_refused_by_name(path: Path) -> None:
    """A folder where the file should be is an error with a remedy."""
    path.mkdir(parents=True)
    with pytest.raises(SettingsError, match="cannot be read"):
        read_keys(path)


@pytest.mark.parametrize("spell", [bearer, lambda key: f"bearer  {key} ", lambda key: f"BEARER {key}"])
def test_known_key_passes(path: Path, spell: Callable[[str], bytes | str]) -> None:
    """The scheme is read without regard to case, as HTTP asks."""
    control = AccessControl(path, required=True)
    key = add_key(path, "cam-1", ["infer"])
    control = AccessControl(path, required=True)
    assert control.check(spell(key), "infer").name == "cam-1"
    assert control.check(spell(key), "infer").name == "cam-1"


@pytest.mark.parametrize(
    "header",
    [None, b"", "", b"Bearer", b"Bearer ", b"Basic YTpi", b"Bearer wrong", b"lw_x", "Bearer \udcff", b"Bearer \xff"],
)
def test_anything_else_is_unauthorized(path: Path, header: bytes | str | None) -> None:
    """No header, another scheme, an unknown key: the same refusal."""
    add_key(path, "cam-1", ["infer"])
    with pytest.raises(Unauthorized):
        AccessControl(path, required=True).check(header, "infer")


def test_hash_is_no_key(path: Path) -> None:
    """Whoever reads the file cannot use what stands there."""
    add_key(path, "cam-1", ["infer"])
    digest = json.loads(path.read_text())["keys"][0]["sha256"]
    with pytest.raises(Unauthorized):
        AccessControl(path, required=True).check(bearer(digest), "infer")


def test_scope_is_checked_each_time(path: Path) -> None:
    """A key that was let in once is still refused what its scopes do not cover; admin covers all."""
    camera, admin = add_key(path, "cam-1", ["infer"]), add_key(path, "root", ["admin"])
    control = AccessControl(path, required=True)
    control.check(bearer(camera), "infer")
    with pytest.raises(Forbidden, match=r"cam-1.*insert"):
        control.check(bearer(camera), "insert")
    assert {control.check(bearer(admin), scope).name for scope in ("infer", "insert", "admin")} == {"root"}


def test_no_key_needed_still_checks_the_one_sent(path: Path) -> None:
    """On loopback a wrong key is refused, so that tests there find it."""
    key = add_key(path, "cam-1", ["infer"])
    control = AccessControl(path, required=False)
    assert control.check(None, "admin") == ANONYMOUS
    assert control.check(bearer(key), "infer").name == "cam-1"
    with pytest.raises(Unauthorized):
        control.check(b"Bearer wrong", "infer")


def test_without_a_file_nobody_is_checked() -> None:
    """No keys file, no checks."""
    assert AccessControl(None, required=True).check(b"Bearer whatever", "admin") == ANONYMOUS


def test_changes_take_effect_while_running(path: Path) -> None:
    """A key added later is let in and a removed one refused, at the latest a second after."""
    clock = Clock()
    first = add_key(path, "first", ["infer"])
    control = AccessControl(path, True, clock)
    control.check(bearer(first), "infer")
    second = add_key(path, "second", ["infer"])
    remove_key(path, "first")
    clock.now += 1.0
    with pytest.raises(Unauthorized):
        control.check(bearer(first), "infer")
    assert control.check(bearer(second), "infer").name == "second"


def test_file_that_breaks_while_running_lets_nobody_in(path: Path) -> None:
    """A broken or vanished file closes the door, and a good one opens it again."""
    clock = Clock()
    key = add_key(path, "cam-1", ["infer"])
    good = path.read_bytes()
    control = AccessControl(path, True, clock)
    for break_it in (lambda: path.write_text("{"), path.unlink):
        control.check(bearer(key), "infer")
        break_it()
        clock.now += 1.0
        with pytest.raises(Unauthorized):
            control.check(bearer(key), "infer")
        path.write_bytes(good)
        clock.now += 1.0
    assert control.check(bearer(key), "infer").name == "cam-1"


def test_long_headers_are_not_remembered(path: Path) -> None:
    """A key among spaces is good, and takes no memory."""
    key = add_key(path, "cam-1", ["infer"])
    access = AccessControl(path, required=True)
    for spaces in range(300, 310):
        assert access.check(b"Bearer " + b" " * spaces + key.encode(), "infer").name == "cam-1"
    assert not access._verified


@pytest.mark.parametrize("name", ["", "anonymous", "a\nb", "\ud800", "x" * 65])
@pytest.mark.parametrize("field", ["name", "group"])
def test_names_that_no_command_makes_are_refused(path: Path, field: str, name: str) -> None:
    """An account without a name is that of all who have no key."""
    if field == "group" and not name:
        return
    add_key(path, "cam-1", ["infer"])
    document = json.loads(path.read_text())
    document["keys"][0][field] = name
    path.write_text(json.dumps(document))
    with pytest.raises(SettingsError, match="is not what `likewise keys` writes"):
        read_keys(path)


@pytest.mark.parametrize("mark", ["\ufeff", "\r\n"])
def test_a_file_that_an_editor_saved_is_read(path: Path, mark: str) -> None:
    """With a byte order mark, or other ends of lines."""
    key = add_key(path, "cam-1", ["infer"])
    text = path.read_text()
    path.write_bytes((mark + text if mark == "\ufeff" else text.replace("\n", mark)).encode())
    assert AccessControl(path, required=True).check(bearer(key), "infer").name == "cam-1"


@pytest.mark.parametrize("place", ["pipe", "endless", "huge"])
def test_what_cannot_be_read_at_once_is_refused_also_while_running(path: Path, place: str) -> None:
    """Nobody waits for a pipe, and nothing without an end is read, on the event loop least of all."""
    key, clock = add_key(path, "cam-1", ["infer"]), Clock()
    access = AccessControl(path, required=True, monotonic=clock)
    path.unlink()
    if place == "pipe":
        os.mkfifo(path)
    elif place == "endless":
        path.symlink_to("/dev/zero")
    else:
        with path.open("wb") as file:
            file.truncate(1 << 40)
    with pytest.raises(SettingsError, match="cannot be read"):
        read_keys(path)
    clock.now += 2.0
    with pytest.raises(Unauthorized):
        access.check(bearer(key), "infer")


def test_memory_of_verified_headers_is_bounded(path: Path) -> None:
    """Nobody with a key can fill the memory by spelling it in many ways."""
    key = add_key(path, "cam-1", ["infer"])
    control = AccessControl(path, required=True)
    for i in range(1500):
        control.check(f"Bearer {' ' * i}{key}", "infer")
    assert len(control._verified) <= 1024


def test_unknown_headers_are_not_remembered(path: Path) -> None:
    """Wrong keys cost no memory."""
    add_key(path, "cam-1", ["infer"])
    control = AccessControl(path, required=True)
    for i in range(50):
        with pytest.raises(Unauthorized):
            control.check(f"Bearer wrong{i}", "infer")
    assert not control._verified


def test_first_key_is_written_once_for_its_owner(path: Path) -> None:
    """The first start leaves a key where only the server's user reads it; the next start makes none."""
    place = path.parent / "access-key"
    assert create_first_key(path, place) is True
    key = place.read_text().strip()
    assert place.stat().st_mode & 0o777 == 0o600
    assert AccessControl(path, required=True).check(bearer(key), "admin").name == "first"
    assert create_first_key(path, place) is False
    assert place.read_text().strip() == key
