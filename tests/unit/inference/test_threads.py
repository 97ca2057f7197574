"""Threads that run what is handed to them."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from likewise.inference.threads import Threads

WAIT_S = 300.0


@pytest.fixture
def threads() -> Iterator[Threads]:
    threads = Threads(2, "test")
    yield threads
    threads.shutdown()


def test_work_is_done_in_the_order_in_which_it_came(threads: Threads) -> None:
    done: list[int] = []
    gates = [threading.Event(), threading.Event()]
    alone = Threads(1, "alone")
    try:
        alone.run(gates[0].wait, WAIT_S)
        for number in range(5):
            alone.run(done.append, number)
        alone.run(gates[1].set)
        assert not done
        gates[0].set()
        assert gates[1].wait(WAIT_S)
        assert done == [0, 1, 2, 3, 4]
    finally:
        alone.shutdown()


def test_so_many_run_at_once_and_no_more(threads: Threads) -> None:
    meeting = threading.Barrier(3)  # both threads and this one
    names: list[str] = []

    def meet() -> None:
        names.append(threading.current_thread().name)
        meeting.wait(WAIT_S)

    for _ in range(2):
        for _ in range(2):
            threads.run(meet)
        meeting.wait(WAIT_S)
    assert sorted(names) == ["test_0", "test_0", "test_1", "test_1"]


def test_a_future_has_what_comes_of_it(threads: Threads) -> None:
    assert threads.submit(divmod, 7, 2).result(WAIT_S) == (3, 1)
    assert threads.submit(sorted, [1, 2], reverse=True).result(WAIT_S) == [2, 1]
    with pytest.raises(ZeroDivisionError):
        threads.submit(divmod, 1, 0).result(WAIT_S)
    assert threads.submit(divmod, 7, 2).result(WAIT_S) == (3, 1)  # the thread is still there


def test_what_waits_is_done_before_the_end_or_dropped_where_that_is_asked_for() -> None:
    for dropped in (False, True):
        threads, gate = Threads(1, "test"), threading.Event()
        running = threads.submit(gate.wait, WAIT_S)
        while not running.running():  # else it would be dropped, too
            threading.Event().wait(0.001)
        waiting = threads.submit(int)
        threads.shutdown(wait=False, cancel_futures=dropped)
        with pytest.raises(RuntimeError, match="shutdown"):
            threads.run(print)
        gate.set()
        threads.shutdown()
        assert running.result()
        assert waiting.cancelled() is dropped


def test_a_process_that_forgets_them_ends_once_their_work_is_done() -> None:
    script = (
        "import time; from likewise.inference.threads import Threads\n"
        "def work(): time.sleep(0.2); print('done', flush=True)\n"
        "Threads(1, 'test').run(work)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=WAIT_S, check=True)
    assert ended.stdout == "done\n"
