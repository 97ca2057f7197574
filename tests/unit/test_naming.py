"""The name that a node keeps."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from redis import Redis

from likewise.errors import SettingsError
from likewise.naming import kept_name


def test_a_name_is_drawn_once(tmp_path):
    """Everyone who asks gets the same, also at the same moment; nothing else is left behind."""
    with ThreadPoolExecutor(8) as pool:
        names = set(pool.map(lambda _: kept_name(tmp_path / "data"), range(64)))
    assert len(names) == 1
    assert [each.name for each in (tmp_path / "data").iterdir()] == ["node"]
    assert kept_name(tmp_path / "data") in names
    assert kept_name(tmp_path / "other") not in names


def test_a_name_of_ones_own_may_be_written_there(tmp_path):
    """The file is the operator's as well."""
    (tmp_path / "node").write_text("hall-3\n")
    assert kept_name(tmp_path) == "hall-3"


@pytest.mark.parametrize("content", [b"", b" \n", b"\xff\xfe", b"a\x00b", b"x" * 65])
def test_a_file_that_holds_no_name_is_not_replaced(tmp_path, content):
    """What was learned is kept under the name that was there; so somebody has to look."""
    (tmp_path / "node").write_bytes(content)
    with pytest.raises(SettingsError, match="set node"):
        kept_name(tmp_path)
    assert (tmp_path / "node").read_bytes() == content


def test_a_folder_that_cannot_be_written_costs_only_the_memory(tmp_path, caplog):
    """The node starts all the same, under a new name each time."""
    (tmp_path / "file").write_text("")
    assert kept_name(tmp_path / "file") != kept_name(tmp_path / "file")
    assert "is not found again" in caplog.text


@pytest.mark.redis
def test_a_node_that_starts_again_finds_what_it_learned(live, toys, redis_server):
    """Its probes and tokens are in Redis under the name in its data folder; another node begins at zero."""
    png = {"content-type": "image/png"}
    shared = {"journal": "redis", "redis_url": redis_server.url}
    first = live(**shared)
    for i in range(120):
        first.http.post("/v1/functions/quadrants/infer", content=toys.picture(i % 4, i), headers=png)
    before = first.http.get("/v1/stats").json()["functions"]["quadrants@1"]
    first.__exit__()
    assert before["probes"] > 0
    second = live(**shared)
    after = second.http.get("/v1/stats").json()["functions"]["quadrants@1"]
    assert [after[name] for name in ("probes", "tokens", "bar")] == [
        before[name] for name in ("probes", "tokens", "bar")
    ]
    other = live(**shared, data_dir=second.settings.data_dir.parent / "other")
    assert other.http.get("/v1/stats").json()["functions"]["quadrants@1"]["probes"] == 0
    assert len(Redis(port=redis_server.port).keys("*quadrants*:learned:*")) == 1
