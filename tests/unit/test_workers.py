"""The supervisor of several workers: when it says that they serve, and when it gives up."""

from __future__ import annotations

import sys
import time
from contextlib import closing

import pytest

from likewise.commands import workers
from likewise.commands.workers import Supervisor, bind


def dies(number, sock, on_listening):
    """A worker that cannot start."""
    sys.exit(7)


@pytest.mark.timeout(120)
def test_workers_that_end_at_once_again_and_again_end_the_supervisor(caplog: pytest.LogCaptureFixture) -> None:
    """It says why, with an exit code, without spinning, and never that they serve."""
    served: list[bool] = []
    (sock,) = bind("127.0.0.1", 0, 1)
    with closing(sock):
        used = time.process_time()
        code = Supervisor(dies, [sock], 1.0, lambda: served.append(True), first_pause_s=0.05).run()
        used = time.process_time() - used
    assert code == 1
    assert not served
    assert f"exit code 7, {workers.SHORT_LIVES} times in a row" in caplog.text
    assert used < 2.0
