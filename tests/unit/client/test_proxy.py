"""How nodes are reached where the environment names proxies, sensible or not."""

from __future__ import annotations

import logging
from typing import Any

import httpcore
import httpx
import pytest

from likewise_client import AsyncClient, Client, InvalidInput
from likewise_client._proxy import proxied

PROXY = "http://proxy.test:3128"
HIT = {"Cache_Status": "likewise; hit; ttl=9"}


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "request_method"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def way(node: str, named: str | None = None) -> str:
    """Return the URL of the proxy that leads to a node; an empty string for none."""
    found = proxied([node], named, lambda proxy: str(proxy.url))
    return found[node] or ""


@pytest.mark.parametrize(
    ("node", "no_proxy", "direct"),
    [
        ("http://edge:8080", "", False),
        ("http://edge:8080", "*", True),
        ("http://edge:8080", "edge", True),
        ("http://edge:8080", "EDGE:8080", True),
        ("http://edge:8080", "edge:80", False),
        ("http://edge", "edge:80", True),
        ("http://a.edge.test", ".edge.test", True),
        ("http://a.edge.test", "*.edge.test other", True),
        ("http://a.edge.test", "edge.test", True),
        ("http://wedge.test", "edge.test", False),
        ("http://10.1.2.3", "10.0.0.0/8", True),
        ("http://10.1.2.3", "10.1.2.3", True),
        ("http://11.1.2.3", "10.0.0.0/8,fd00::/8", False),
        ("http://[fd00::5]:8080", "fd00::/8", True),
        ("http://[fd00::5]:8080", "[fd00::5]:8080", True),
        ("http://[fe80::5]:8080", "fd00::/8", False),
        ("http://edge", "fd00::/8, ,//,[,]:x,\x00,http://edge", True),
        ("http://edge", "fd00::/8, ,//,[,]:x,::::,*.", False),
        ("http://127.0.0.1:8080", "", True),
        ("http://127.9.9.9", "", True),
        ("http://127.1", "", True),
        ("http://localhost:8080", "", True),
        ("http://likewise.localhost", "", True),
        ("http://[::1]:8080", "", True),
        ("http://[::ffff:127.0.0.1]:8080", "", True),
        ("http://0.0.0.0:8080", "", True),
    ],
)
def test_no_proxy_and_loopback_go_direct(
    node: str, no_proxy: str, direct: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names with their subdomains, addresses, networks; and this machine always."""
    monkeypatch.setenv("HTTP_PROXY", PROXY)
    if "\x00" not in no_proxy:
        monkeypatch.setenv("NO_PROXY", no_proxy)
    else:
        monkeypatch.setenv("no_proxy", no_proxy.replace("\x00", "\x01"))
    assert way(node) == ("" if direct else PROXY)


def test_the_scheme_chooses_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTPS_PROXY for https, ALL_PROXY for what has none of its own; a URL without a scheme is taken for http."""
    monkeypatch.setenv("HTTPS_PROXY", "tls.test:3128")
    assert way("https://edge") == "http://tls.test:3128"
    assert way("http://edge") == ""
    monkeypatch.setenv("ALL_PROXY", PROXY)
    assert way("http://edge") == PROXY


@pytest.mark.parametrize(
    "url",
    ["socks4://proxy:1080", "ftp://proxy", "http://proxy:port", "http://[proxy", "http://", "://", ":::", "http://:3128",
     "http://user:s3cret@proxy:port"],
)  # fmt: skip
def test_what_the_environment_has_wrong_is_ignored_with_a_warning(
    url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A direct connection, a line in the log without a password; the same by name is refused."""
    monkeypatch.setenv("ALL_PROXY", url)
    with caplog.at_level(logging.WARNING, logger="likewise_client"), Client("http://edge") as client:
        assert [type(transport._pool) for transport in client._transports.values()] == [httpcore.ConnectionPool]
    assert "ignored" in caplog.text
    assert "s3cret" not in caplog.text
    with pytest.raises(InvalidInput, match="proxy") as caught:
        Client("http://edge", proxy=url)
    assert "s3cret" not in str(caught.value)


def test_socks_without_its_package_is_ignored(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """httpx raises ImportError for it; an app that never asked for SOCKS goes on."""
    monkeypatch.setitem(__import__("sys").modules, "socksio", None)
    monkeypatch.setenv("ALL_PROXY", "socks5://proxy:1080")
    Client("http://edge").close()
    assert "socks" in caplog.text.lower()
    with pytest.raises(InvalidInput, match="socks"):
        Client("http://edge", proxy="socks5://proxy:1080")


def test_requests_go_through_a_named_proxy(scripted: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Named by `proxy`, it carries all requests; an empty one takes none of the environment's."""
    scripted.answer(200, b"1", **HIT)
    with Client("http://edge.test:8080", proxy=scripted.url) as client:
        assert client.infer("f", b"x", media_type="image/png").result == 1
    assert scripted.requests[0][1] == "http://edge.test:8080/v1/functions/f/infer"
    monkeypatch.setenv("HTTP_PROXY", scripted.url)
    with Client("http://edge.test:8080") as client:
        client.infer("f", b"x", media_type="image/png")
    assert len(scripted.requests) == 2
    assert proxied(["http://edge.test:8080"], "", lambda proxy: proxy) == {"http://edge.test:8080": None}


async def test_loopback_is_reached_whatever_the_environment_says(
    scripted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By both clients, with a proxy that leads nowhere."""
    scripted.answer(200, b"1", **HIT)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "fd00::/8")
    with Client(scripted.url) as client:
        assert client.infer("f", b"x", media_type="image/png").result == 1
    async with AsyncClient(scripted.url) as later:
        assert (await later.infer("f", b"x", media_type="image/png")).result == 1


def test_nodes_go_their_own_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    """One through the proxy, one directly, in one client, and one transport for each proxy."""
    monkeypatch.setenv("HTTP_PROXY", PROXY)
    made: list[httpx.Proxy] = []
    ways = proxied(
        ["http://edge:1", "http://edge:2", "http://localhost:1"], None, lambda proxy: made.append(proxy) or len(made)
    )
    assert ways == {"http://edge:1": 1, "http://edge:2": 1, "http://localhost:1": None}


def test_a_key_log_that_cannot_be_written_is_ignored(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """SSLKEYLOGFILE is for debugging; a stale one keeps nobody from TLS."""
    monkeypatch.setenv("SSLKEYLOGFILE", "/nowhere/at/all")
    with caplog.at_level(logging.WARNING, logger="likewise_client"):
        Client("https://edge").close()
    assert "SSLKEYLOGFILE" in caplog.text


def test_an_access_key_of_the_environment_may_end_in_a_newline(monkeypatch: pytest.MonkeyPatch) -> None:
    """As files and secrets do; what cannot be one is named by its variable."""
    monkeypatch.setenv("LIKEWISE_ACCESS_KEY", "s3cret\n")
    assert Client()._operations.exchange._headers["Authorization"] == "Bearer s3cret"
    monkeypatch.setenv("LIKEWISE_ACCESS_KEY", "two words")
    with pytest.raises(InvalidInput, match="LIKEWISE_ACCESS_KEY"):
        Client()
