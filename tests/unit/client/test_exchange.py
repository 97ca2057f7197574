"""The exchange alone, driven by hand: no socket, no clock, no sleep."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Union

import httpx
import pytest

from likewise_client import _calls as calls
from likewise_client import _entries as entries
from likewise_client._answer import Answer, Computed, Ticket
from likewise_client._errors import (
    ConnectionFailed,
    Forbidden,
    InvalidInput,
    LikewiseClientError,
    MalformedAnswer,
    NotCached,
    Overloaded,
    ServerProblem,
    TimedOut,
)
from likewise_client._exchange import Exchange, Send, Sleep, Step, Steps
from likewise_client._nodes import Nodes
from likewise_client._reply import Reply as Received
from likewise_client._retry import Retry

A, B = "http://a:1", "http://b:1"
REFUSED = ConnectionFailed("refused")
RESET = ConnectionFailed("reset", sent=True)


def busy(retry_after: str = "0") -> httpx.Response:
    return httpx.Response(503, headers={"Retry-After": retry_after}, json={"type": "x/overloaded", "title": "Busy"})


def hit() -> httpx.Response:
    return httpx.Response(200, headers={"Cache-Status": "likewise; hit; ttl=5", "Age": "7"}, json={"label": "a"})


def stored() -> httpx.Response:
    return httpx.Response(201, json={"entries": [{"id": "00000000000000ab", "stored": True}]})


Reply = Union[httpx.Response, Exception]
Script = Union[Callable[[Send], Reply], list[Reply]]


def drive(steps: Steps[Any], script: Script, clock: Any) -> tuple[Any, list[Step]]:
    """Play a script against an exchange; return its value or error, and the steps it took."""
    taken: list[Step] = []
    try:
        step = next(steps)
        while True:
            taken.append(step)
            if isinstance(step, Sleep):
                clock.now += step.seconds
                step = steps.send(None)
                continue
            assert isinstance(step, Send)
            reply = script.pop(0) if isinstance(script, list) else script(step)
            step = (
                steps.throw(reply)
                if isinstance(reply, Exception)
                else steps.send(Received(reply.status_code, reply.headers, reply.content))
            )
    except StopIteration as end:
        return end.value, taken
    except LikewiseClientError as error:
        return error, taken


def exchange(clock: Any, *urls: str, retry: Retry | None = None) -> Exchange:
    return Exchange(Nodes(urls or [A], clock), retry or Retry(), {"X": "1"}, clock, random.Random(1))


def infer() -> calls.Call[Answer]:
    return calls.infer("f", b"x", "image/png", None, None, None)


def insert(ticket: str | None = None) -> calls.Call[Any]:
    return entries.insert("f", Computed(1, [1.0]), ticket=ticket, durable=False)


def test_an_answer_is_read(clock: Any) -> None:
    """One request, one answer with everything the headers say."""
    answer, taken = drive(exchange(clock).run(infer()), [hit()], clock)
    assert (answer.outcome, answer.result, answer.age_s, answer.ttl_s) == ("hit", {"label": "a"}, 7.0, 5.0)
    assert answer.from_cache
    assert [type(step) for step in taken] == [Send]
    assert taken[0] == Send(A, "POST", f"{A}/v1/functions/f/infer", {"X": "1", "Content-Type": "image/png"}, b"x")


def test_an_exact_repeat_is_told(clock: Any) -> None:
    """A hit of the very same input is a hit, with its reason."""
    exact = httpx.Response(200, headers={"Cache-Status": "likewise; hit; ttl=5; detail=exact"}, json=1)
    answer, _ = drive(exchange(clock).run(infer()), [exact], clock)
    assert (answer.outcome, answer.detail, answer.from_cache) == ("hit", "exact", True)
    bulk = {"answers": [{"outcome": "hit", "entry": "a" * 16, "result": 1, "detail": "exact"}, {"outcome": "miss"}]}
    answers, _ = drive(
        exchange(clock).run(calls.lookup_many("f", [[1], [2]], None)), [httpx.Response(200, json=bulk)], clock
    )
    assert [answer.detail for answer in answers] == ["exact", ""]


def test_backoff_is_jittered_and_bounded(clock: Any) -> None:
    """Each sleep lies in [0, backoff], where the backoff doubles up to its bound."""
    retry = Retry(rounds=6, first_delay_s=1.0, max_delay_s=4.0, deadline_s=100)
    error, taken = drive(exchange(clock, retry=retry).run(infer()), [REFUSED] * 6, clock)
    sleeps = [step.seconds for step in taken if isinstance(step, Sleep)]
    assert error is REFUSED
    assert len(sleeps) == 5
    assert all(0 <= sleep <= bound for sleep, bound in zip(sleeps, [1, 2, 4, 4, 4]))
    assert len(set(sleeps)) == 5


def test_retry_after_is_honored(clock: Any) -> None:
    """An overloaded server is left alone for as long as it asked."""
    answer, taken = drive(exchange(clock).run(infer()), [busy("2"), hit()], clock)
    assert answer.outcome == "hit"
    assert isinstance(taken[1], Sleep)
    assert 2.0 <= taken[1].seconds <= 2.1


def test_no_sleep_goes_beyond_the_deadline(clock: Any) -> None:
    """Asked to come back later than the caller can wait, the error comes at once."""
    error, taken = drive(exchange(clock).run(infer()), [busy("31")], clock)
    assert isinstance(error, Overloaded)
    assert error.retry_after_s == 31
    assert len(taken) == 1


@pytest.mark.parametrize("failure", [RESET, TimedOut("slow"), httpx.Response(502), httpx.Response(504)], ids=str)
def test_what_is_safe_is_repeated_and_an_insert_is_not(failure: Any, clock: Any) -> None:
    """Where the server may have seen the request, only one that changes nothing is sent again."""
    answer, _ = drive(exchange(clock).run(infer()), [failure, hit()], clock)
    assert isinstance(answer, Answer)
    error, taken = drive(exchange(clock).run(insert()), [failure], clock)
    assert isinstance(error, LikewiseClientError)
    assert len(taken) == 1


@pytest.mark.parametrize("failure", [REFUSED, busy()], ids=["refused", "overloaded"])
def test_an_insert_that_cannot_have_arrived_is_repeated(failure: Any, clock: Any) -> None:
    """With the same ticket, byte for byte."""
    done, taken = drive(exchange(clock).run(insert("t")), [failure, stored()], clock)
    sent = [step for step in taken if isinstance(step, Send)]
    assert done.stored
    assert sent[0] == sent[1]
    assert b'"ticket":"t"' in sent[0].body


@pytest.mark.parametrize(
    ("status", "slug", "kind"),
    [
        (403, "forbidden", Forbidden),
        (504, "not-cached", NotCached),
        (422, "something-new", ServerProblem),
        (500, "", ServerProblem),
    ],
)
def test_a_problem_is_not_repeated(status: int, slug: str, kind: type[ServerProblem], clock: Any) -> None:
    """What asking again cannot mend is raised at once, with all the server said."""
    document = {"type": f"https://likewise.dev/problems/{slug}", "title": "T", "detail": "D"}
    error, taken = drive(exchange(clock).run(infer()), [httpx.Response(status, json=document)], clock)
    assert isinstance(error, kind)
    assert (error.status, error.slug, error.title, error.detail) == (status, slug, "T", "D")
    assert len(taken) == 1


def test_a_bare_error_status_is_a_problem(clock: Any) -> None:
    """A proxy's page becomes title and detail."""
    error, _ = drive(exchange(clock).run(infer()), [httpx.Response(413, text="<html>")], clock)
    assert (error.title, error.detail, error.slug) == ("Request Entity Too Large", "<html>", "")


def test_a_redirect_is_refused(clock: Any) -> None:
    """The access key is never carried elsewhere."""
    error, _ = drive(exchange(clock).run(infer()), [httpx.Response(307, headers={"Location": "http://x"})], clock)
    assert isinstance(error, ServerProblem)


def test_another_node_takes_over_without_sleep(clock: Any) -> None:
    """A dead owner costs one attempt, then nothing until its pause is over."""
    shared = exchange(clock, A, B)
    owner, other = shared.nodes.rank("f")
    answer, taken = drive(shared.run(infer()), lambda s: REFUSED if s.node == owner else hit(), clock)
    assert [step.node for step in taken if isinstance(step, Send)] == [owner, other]
    assert answer.node == other
    _, taken = drive(shared.run(infer()), lambda _: hit(), clock)
    assert [step.node for step in taken if isinstance(step, Send)] == [other]
    clock.now += 1.1
    _, taken = drive(shared.run(infer()), lambda _: hit(), clock)
    assert [step.node for step in taken if isinstance(step, Send)] == [owner], "it returns"


@pytest.mark.parametrize("seed", range(20))
def test_a_restart_is_waited_for_until_the_deadline(seed: int, clock: Any) -> None:
    """A server that is away for 13 s, or for all but the last moment of the deadline, never reaches the app."""
    for away_s in (0.5, 13.0, 29.9):
        start = clock.now
        shared = Exchange(Nodes([A], clock), Retry(), {}, clock, random.Random(seed))
        back = start + away_s
        answer, taken = drive(shared.run(infer()), lambda _, back=back: REFUSED if clock.now < back else hit(), clock)
        assert isinstance(answer, Answer)
        assert clock.now <= start + 30.0
        assert len(taken) < 60, "it does not knock all the time"


def test_the_deadline_ends_a_call(clock: Any) -> None:
    """A server that never comes back: the error after the deadline, not before, not much later."""
    start = clock.now
    error, _ = drive(exchange(clock).run(infer()), lambda _: REFUSED, clock)
    assert error is REFUSED
    assert clock.now == pytest.approx(start + 30.0)


def test_rounds_end_a_call_where_they_are_limited(clock: Any) -> None:
    """`rounds` is a bound of its own, for those who set it."""
    _, taken = drive(exchange(clock, retry=Retry(rounds=3)).run(infer()), lambda _: REFUSED, clock)
    assert [type(step) for step in taken] == [Send, Sleep, Send, Sleep, Send]


def test_without_a_limit_rounds_keep_a_distance(clock: Any) -> None:
    """Delays of nothing do not make a flood of a call."""
    _, taken = drive(exchange(clock, retry=Retry(first_delay_s=0, deadline_s=1)).run(infer()), lambda _: REFUSED, clock)
    assert len(taken) < 500


def test_a_shared_result_is_not_waited_for(clock: Any) -> None:
    """An insert that need not be patient is tried once at each node."""
    error, taken = drive(exchange(clock).redeem(insert("t"), insert(), None, patient=False), [busy("2")], clock)
    assert isinstance(error, Overloaded)
    assert len(taken) == 1


def test_an_impatient_call_never_sleeps(clock: Any) -> None:
    """Each node that is up is asked once; when none is up, none is asked."""
    shared = exchange(clock, A, B)
    error, taken = drive(shared.run(infer(), patient=False), [REFUSED, REFUSED], clock)
    assert error is REFUSED
    assert len(taken) == 2
    error, taken = drive(shared.run(infer(), patient=False), [], clock)
    assert isinstance(error, ConnectionFailed)
    assert taken == []


def test_an_insert_follows_its_ticket(clock: Any) -> None:
    """It goes to the node that gave the ticket; if that is gone, elsewhere without the ticket."""
    shared = exchange(clock, A, B)
    other = shared.nodes.rank("f")[1]
    ticket = Ticket("t", other)
    _, taken = drive(shared.redeem(insert(ticket), insert(), ticket), [stored()], clock)
    assert [step.node for step in taken if isinstance(step, Send)] == [other]
    done, taken = drive(shared.redeem(insert(ticket), insert(), ticket), [REFUSED, stored()], clock)
    first, second = [step for step in taken if isinstance(step, Send)]
    assert done.stored
    assert (first.node, second.node) == (other, shared.nodes.rank("f")[0])
    assert (b"ticket" in first.body, b"ticket" in second.body) == (True, False)
    error, taken = drive(shared.redeem(insert(ticket), insert(), ticket), [RESET], clock)
    assert error is RESET, "it may have arrived"


def test_an_invalidation_reaches_every_node(clock: Any) -> None:
    """All are asked, also after one failed; then the failure is raised."""
    call = calls.invalidate("f", None, "t", False)

    def count(number: int) -> httpx.Response:
        return httpx.Response(200, json={"invalidated": number})

    total, taken = drive(exchange(clock, A, B).everywhere(call), [count(2), count(3)], clock)
    assert total == 3
    assert {step.node for step in taken if isinstance(step, Send)} == {A, B}
    error, taken = drive(exchange(clock, A, B).everywhere(call), [httpx.Response(403), count(1)], clock)
    assert isinstance(error, Forbidden)
    assert len(taken) == 2
    total, taken = drive(exchange(clock, A, B).everywhere(call), [REFUSED, count(1), count(4)], clock)
    assert total == 4
    assert [step.node for step in taken if isinstance(step, Send)] == [A, B, A], "all before any is asked again"


def test_a_cancelled_call_leaves_no_load_behind(clock: Any) -> None:
    """The request in flight is taken back, and the node not held dead."""
    shared = exchange(clock, retry=Retry(rounds=1))
    for _ in range(50):
        steps = shared.run(infer())
        next(steps)
        with pytest.raises(KeyboardInterrupt):
            steps.throw(KeyboardInterrupt())
    assert shared.nodes._nodes[A].in_flight == 0
    assert drive(shared.run(infer(), patient=False), [hit()], clock)[0].from_cache


@pytest.mark.parametrize(
    ("call", "response"),
    [
        pytest.param(infer(), httpx.Response(200, json=1), id="no Cache-Status"),
        pytest.param(
            infer(), httpx.Response(200, json=1, headers={"Cache-Status": "likewise; detail=batch"}), id="a batch"
        ),
        pytest.param(insert(), httpx.Response(201, json={"entries": []}), id="nothing confirmed"),
        pytest.param(insert(), httpx.Response(201, json=[]), id="no object"),
        pytest.param(calls.invalidate("f", None, None, True), httpx.Response(200, json={}), id="no count"),
        pytest.param(calls.functions(), httpx.Response(200, json={}), id="no list"),
        pytest.param(calls.stats(), httpx.Response(200, text="hello"), id="no JSON"),
        pytest.param(
            calls.lookup_many("f", [[1], [2]], None), httpx.Response(200, json={"answers": [1]}), id="one of 2"
        ),
        pytest.param(
            calls.lookup_many("f", [[1], [2]], None), httpx.Response(200, json={"answers": [1, 2]}), id="no answers"
        ),
    ],
)
def test_what_the_protocol_does_not_allow_is_malformed(call: Any, response: httpx.Response, clock: Any) -> None:
    """Another kind of server never looks like an answer."""
    error, _ = drive(exchange(clock).run(call), [response], clock)
    assert isinstance(error, MalformedAnswer)


@pytest.mark.parametrize(
    ("number", "drop_late", "sent"),
    [
        (None, False, "cam"),
        (None, True, "cam;late=drop"),
        (0, False, "cam;frame=0"),
        (7, True, "cam;frame=7;late=drop"),
    ],
)
def test_a_frame_says_its_stream_and_its_place_there(number: int | None, drop_late: bool, sent: str) -> None:
    """As the protocol writes it; numbers are left out where there are none."""
    call = calls.infer("f", b"x", "image/png", None, None, None, "cam", drop_late, number)
    assert call.headers["Likewise-Stream"] == sent


@pytest.mark.parametrize("number", [-1, 10**15, 1.0, "1"])
def test_a_frame_number_that_cannot_be_sent_is_refused(number: Any) -> None:
    """Before anything leaves the device."""
    with pytest.raises(InvalidInput, match="frame's number"):
        calls.infer("f", b"x", "image/png", None, None, None, "cam", False, number)


def test_retry_refuses_senseless_settings() -> None:
    """No rounds, or negative seconds."""
    for wrong in ({"rounds": 0}, {"rounds": 1.5}, {"first_delay_s": -1.0}, {"deadline_s": float("nan")}):
        with pytest.raises(ValueError, match="Retry"):
            Retry(**wrong)  # type: ignore[arg-type]
