"""The drills in short: the same processes and signals, a few seconds of each, judged by what was lost, not by speed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from redis_server import find_redis

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.drills import clients, invalidation, kill, nodes, outage, restart, sharing, watch, workers  # noqa: E402

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def needs_redis() -> None:
    """Skip where there is no redis-server."""
    if find_redis() is None:
        if os.environ.get("LIKEWISE_REQUIRE_REDIS"):
            pytest.fail("LIKEWISE_REQUIRE_REDIS is set, and there is no redis-server")
        pytest.skip("no redis-server here")


def test_what_was_durable_survives_a_kill(tmp_path: Path) -> None:
    """Two kills at random moments: no durable insert is lost, none is damaged."""
    figures = {figure.bar: figure for figure in kill.drill(tmp_path, kills=2, seed=7)}
    assert figures[kill.LOST].value == 0, figures[kill.LOST].note
    assert figures[kill.CORRUPT].value == 0


def test_a_restart_brings_every_entry_back_by_replay_and_from_a_snapshot(tmp_path: Path) -> None:
    """The drill itself compares what came back; here it has to get through."""
    figures = list(restart.drill(tmp_path, count=5000))
    assert [figure.bar for figure in figures] == list(restart.BARS)
    assert (tmp_path / "node" / "data" / "journal.sqlite.snapshot").stat().st_size > 5000 * 64 * 4


@pytest.mark.redis
@pytest.mark.usefixtures("needs_redis")
def test_entries_are_shared_between_processes(tmp_path: Path) -> None:
    """What is inserted on one node becomes a hit on the other; a burst is adopted whole."""
    functions = nodes.write_functions(tmp_path / "functions", 10_000)
    with nodes.redis(tmp_path / "redis") as server:
        options = nodes.sharing(server)
        with nodes.Node(tmp_path / "a", functions, *options) as a, nodes.Node(tmp_path / "b", functions, *options) as b:
            waits, _ = sharing.latency(a, b, 0.5)
            assert waits
            before = a.talk().count()
            nodes.wait_until(lambda: b.talk().count() == before, 300, "sharing all")
            adopted, _ = sharing.adoption(server.url, b, nodes.journaled(functions), 500, before)
            assert adopted > 0
            assert b.talk().count() == before + 500


@pytest.mark.redis
@pytest.mark.usefixtures("needs_redis")
def test_entries_are_shared_over_a_cluster(tmp_path: Path) -> None:
    """Three masters, six functions in different slots, two nodes: each has what either inserted."""
    assert sharing.over_cluster(tmp_path, 3) == 1.0


@pytest.mark.redis
@pytest.mark.usefixtures("needs_redis")
def test_requests_go_on_while_redis_is_away(tmp_path: Path) -> None:
    """No request fails; what was inserted meanwhile is shared after its return."""
    figures = {figure.bar: figure for figure in outage.drill(tmp_path, away_s=1.0)}
    assert figures[outage.FAILED].value == 0, figures[outage.FAILED].note
    assert figures[outage.SHARED].measured


@pytest.mark.redis
@pytest.mark.usefixtures("needs_redis")
def test_no_process_serves_what_it_confirmed_to_be_invalid(tmp_path: Path) -> None:
    """Inserts and invalidations on three nodes at random."""
    figures = list(invalidation.drill(tmp_path, rounds=8, seed=3))
    assert [figure.value for figure in figures] == [0, 0]


@pytest.mark.redis
@pytest.mark.usefixtures("needs_redis")
def test_two_workers_answer_from_what_either_got(tmp_path: Path) -> None:
    """Both rates are measured once both workers have all entries."""
    (figure,) = workers.drill(tmp_path, quick=True)
    assert figure.value > 0


def test_a_camera_over_rtsp_is_watched_on_when_it_or_the_server_comes_back(tmp_path: Path) -> None:
    """With GStreamer's RTSP server; every frame is answered or counted as dropped."""
    if watch.gstreamer_python() is None:
        pytest.skip("no GStreamer RTSP server here (Debian: gir1.2-gst-rtsp-server-1.0 and plugins)")
    figures = {figure.bar: figure for figure in watch.drill(tmp_path, quick=True)}
    assert all(figures[bar].measured for bar in watch.BARS)
    assert figures[watch.LOST].value == 0, figures[watch.LOST].note


def test_both_journals_take_the_same_load(tmp_path: Path) -> None:
    """Lookups and inserts are answered with either journal; the command prints its table and judges nothing."""
    output = tmp_path / "drills.json"
    command = [sys.executable, "-m", "benchmarks.drills", "--quick", "--only", "cost", "--output", str(output)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SQLite journal: inserts" in done.stdout
    assert not output.exists()


def test_many_sdk_clients_at_once_fail_no_call(tmp_path: Path) -> None:
    """A few seconds of it; that memory stays flat takes the whole drill to tell."""
    figures = {figure.bar: figure for figure in clients.drill(tmp_path, clients=60, seconds=3.0)}
    assert figures[clients.FAILED].value == 0, figures[clients.FAILED].note
    assert set(figures) == set(clients.BARS)
