"""docs/protocol.md says what the server does."""

from __future__ import annotations

import re
from pathlib import Path

from likewise import errors
from likewise.features.decode import MEDIA_TYPES

TEXT = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text()


def test_every_route_of_the_openapi_document_is_described(server):
    """No route without a word about it, and no word about a route that is not there."""
    paths = server.http.get("/openapi.json").json()["paths"]
    served = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    described = set()
    for methods, path in re.findall(r"`((?:GET|POST|PUT|DELETE)(?:, (?:GET|POST|PUT|DELETE))*) (/[^`?]*)", TEXT):
        described |= {(method, path) for method in methods.split(", ")}
    described.discard(("GET", "/openapi.json"))
    assert served == described


def test_every_problem_is_listed_with_its_status():
    """Slugs and statuses in the table are those of the error tree."""

    def tree(cls):
        return [cls, *(each for sub in cls.__subclasses__() for each in tree(sub))]

    known = {(cls.slug, cls.status) for cls in tree(errors.LikewiseError) if cls.__module__ == "likewise.errors"}
    known -= {("settings", 500)}
    listed = set()
    for status, slugs in re.findall(r"^\| (\d{3}) \| (.*?) \|", TEXT, re.M):
        listed |= {(slug, int(status)) for slug in re.findall(r"`([a-z-]+)`", slugs)}
    assert known <= listed
    assert {slug for slug, _ in listed} <= {slug for slug, _ in known}


def test_every_media_type_is_listed():
    """The table of media types is complete."""
    for types in MEDIA_TYPES.values():
        for each in types:
            assert f"`{each}`" in TEXT, each
