"""The bundled functions on a device: fetched, unpacked, and right as the server is, within float error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from likewise_client import Client, OnDevice, Sound

BUNDLED = Path(__file__).parents[2] / "functions"


@pytest.fixture
def server(process):
    """A server with the bundled functions."""
    return process(functions=BUNDLED)


def inputs(name, rng):
    if name == "speech":
        ramp = np.sin(2 * np.pi * rng.uniform(200, 900) * np.arange(6000) / 8000) * rng.uniform(0.2, 0.9)
        return Sound((ramp * 32767).astype(np.int16), 8000), None
    return rng.integers(0, 256, (*rng.integers(30, 90, 2), 3), np.uint8), "image/png"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_what_the_device_says_is_what_the_server_says(server) -> None:
    """Pictures of any size and sounds, prepared on the device; the full model and, where asked for, a student."""
    rng = np.random.default_rng(0)
    with Client(server.url, timeout_s=60) as client:
        for name in ("signs", "speech", "digits"):
            for _ in range(8):
                value, media_type = inputs(name, rng)
                here = client.infer(name, value, media_type=media_type, compute="device")
                there = client.infer(name, value, media_type=media_type, cache="no-store")
                assert (here.source, here.variant) == ("device", "")
                assert here.result["confidence"] == pytest.approx(there.result["confidence"], abs=2e-3)
                if there.result["confidence"] > 0.6:
                    assert here.result["label"] == there.result["label"]
    with Client(server.url, timeout_s=60, on_device=OnDevice(max_bytes=2 << 20, least_agreement=0.9)) as small:
        value, media_type = inputs("signs", rng)
        answer = small.infer("signs", value, media_type=media_type, compute="device")
        assert (answer.outcome, answer.variant) == ("variant", "student")
        assert small.computed_on_device().waiting == 0
