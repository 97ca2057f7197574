"""The models that devices may fetch, as docs/protocol.md says: listed, packed, and only where a spec allows it."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from likewise_client._device.unpacking import unpack

SHARED = """
share_model = true
[input]
kind = "image"
[model]
file = "model.onnx"
size = [8, 8]
channels = 1
mean = [0.5]
[result]
kind = "label"
labels = "labels.txt"
[[keys]]
name = "gray"
extractor = "gray"
[[variants]]
name = "twin"
file = "model.onnx"
cost = 0.5
size_bytes = SIZE
memory_bytes = 5000
agreement = 0.9
origin = "copied"
"""


@pytest.fixture
def sharing(live, tmp_path, toys):
    """A server with a function that shares its model, and one that does not."""
    root = tmp_path / "functions"
    toys.write_quadrants(root)
    folder = toys.write_quadrants(root, "shared", "version = 1\n")
    size = (folder / "1" / "model.onnx").stat().st_size
    (folder / "function.toml").write_text(SHARED.replace("SIZE", str(size)))
    return live(functions=root)


def test_a_device_learns_what_it_may_run_and_how(sharing):
    """Everything that is needed to choose, to check and to run a model."""
    document = sharing.http.get("/v1/functions/shared/variants").json()
    assert document["input"] == "image"
    assert document["result"]["labels"] == ["north-west", "north-east", "south-west", "south-east"]
    assert document["cost_s"] is None
    full, twin = document["variants"]
    assert (full["name"], full["cost"], full["agreement"], full["memory_bytes"]) == ("model", 1.0, 1.0, None)
    assert (twin["name"], twin["cost"], twin["agreement"], twin["origin"]) == ("twin", 0.5, 0.9, "copied")
    assert full["prepare"] == twin["prepare"] == {"size": [8, 8], "channels": 1, "mean": [0.5]}


def test_files_come_packed_and_unpack_to_the_very_same(sharing):
    """By name, with their digest as ETag."""
    for each in sharing.http.get("/v1/functions/shared/variants").json()["variants"]:
        answer = sharing.http.get(f"/v1/functions/shared/variants/{each['file']}")
        assert answer.headers["content-type"] == "application/vnd.likewise.model"
        assert answer.headers["etag"] == f'"{each["packed_sha256"]}"'
        assert len(answer.content) == each["packed_bytes"]
        content = unpack(answer.content)
        assert content == (sharing.functions_dir / "shared" / "1" / "model.onnx").read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (each["bytes"], each["sha256"])


@pytest.mark.parametrize(
    ("known", "status"), [('"{}"', 304), ('W/"{}"', 304), ('"x", "{}"', 304), ("*", 304), ('"x"', 200)]
)
def test_whoever_has_a_file_does_not_get_it_again(sharing, known, status):
    """As RFC 9110 has conditional requests."""
    listed = sharing.http.get("/v1/functions/shared/variants").json()["variants"][0]
    header = {"if-none-match": known.format(listed["packed_sha256"])}
    answer = sharing.http.get(f"/v1/functions/shared/variants/{listed['file']}", headers=header)
    assert answer.status_code == status
    assert bool(answer.content) == (answer.status_code == 200)


@pytest.mark.parametrize(
    "path", ["quadrants/variants", "quadrants/variants/model.onnx.lwz", "devices/variants", "nobody/variants"]
)
def test_models_stay_where_they_are_unless_a_spec_allows_it(sharing, path):
    """Off by default, whatever is asked for."""
    answer = sharing.http.get(f"/v1/functions/{path}")
    assert answer.status_code == 404
    if path.startswith("quadrants"):
        assert "share_model" in answer.json()["detail"]


@pytest.mark.parametrize("file", ["labels.txt", "model.onnx", "..%2Ffunction.toml", "%2Fetc%2Fpasswd", "nothing.lwz"])
def test_nothing_but_what_is_listed_is_served(sharing, file):
    """A name is no path."""
    assert sharing.http.get(f"/v1/functions/shared/variants/{file}").status_code == 404


def test_a_file_that_is_another_one_by_now_is_not_served(sharing):
    """What is served is what was loaded."""
    path = sharing.functions_dir / "shared" / "1" / "model.onnx"
    content = path.read_bytes()
    path.write_bytes(content + b"\0")
    assert sharing.http.get("/v1/functions/shared/variants").status_code == 404
    path.write_bytes(content)
    assert sharing.http.get("/v1/functions/shared/variants").status_code == 200


def test_many_may_ask_at_once(sharing):
    """Each file is packed once, off the loop."""
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(sharing.http.get, ["/v1/functions/shared/variants"] * 16))
    assert {answer.status_code for answer in answers} == {200}
