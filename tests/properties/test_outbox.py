"""Results that wait: in order, bounded, and there again after a restart at any point."""

from __future__ import annotations

import logging
import tempfile
from collections import deque
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from likewise_client._device.outbox import NAME, OVERHEAD, Outbox


class Restarts(RuleBasedStateMachine):
    """An outbox against a plain queue, with restarts of the app between any two steps."""

    @initialize(entries=st.integers(1, 8), size=st.integers(300, 1200))
    def begin(self, entries, size):
        self.folder = tempfile.TemporaryDirectory()
        self.most, self.size = entries, size
        self.model: deque[tuple[str, bytes]] = deque()
        self.dropped = self.number = 0
        self.taken = (0, 0)
        self.open()

    def open(self):
        self.outbox = Outbox(self.most, self.size, Path(self.folder.name))
        self.here, self.taken = 0, (0, 0)

    def weight(self):
        return sum(len(entry) + len(name) + OVERHEAD for name, entry in self.model)

    @rule(name=st.sampled_from(["f@1", "g@2"]), length=st.integers(0, 1300))
    def add(self, name, length):
        self.number += 1
        entry = b"%d" % self.number + b"x" * length
        self.outbox.add(name, entry)
        if len(entry) + len(name) + OVERHEAD > self.size:
            self.here += 1
            return
        self.model.append((name, entry))
        while len(self.model) > self.most or self.weight() > self.size:
            self.model.popleft()
            self.here += 1
            self.taken = (self.taken[0], max(0, self.taken[1] - 1))

    @rule(count=st.integers(1, 5))
    def take(self, count):
        until, name, entries = self.outbox.batch(count, 600)
        assert [(name, entry) for entry in entries] == list(self.model)[: len(entries)]
        assert bool(entries) == bool(self.model)
        self.taken = (until, len(entries))

    @rule()
    def sent(self):
        until, count = self.taken
        self.outbox.done(until)
        for _ in range(count):
            self.model.popleft()
        self.taken = (until, 0)

    @rule()
    def restart(self):
        self.open()

    @rule()
    def close(self):
        self.outbox.close()
        self.open()

    @rule(cut=st.integers(1, 12))
    def torn(self, cut):
        """The app ended in the middle of a record that was being written."""
        path = Path(self.folder.name) / NAME
        with path.open("ab") as file:
            file.write(b"E\x40\0\0\0abcdefgh"[:cut])
        self.open()

    @invariant()
    def the_same(self):
        assert len(self.outbox) == len(self.model)
        assert self.outbox.size_bytes == self.weight()
        assert self.outbox.dropped == self.here

    def teardown(self):
        if hasattr(self, "folder"):
            self.outbox.close()
            self.folder.cleanup()


TestRestarts = Restarts.TestCase
TestRestarts.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


@given(st.binary(max_size=200), st.integers(0, 400), st.integers(0, 255))
@settings(max_examples=100, deadline=None)
def test_whatever_is_on_disk_the_outbox_begins(junk, at, byte):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        outbox = Outbox(10, 10_000, folder)
        for number in range(5):
            outbox.add("f", b"%d" % number * 20)
        outbox.close()
        path = folder / NAME
        content = bytearray(path.read_bytes())
        content[min(at, len(content) - 1)] = byte
        path.write_bytes(bytes(content) + junk)
        found = Outbox(10, 10_000, folder)
        entries = found.batch(10, 10_000)[2]
        assert entries == [b"%d" % number * 20 for number in range(len(entries))]
        found.add("f", b"more")
        found.close()
        again = Outbox(10, 10_000, folder)
        assert again.batch(11, 10_000)[2] == [*entries, b"more"]
        again.close()


def test_a_file_that_is_none_is_told(tmp_path, caplog: pytest.LogCaptureFixture):
    (tmp_path / NAME).write_bytes(b"\x80\x04pickled")
    with caplog.at_level(logging.WARNING, "likewise_client"):
        outbox = Outbox(10, 1000, tmp_path)
    assert len(outbox) == 0
    assert "cannot be used" in caplog.text


def test_the_file_stays_small_however_much_goes_through(tmp_path):
    outbox = Outbox(10, 5000, tmp_path)
    for number in range(3000):
        outbox.add("f", b"%d" % number * 20)
        outbox.done(outbox.batch(10, 5000)[0])
    assert (tmp_path / NAME).stat().st_size < 1 << 17
    outbox.close()
