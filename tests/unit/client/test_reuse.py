"""The decorator: look up, else compute and insert; the device goes on without a server."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest

from likewise_client import AsyncClient, Client, ConnectionFailed, Retry, UnknownFunction
from likewise_client.testing import FakeServer

Wrap = Callable[..., Callable[[Any], Any]]


@pytest.fixture
def fake() -> FakeServer:
    """A function whose results devices compute, of two-dimensional keys."""
    server = FakeServer()
    server.function("words", radius=0.5, dimension=2)
    return server


@pytest.fixture(params=["sync", "async"])
def wrap(request: pytest.FixtureRequest, fake: FakeServer) -> Any:
    """Wrap a plain function with the decorator of either client, called synchronously."""
    if request.param == "sync":
        with Client(transport=fake) as client:
            yield lambda compute, name="words", **options: client.reuse(name, **options)(compute)
        return
    loop = asyncio.new_event_loop()
    with contextlib.closing(loop):
        client_ = AsyncClient(transport=fake)

        def make(compute: Callable[[Any], Any], name: str = "words", **options: Any) -> Callable[[Any], Any]:
            @client_.reuse(name, **options)
            async def reusing(value: Any) -> Any:
                await asyncio.sleep(0)
                return compute(value)

            return lambda value: loop.run_until_complete(reusing(value))

        yield make
        loop.run_until_complete(client_.aclose())


class Recognizer:
    """A computation that counts how often it runs."""

    def __init__(self, result: Any = "word") -> None:
        self.runs = 0
        self.result = result

    def __call__(self, value: Any) -> Any:
        self.runs += 1
        return self.result


def test_near_inputs_are_computed_once(wrap: Wrap, fake: FakeServer) -> None:
    """The second input is near the first: its result is reused, and the ticket was redeemed."""
    compute = Recognizer({"label": "yes"})
    reusing = wrap(compute, key=lambda value: value[:2], ttl_s=60.0, tags=["t"])
    assert reusing([0, 0, "raw"]) == {"label": "yes"}
    assert reusing([0.1, 0, "other"]) == {"label": "yes"}
    assert compute.runs == 1
    assert fake._functions["words"].redeemed == 1
    assert fake._functions["words"].entries[0].tags == ("t",)
    assert b"cost_s" in fake.calls[1].body


def test_without_a_key_the_raw_input_is_sent(wrap: Wrap, fake: FakeServer) -> None:
    """The server makes the key from the input."""
    compute = Recognizer()
    reusing = wrap(compute)
    assert [reusing(np.array([1.0, 2.0])), reusing(np.array([1.0, 2.1]))] == ["word", "word"]
    assert compute.runs == 1
    assert b"input_base64" in fake.calls[1].body


@pytest.mark.parametrize(
    "options",
    [
        {"key": lambda value: {"a": value, "b": [0, 0]}},
        {"key": lambda value: {"b": [0, 0], "a": value}, "key_type": "a"},
        {"key": lambda value: value, "key_type": "a"},
    ],
)
def test_keys_by_key_type(options: dict[str, Any], wrap: Wrap, fake: FakeServer) -> None:
    """An insert carries all keys; the lookup names one."""
    compute = Recognizer()
    reusing = wrap(compute, **options)
    assert [reusing([5, 5]), reusing([5, 5]), reusing([9, 9])] == ["word"] * 3
    assert compute.runs == 2
    assert b'"keys":{' in fake.calls[1].body


def test_results_of_ones_own_type(wrap: Wrap) -> None:
    """`encode` and `decode` carry what JSON does not; arrays and bytes need neither."""
    reusing = wrap(Recognizer({1, 2}), key=lambda value: value, encode=sorted, decode=set)
    assert [reusing([0, 0]), reusing([0, 0])] == [{1, 2}, {1, 2}]
    array = wrap(Recognizer(np.eye(2)), key=lambda _: [50, 50])
    np.testing.assert_array_equal(array(1), array(1))
    raw = wrap(Recognizer(b"\x00\xff"), key=lambda _: [90, 90])
    assert [raw(1), raw(1)] == [b"\x00\xff", b"\x00\xff"]


def test_a_result_of_none_is_a_result(wrap: Wrap) -> None:
    """Nothing recognized is worth sharing too."""
    compute = Recognizer(None)
    reusing = wrap(compute, key=lambda value: value)
    assert [reusing([0, 0]), reusing([0, 0])] == [None, None]
    assert compute.runs == 1


def test_the_device_goes_on_without_a_server(wrap: Wrap, fake: FakeServer) -> None:
    """Computed locally, without waiting, and shared again when the server is back."""
    compute = Recognizer()
    reusing = wrap(compute, key=lambda value: value)
    fake.stop()
    assert [reusing([0, 0]), reusing([0, 0])] == ["word", "word"]
    assert compute.runs == 2
    assert fake.calls == []


@pytest.mark.parametrize(
    "problem", [500, 503, 502, httpx.ReadTimeout("slow"), httpx.RemoteProtocolError("gone")], ids=repr
)
def test_a_failing_server_costs_no_result(problem: Any, wrap: Wrap, fake: FakeServer) -> None:
    """Whatever happens to the lookup, the device answers."""
    fake.fail(problem)
    assert wrap(Recognizer(), key=lambda value: value)([0, 0]) == "word"


def test_without_fallback_the_error_is_raised(fake: FakeServer) -> None:
    """For who would rather know than compute."""
    fake.stop()
    with Client(transport=fake, retry=Retry(rounds=2, first_delay_s=0.0)) as client:
        compute = Recognizer()
        with pytest.raises(ConnectionFailed):
            client.reuse("words", key=lambda value: value, fallback=False)(compute)([0, 0])
        assert compute.runs == 0


def test_a_mistake_is_raised_even_with_fallback(wrap: Wrap) -> None:
    """An unknown function would otherwise never share anything, silently."""
    compute = Recognizer()
    with pytest.raises(UnknownFunction):
        wrap(compute, name="nowhere", key=lambda value: value)([0, 0])
    assert compute.runs == 0


@pytest.mark.parametrize("problem", [413, 503, httpx.ReadTimeout("slow")], ids=repr)
def test_a_failed_insert_costs_no_result(
    problem: Any, wrap: Wrap, fake: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, and the result returned."""

    class Failing(Recognizer):
        def __call__(self, value: Any) -> Any:
            fake.fail(problem, times=4)
            return super().__call__(value)

    with caplog.at_level(logging.WARNING, "likewise_client"):
        assert wrap(Failing(), key=lambda value: value)([0, 0]) == "word"
    assert "could not be shared" in caplog.text


def test_a_result_that_cannot_be_sent_is_still_returned(wrap: Wrap, caplog: pytest.LogCaptureFixture) -> None:
    """An object without a JSON form stays on the device, with a word in the log."""
    marker = object()
    assert wrap(Recognizer(marker), key=lambda value: value)([0, 0]) is marker
    assert "could not be shared" in caplog.text


def test_what_the_function_raises_passes_through(wrap: Wrap, fake: FakeServer) -> None:
    """Unchanged, and nothing is inserted."""

    def broken(_value: Any) -> Any:
        raise LookupError("no model file")

    with pytest.raises(LookupError, match="no model file"):
        wrap(broken, key=lambda value: value)([0, 0])
    assert [call.route for call in fake.calls] == ["lookup"]


def test_the_wrapped_function_keeps_its_name(fake: FakeServer) -> None:
    """Tools that read names and docstrings see the function."""
    with Client(transport=fake) as client:

        @client.reuse("words", key=lambda value: [value, value])
        def recognize(value: float) -> str:
            """Recognize."""
            return str(value)

        assert (recognize.__name__, recognize.__doc__, recognize(1.0)) == ("recognize", "Recognize.", "1.0")


async def test_the_async_decorator_takes_coroutine_functions_alone(fake: FakeServer) -> None:
    """A blocking function would hold up the loop."""
    async with AsyncClient(transport=fake) as client:
        with pytest.raises(TypeError, match="coroutine"):
            client.reuse("words")(lambda value: value)  # type: ignore[arg-type,return-value]


def test_each_client_decorates_its_own_kind_of_function(fake: FakeServer) -> None:
    """A coroutine function under `Client`, or a plain one under `AsyncClient`, is refused when it is decorated."""

    async def later(value: str) -> str:
        return value

    with pytest.raises(TypeError, match="coroutine"):
        Client(transport=fake).reuse("words")(later)
    with pytest.raises(TypeError, match="coroutine"):
        AsyncClient(transport=fake).reuse("words")(lambda value: value)
