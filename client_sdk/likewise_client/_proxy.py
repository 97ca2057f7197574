"""How a node is reached: by the proxy that was named or that the environment names, and loopback always directly.

httpx reads the environment too, but raises for what it cannot use, such as `NO_PROXY=fd00::/8`, and sends loopback
through a proxy. A client knows its nodes, so each one's way is settled when it is made.
"""

from __future__ import annotations

import ipaddress
import logging
import re
import socket
import urllib.request
from collections.abc import Callable, Iterable
from typing import Optional, TypeVar, Union
from urllib.parse import urlsplit

import httpx

from likewise_client._errors import InvalidInput

log = logging.getLogger("likewise_client")

T = TypeVar("T")
_Address = Optional[Union[ipaddress.IPv4Address, ipaddress.IPv6Address]]


def proxied(nodes: Iterable[str], named: str | None, connect: Callable[[httpx.Proxy], T]) -> dict[str, T | None]:
    """Return what carries the requests of each node, None for a direct connection; one for each proxy.

    named: the URL of a proxy for all nodes; an empty string: none; None: as the environment says.
    Raises InvalidInput for a named proxy that cannot be used. One of the environment is passed over with a warning.
    """
    made: dict[str, T | None] = {"": None}
    ways: dict[str, T | None] = {}
    for node in nodes:
        url = _from_environment(node) if named is None else named
        if url not in made:
            try:
                made[url] = connect(_parsed(url))
            except (ValueError, ImportError, httpx.InvalidURL) as error:
                if named is not None:
                    raise InvalidInput(f"proxy: {_reason(error)}") from error
                log.warning("the proxy that the environment names cannot be used and is ignored: %s", _reason(error))
                made[url] = None
        ways[node] = made[url]
    return ways


def _parsed(url: str) -> httpx.Proxy:
    whole = url if "://" in url else f"http://{url}"
    proxy = httpx.Proxy(whole)
    if not urlsplit(whole).hostname:
        raise ValueError("its URL names no host")
    return proxy


def _reason(error: Exception) -> str:
    text = re.sub(r"//[^/@\s]*@", "//…@", str(error))  # never a password
    return text.replace("httpx[socks]", "'httpx[socks]'")


def _from_environment(node: str) -> str:
    """Return the URL of the proxy that the environment names for a node; an empty string for none."""
    parts = urlsplit(node)
    host = (parts.hostname or "").rstrip(".")
    address = _address(host)
    if host == "localhost" or host.endswith(".localhost") or (address and _is_own(address)):
        return ""
    proxies = urllib.request.getproxies()
    url = (proxies.get(parts.scheme) or proxies.get("all") or "").strip()
    port = parts.port or (443 if parts.scheme == "https" else 80)
    if not url or _is_excepted(host, port, address, proxies.get("no", "")) or urllib.request.proxy_bypass(host):
        return ""
    return url


def _is_own(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    mapped = getattr(address, "ipv4_mapped", None) or address
    return mapped.is_loopback or mapped.is_unspecified


def _is_excepted(host: str, port: int, address: _Address, no_proxy: str) -> bool:
    """Whether a host is among those of NO_PROXY: names with their subdomains, addresses, networks, or all (`*`)."""
    for written in re.split(r"[,\s]+", no_proxy.lower()):
        entry = written.rpartition("://")[2]
        if entry == "*":
            return True
        network = _network(entry)
        if network is not None:
            if address is not None and address in network:
                return True
            continue
        name, colon, digits = entry.rpartition(":")
        if not (colon and digits.isdecimal()):
            name, digits = entry, ""
        name = name.lstrip("*").lstrip(".").strip("[]")
        if name and (host == name or host.endswith(f".{name}")) and digits in ("", str(port)):
            return True
    return False


def _network(entry: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(re.sub(r"^\[(.*)\](?=$|/)", r"\1", entry), strict=False)
    except ValueError:
        return None


def _address(host: str) -> _Address:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))  # such as 127.1
    except (OSError, ValueError):
        return None
