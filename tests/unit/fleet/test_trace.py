"""Traces and their files."""

from __future__ import annotations

import json
import zipfile

import pytest

from likewise.errors import InvalidValue
from likewise_fleet.catalog import open_catalog
from likewise_fleet.demand import Demand
from likewise_fleet.trace import load_trace, make_trace


@pytest.fixture(scope="module")
def trace():
    catalog = open_catalog("digits", None)
    return make_trace(Demand(3, 30, ("digits",), (catalog.things,)), [catalog])


def test_a_trace_comes_back_from_its_file(trace, tmp_path):
    """With every input, byte for byte."""
    trace.save(tmp_path / "trace.zip")
    assert load_trace(tmp_path / "trace.zip") == trace
    assert [len(positions) for positions in trace.by_phone()] == [10, 10, 10]
    assert all(each.body.startswith(b"\x89PNG") and each.truth in "0123456789" for each in trace.requests)
    assert len({each.body for each in trace.requests}) == 30


def test_what_is_no_trace_is_refused(trace, tmp_path):
    """Other files, other versions, phones that there are not."""
    path = tmp_path / "trace.zip"
    with pytest.raises(InvalidValue, match="no trace"):
        load_trace(tmp_path / "nothing")
    path.write_bytes(b"PK not really")
    with pytest.raises(InvalidValue, match="save-trace"):
        load_trace(path)
    for change in ({"version": 7}, {"phones": 1}, {"functions": []}, {"kinds": [["image/png"]]}, {"phones": None}):
        trace.save(path)
        with zipfile.ZipFile(path) as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
        parts["head.json"] = json.dumps({**json.loads(parts["head.json"]), **change}).encode()
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in parts.items():
                archive.writestr(name, content)
        with pytest.raises(InvalidValue, match="no trace"):
            load_trace(path)


def test_unknown_workloads_and_missing_data_say_what_to_do(tmp_path):
    """Before anything is played."""
    with pytest.raises(InvalidValue, match="signs"):
        open_catalog("faces", None)
    with pytest.raises(InvalidValue, match="--data"):
        open_catalog("signs", tmp_path)
