"""The OpenAPI document is true: requests made from it get answers that it describes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

CONFIG = """
[checks]
# what a schema cannot say: a key of the function's dimension, a file that is a model, text that is TOML
positive_data_acceptance.expected-statuses = ["2xx", "401", "403", "404", "409", "413", "415", "422"]

[[operations]] # nor that exactly one of three parameters has to be there
include-name = "DELETE /v1/functions/{name}/entries"
checks.positive_data_acceptance.expected-statuses = ["2xx", "400", "404"]
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_schemathesis_finds_nothing(process, tmp_path: Path) -> None:
    """Schemathesis makes some hundred requests, right and wrong ones, and holds each answer to the document."""
    server = process()
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    run = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json"),
            *("--max-examples", os.environ.get("LIKEWISE_SCHEMATHESIS_EXAMPLES", "25"), "--seed", "1"),
            *("--phases", "examples,coverage,fuzzing", "--no-color", "--suppress-health-check", "all"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-20_000:] + run.stderr[-2000:]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/functions/quadrants/infer", "POST"),
        ("DELETE", "/v1/functions/quadrants@1/lookup", "POST"),
        ("POST", "/v1/functions/quadrants", "DELETE, GET, HEAD, PUT"),
        ("PATCH", "/v1/functions/quadrants/entries", "DELETE, GET, HEAD, POST"),
        ("OPTIONS", "/v1/functions", "GET, HEAD"),
        ("HEAD", "/v1/functions/quadrants/infer", "POST"),
        ("POST", "/livez", "GET, HEAD"),
        ("PUT", "/metrics", "GET, HEAD"),
        ("POST", "/openapi.json", "GET, HEAD"),
    ],
)
def test_every_405_names_the_methods_that_there_are(server, method: str, path: str, allowed: str) -> None:
    """All of a path's methods, whatever route has them."""
    answer = server.http.request(method, path)
    assert answer.status_code == 405
    assert answer.headers["allow"] == allowed
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics", "/v1/stats", "/v1/functions", "/openapi.json"])
def test_head_is_get_without_the_body(server, path: str) -> None:
    """Monitors ask so."""
    head: httpx.Response = server.http.head(path)
    assert head.status_code == 200
    assert head.content == b""
    assert head.headers["content-type"] == server.http.get(path).headers["content-type"]


def test_a_slash_at_the_end_is_no_redirect(server) -> None:
    """A document that knows no redirects must not meet one."""
    assert server.http.get("/v1/functions/").status_code == 404
