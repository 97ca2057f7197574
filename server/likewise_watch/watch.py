"""All sources at once: two threads for each, one set of sinks, one end."""

from __future__ import annotations

import logging
import random
import secrets
import threading
import time
from collections.abc import Callable, Sequence

from likewise.errors import LikewiseError, SettingsError
from likewise_client import Client, LikewiseClientError, Unavailable
from likewise_watch.address import Address
from likewise_watch.backoff import Backoff
from likewise_watch.counts import Counts
from likewise_watch.encoding import Encode
from likewise_watch.found import Sink
from likewise_watch.reader import Reader, Reading
from likewise_watch.sender import Sender

log = logging.getLogger(__name__)

END_S = 5.0
"""How long threads may take to end once they are told to; one that hangs in a camera is left behind."""


class Watch:
    """Reads, sends and tells, until all sources have ended or `stop` is called."""

    def __init__(
        self,
        addresses: Sequence[Address],
        reading: Reading,
        client: Client,
        function: str,
        encode: Encode,
        sinks: Sequence[Sink],
        rng: random.Random | None = None,
    ) -> None:
        self._client = client
        self._function = function
        self._encode = encode
        self._sinks = sinks
        self._reading = reading
        self._rng = rng or random.Random()
        self._stopping = threading.Event()
        self._failure: LikewiseError | None = None
        # names of streams are new each time, since frame numbers begin anew, and a server takes lower ones as late
        self._run = secrets.token_hex(4)
        self.counts = [Counts(each.name, each.shown) for each in addresses]
        self._readers = [
            Reader(address, reading, counts, self._stopping, Backoff(self._rng))
            for address, counts in zip(addresses, self.counts, strict=True)
        ]

    def stop(self) -> None:
        """Let everything come to its end; may be called from a signal handler or any thread."""
        self._stopping.set()

    def run(self, tick: Callable[[], None] = lambda: None, tick_s: float = 0.2) -> None:
        """Watch to the end. tick: called now and then meanwhile.

        Raises LikewiseError for what ended it all before: SettingsError where it was asked for what cannot be. A
        source that fails after it worked ends alone; its counts say why.
        """
        senders = []
        for reader, counts in zip(self._readers, self.counts, strict=True):
            for work in (self._read, self._send):
                thread = threading.Thread(target=work, args=(reader, counts), name=f"{work.__name__} {counts.name}")
                thread.daemon = True
                thread.start()
            senders.append(thread)
        try:
            while any(each.is_alive() for each in senders) and not self._stopping.is_set():
                tick()
                self._stopping.wait(tick_s)
        finally:
            self._end(senders)
            tick()
        if self._failure is not None:
            raise self._failure

    def _end(self, senders: Sequence[threading.Thread]) -> None:
        early = self._stopping.is_set() or any(each.is_alive() for each in senders)
        if early:
            self._stopping.set()
            for reader in self._readers:
                reader.give_up()
                if reader.handoff is not None:
                    reader.handoff.stop()
            deadline = time.monotonic() + END_S
            for thread in senders:
                thread.join(max(0.0, deadline - time.monotonic()))
        for sink in self._sinks:
            try:
                sink.close()
            except LikewiseError as error:
                self._failure = self._failure or error

    def _read(self, reader: Reader, counts: Counts) -> None:
        try:
            reader.run()
        except LikewiseError as error:
            if counts.read:
                counts.error = error.detail
                log.error("%s", error.detail)
            else:
                self.fail(error)
        except Exception as error:  # a thread that dies unseen would look like a camera that is silent
            log.exception("reading %s failed", counts.name)
            self.fail(LikewiseError(f"{counts.source}: reading failed with {type(error).__name__}."))

    def _send(self, reader: Reader, counts: Counts) -> None:
        frames = reader.wait()
        if frames is None:
            return
        stream = self._client.stream(self._function, f"{counts.name}:{self._run}", drop_late=frames.latest)
        backoff = Backoff(self._rng, max_s=2.0)
        sender = Sender(
            stream, self._encode, self._sinks, counts, self._stopping, backoff, max(10.0, self._reading.wait_s)
        )
        try:
            sender.run(frames)
        except LikewiseError as error:
            self.fail(error)
        except Exception as error:
            log.exception("sending frames of %s failed", counts.name)
            self.fail(LikewiseError(f"{counts.source}: sending failed with {type(error).__name__}: {error}"))
        finally:
            frames.stop()

    def fail(self, error: LikewiseError) -> None:
        """End all; `run` raises the error."""
        self._failure = self._failure or error
        self._stopping.set()


def described(client: Client, function: str, wait_s: float, stop: threading.Event) -> dict[str, object]:
    """Return what the server says of a function, waiting for a server that is not there yet.

    Raises SettingsError where it does not come, lets nobody in, or does not have the function.
    """
    backoff, began = Backoff(random.Random(), max_s=2.0), time.monotonic()
    where = ", ".join(client.nodes)
    while True:
        try:
            served = client.functions()
            break
        except Unavailable as error:
            if time.monotonic() - began >= wait_s or stop.is_set():
                raise SettingsError(
                    f"No server answers at {where} ({error}); start one with `likewise serve`, name it with --url, or "
                    "add --serve."
                ) from None
            stop.wait(backoff.next_s())
        except LikewiseClientError as error:
            raise SettingsError(f"{where}: {error}") from None
    names = {str(each["name"]): each for each in served} | {
        f"{each['name']}@{each['version']}": each for each in served
    }
    if function not in names:
        known = ", ".join(sorted(str(each["name"]) for each in served)) or "none"
        raise SettingsError(f"There is no function `{function[:100]}` at {where}; it serves: {known}.")
    return names[function]
