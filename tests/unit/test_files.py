"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from likewise.files import PUBLIC, create_atomic, open_regular, read_regular, write_atomic, write_out, write_synced


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_is_replaced_as_a_whole(tmp_path):
    """Also where its folder is not there yet; private unless told otherwise, whatever the umask."""
    path = tmp_path / "a" / "secret"
    write_atomic(path, b"old")
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert mode(path) == 0o600
    write_atomic(path, b"open", PUBLIC)
    assert mode(path) == 0o644
    assert [each.name for each in path.parent.iterdir()] == ["secret"]


def test_what_cannot_be_finished_leaves_the_old_file(tmp_path, monkeypatch):
    """A full disk, for one."""
    path = tmp_path / "file"
    write_atomic(path, b"old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="space"):
        write_atomic(path, b"new")
    with pytest.raises(OSError, match="space"):
        create_atomic(tmp_path / "other", b"new")
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_what_was_asked_for_is_written_into_what_is_no_file(tmp_path):
    """A file does not take the place of a device or pipe, nor of a link, behind which it is written as a whole."""
    pipe, link, file = tmp_path / "pipe", tmp_path / "link", tmp_path / "file"
    os.mkfifo(pipe)
    link.symlink_to(file)
    write_out(link, b"first")
    write_out(link, b"second")
    assert link.is_symlink()
    assert file.read_bytes() == b"second"
    with ThreadPoolExecutor(1) as executor:
        found = executor.submit(pipe.read_bytes)
        write_out(pipe, b"through")
        assert found.result() == b"through"
    assert pipe.is_fifo()
    write_out(tmp_path / "new" / "file", b"there")
    assert (tmp_path / "new" / "file").read_bytes() == b"there"
    with pytest.raises(IsADirectoryError):
        write_out(tmp_path, b"x")


def test_of_many_who_create_a_file_one_does(tmp_path):
    """And everybody reads what that one wrote."""
    path = tmp_path / "file"
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda i: create_atomic(path, b"%d" % i), range(32)))
    assert sum(made) == 1
    assert path.read_bytes() == b"%d" % made.index(True)
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_a_file_of_a_folder_to_come_is_brought_to_disk(tmp_path, monkeypatch):
    """Content and mode, and the sync is asked for."""
    synced = []
    monkeypatch.setattr(os, "fsync", synced.append)
    write_synced(tmp_path / "file", b"content")
    assert (tmp_path / "file").read_bytes() == b"content"
    assert len(synced) == 1


@pytest.mark.parametrize("place", ["pipe", "folder", "endless", "null", "nowhere", "itself", "socket"])
def test_what_is_no_file_is_not_read(tmp_path, place):
    """An error at once: nobody waits for whoever writes into a pipe, and a device has no end."""
    path = tmp_path / "here"
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as bound:
        if place == "pipe":
            os.mkfifo(path)
        elif place == "folder":
            path.mkdir()
        elif place == "socket":
            bound.bind(str(path))
        else:
            to = {"endless": "/dev/zero", "null": "/dev/null", "nowhere": tmp_path / "no" / "where", "itself": path}
            path.symlink_to(to[place])
        with pytest.raises(OSError):  # noqa: PT011 - which one is the system's
            read_regular(path, 100)
        with pytest.raises(OSError):  # noqa: PT011
            open_regular(path)


def test_a_file_is_read_up_to_a_length(tmp_path):
    """Through a link as well, as those that a cluster mounts are."""
    (tmp_path / "there").write_bytes(b"x" * 100)
    (tmp_path / "here").symlink_to(tmp_path / "there")
    assert read_regular(tmp_path / "here", 100) == b"x" * 100
    with pytest.raises(OSError, match="over 99 bytes"):
        read_regular(tmp_path / "here", 99)
