"""Who gets in: the header fields that tell, the access key, and what may come without one."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping

from likewise.access import ANONYMOUS, AccessControl, Principal
from likewise.errors import BadRequest, Forbidden, Unauthorized

Fields = Mapping[bytes, bytes]
"""A request's header fields by their lower-case names, lines of the same name combined."""

ANY_HOST = "*"

_SINGLE = frozenset(
    {b"authorization", b"content-length", b"content-type", b"host", b"likewise-device", b"origin"}
    | {b"request-timeout"}
)
_FORWARDED = frozenset(
    {
        b"forwarded",
        b"via",
        b"cf-connecting-ip",
        b"fastly-client-ip",
        b"true-client-ip",
        b"x-client-ip",
        b"x-cluster-client-ip",
        b"x-envoy-external-address",
        b"x-original-forwarded-for",
        b"x-real-ip",
    }
)
_REMEDY = "Send an access key (`likewise keys add` makes one), or let the server's setting allowed_hosts name the host."


def fields_of(headers: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Return a request's header fields; lines of one field combine to a list. Source: RFC 9110, section 5.3.

    Raises BadRequest where a field that has one value comes twice.
    """
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        if name not in found:
            found[name] = value
        elif name in _SINGLE:
            raise BadRequest(f"The header field {name.decode('latin-1')} comes more than once; send it once.")
        else:
            found[name] += b", " + value
    return found


class Origins:
    """Which requests may come without an access key: those that no proxy forwarded and no foreign web page sent.

    A server on loopback trusts whoever reaches it. A proxy on the same machine lets the whole network reach it, and a
    web page lets its author do so: by a name that resolves to 127.0.0.1 (DNS rebinding), or across origins.
    """

    def __init__(self, allowed_hosts: Iterable[str] = (), *, loopback: bool = True) -> None:
        """Set up. allowed_hosts: trusted names, `*` for all; loopback: nobody else can reach the server."""
        self._allowed = frozenset(each.lower().rstrip(".") for each in allowed_hosts)
        self._loopback = loopback

    def check(self, fields: Fields) -> None:
        """Raise Unauthorized or Forbidden, with the remedy, for a request that needs an access key to be trusted."""
        if ANY_HOST in self._allowed:
            return
        authority = fields.get(b"host", b"").decode("latin-1").lower()
        name = _name(authority)
        if name in self._allowed:
            self._check_origin(fields, authority)
            return
        if not _FORWARDED.isdisjoint(fields) or any(each.startswith(b"x-forwarded") for each in fields):
            raise Unauthorized(f"A proxy forwarded this request, and it has no access key. {_REMEDY}")
        if authority and not self._is_own(name):
            raise Forbidden(f"Without an access key nobody is served as {authority[:100]!r}. {_REMEDY}")
        self._check_origin(fields, authority)

    def _check_origin(self, fields: Fields, authority: str) -> None:
        origin = fields.get(b"origin")
        if origin is None:
            return
        scheme, _, place = origin.decode("latin-1").lower().partition("://")
        default = {"http": ":80", "https": ":443"}.get(scheme, "")
        if (place and place.removesuffix(default) == authority.removesuffix(default)) or _name(place) in self._allowed:
            return
        raise Forbidden(f"A web page of another origin ({origin[:100].decode('latin-1')!r}) sent this. {_REMEDY}")

    def _is_own(self, name: str) -> bool:
        if name.endswith(".localhost") or (name and not set(name) & set(".:")):
            return True  # localhost, or a name of this network: a web page's author owns none without a dot
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or not self._loopback  # nobody can let an address lead elsewhere


def admit(access: AccessControl, origins: Origins, fields: Fields, scope: str) -> Principal:
    """Return who asks. Raises Unauthorized, Forbidden."""
    principal = access.check(fields.get(b"authorization"), scope)
    if principal is ANONYMOUS:
        origins.check(fields)
    return principal


def _name(authority: str) -> str:
    """Return the host of `host:port`, in lower case; empty where it is none."""
    if authority.startswith("["):
        name, closed, port = authority[1:].partition("]")
        port = port.removeprefix(":") if closed and port[:1] in ("", ":") else "?"
    else:
        name, _, port = authority.partition(":")
    return "" if port and not port.isdecimal() else name.rstrip(".")
