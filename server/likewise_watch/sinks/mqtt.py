"""Results to an MQTT broker. The only file that knows paho."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import Any
from urllib.parse import unquote, urlsplit

from likewise.errors import SettingsError
from likewise_watch.address import addresses
from likewise_watch.found import Found
from likewise_watch.sinks.outbox import DRAINS

try:
    from paho.mqtt import client as paho
    from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
except ImportError as error:
    raise SettingsError("--mqtt needs paho-mqtt, which is not installed; `pip install 'likewise[mqtt]'`.") from error

log = logging.getLogger(__name__)

QOS = 1
"""At least once: what was taken is sent again after a lost connection."""


_ANSWERS = frozenset({paho.CONNACK >> 4, paho.PUBACK >> 4, paho.PINGRESP >> 4})
"""All that a broker sends to who only publishes at QoS 1, by the type of the packet."""
_ANSWER_BYTES = 64
"""The largest of them takes two behind its head."""


class _Publisher(paho.Client):
    """A client that nobody sends messages to: paho would keep or answer them, as many and as large as they are.

    It overrides what paho keeps to itself, since that has no bound to set.
    """

    unasked = False
    """Whether the broker sent what nobody asked for, which ended the connection."""

    def _sock_recv(self, bufsize: int) -> bytes:
        self.unasked = bufsize > _ANSWER_BYTES
        if self.unasked:
            raise ConnectionError("the broker sends a message")
        return super()._sock_recv(bufsize)

    def _packet_handle(self) -> MQTTErrorCode:
        self.unasked = self._in_packet["command"] >> 4 not in _ANSWERS
        return MQTTErrorCode.MQTT_ERR_PROTOCOL if self.unasked else super()._packet_handle()


class Mqtt:
    """Publishes results under one topic, in which `{stream}` stands for the name of the stream.

    url: `mqtt://user:password@host:port/topic`, or `mqtts` for TLS. limit, limit_bytes: of what waits for the broker.
    Raises SettingsError where the broker is not there, or lets nobody in, at first; afterwards it is waited for.
    """

    def __init__(self, url: str, limit: int, limit_bytes: int, wait_s: float, drain_s: float = 5.0) -> None:
        secure, host, port, user, password, self._topic = _parts(url)
        self._drain_s = drain_s
        self._closed = False
        self._limit = min(limit, 60_000)  # message ids have 16 bits
        self._limit_bytes = limit_bytes
        self._waiting: dict[int, int] = {}  # by message id: size
        self._nbytes = 0
        self._acknowledged: deque[int] = deque()  # by paho's thread, which must not wait for a lock of ours
        self._progress = threading.Event()
        self._lock = threading.Lock()
        self._refusal = ""
        self._complained = False
        self._answered = threading.Event()
        self.lost = 0
        shown = addresses([url])[0].shown
        self._client = _Publisher(CallbackAPIVersion.VERSION2)
        self._client.max_queued_messages_set(0)  # counted here, in bytes as well
        self._client.reconnect_delay_set(1, 30)
        if user is not None:
            self._client.username_pw_set(user, password)
        if secure:
            self._client.tls_set()
        self._client.on_connect = self._connected
        self._client.on_publish = self._published
        self._client.on_disconnect = self._disconnected
        self._client.connect_timeout = wait_s
        try:
            self._client.connect(host, port)
        except (OSError, ValueError) as error:
            raise SettingsError(f"--mqtt {shown}: no broker there ({error}).") from None
        self._client.loop_start()
        if not self._answered.wait(wait_s) or self._refusal:
            self._client.loop_stop()
            raise SettingsError(f"--mqtt {shown}: {self._refusal or 'the broker does not answer'}.")

    def put(self, found: Found) -> None:
        """Queue a result.

        Where the queue is full it is lost; one of a recording waits for room, as long as the broker takes any.
        """
        topic, message = self._topic.replace("{stream}", found.stream), found.document()
        patient = found.frame.position_s is not None and len(message) <= self._limit_bytes
        while not self._publish(topic, message):
            if not (patient and self._client.is_connected()) or not self._progress.wait(self._drain_s):
                with self._lock:
                    self.lost += 1
                return

    def _publish(self, topic: str, message: bytes) -> bool:
        """Return whether there was room for a message, or nothing is taken any more."""
        with self._lock:
            if not self._closed:
                if not self._has_room(len(message)):
                    return False
                self._waiting[self._client.publish(topic, message, qos=QOS).mid] = len(message)
                self._nbytes += len(message)
            return True

    def close(self) -> None:
        """Deliver what waits, for a while, and take leave."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        deadline = time.monotonic() + DRAINS * self._drain_s
        while not self._has_room(self._limit_bytes):
            if time.monotonic() > deadline or not self._progress.wait(self._drain_s):
                break
        self.lost += len(self._waiting)
        self._client.disconnect()
        self._client.loop_stop()

    def _has_room(self, nbytes: int) -> bool:
        """Take note of what was acknowledged; return whether so much may wait beside the rest."""
        self._progress.clear()
        later = []
        while self._acknowledged:
            mid = self._acknowledged.popleft()
            if mid in self._waiting:
                self._nbytes -= self._waiting.pop(mid)
            else:
                later.append(mid)  # acknowledged before `publish` returned
        self._acknowledged.extend(later)
        return len(self._waiting) < self._limit and self._nbytes + nbytes <= self._limit_bytes

    def _published(self, client: Any, userdata: Any, mid: int, reason: Any, properties: Any) -> None:
        self._acknowledged.append(mid)
        self._complained = False
        self._progress.set()

    def _connected(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        self._refusal = f"the broker says: {reason}" if reason.is_failure else ""
        self._answered.set()

    def _disconnected(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure and not self._complained:
            why = "it sends what nobody asked for" if self._client.unasked else reason
            log.warning("the MQTT broker is away (%s); it is tried again", why)
            self._complained = True  # once until it takes a result again


def _parts(url: str) -> tuple[bool, str, int, str | None, str | None, str]:
    """Return TLS, host, port, user, password and topic. Raises SettingsError for what is no such URL."""
    try:
        parts = urlsplit(url)
        secure, host, port = parts.scheme == "mqtts", parts.hostname, parts.port
    except ValueError:
        host, secure, port, parts = None, False, None, urlsplit("")
    topic = unquote(parts.path[1:])
    wrong = not host or not topic or set(topic) & set("+#\0") or "?" in url or "#" in url
    if wrong or parts.scheme not in ("mqtt", "mqtts"):
        raise SettingsError("--mqtt takes mqtt://host:port/topic, with a topic without + and #.")
    user = None if parts.username is None else unquote(parts.username)
    password = None if parts.password is None else unquote(parts.password)
    return secure, str(host), port or (8883 if secure else 1883), user, password, topic
