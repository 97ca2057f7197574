"""The command line of a fleet."""

from __future__ import annotations

import argparse

import pytest

from likewise_fleet.command import Command


@pytest.mark.parametrize(
    ("options", "says"),
    [
        pytest.param(["--network", "wimax"], "busy-wifi", id="network"),
        pytest.param(["--workload", "faces"], "signs", id="workload"),
        pytest.param(["--phones", "0"], "1 or more", id="phones"),
        pytest.param(["--target", "2"], "0.95", id="target"),
        pytest.param(["--ways", "cloud"], "edge_cache", id="ways"),
        pytest.param(["--require", "beauty=1"], "accuracy", id="require"),
        pytest.param(["--speed", "0"], "speed", id="speed"),
        pytest.param(["--trace", "nothing.zip"], "no trace", id="trace"),
    ],
)
def test_what_cannot_be_run_says_what_to_do(options, says, capsys):
    """Exit code 2 and the remedy, before any server is started."""
    parser = argparse.ArgumentParser()
    command = Command()
    command.add_arguments(parser)
    assert command.run(parser.parse_args(options)) == 2
    assert says in " ".join(capsys.readouterr().out.split())
