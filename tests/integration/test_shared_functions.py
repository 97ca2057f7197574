"""Functions registered over HTTP on one node, served by all: real servers over a real Redis."""

from __future__ import annotations

import time

import pytest
from redis import Redis

pytestmark = [pytest.mark.redis, pytest.mark.timeout(900)]

PNG = {"content-type": "image/png"}


@pytest.fixture
def node(live, redis_server, tmp_path):
    """Start nodes that share; each has a data folder of its own name."""

    def start(name, **settings):
        given = {"functions": tmp_path / "none", "data_dir": tmp_path / name, **settings}
        return live(journal="redis", redis_url=redis_server.url, **given)

    return start


@pytest.fixture
def upload(toys, tmp_path):
    """Register a function with its model."""
    folder = toys.write_quadrants(tmp_path / "source")

    def put(server, name, description="", labels=None, version=1):
        spec = (folder / "function.toml").read_text().replace("Which quadrant is bright", description)
        spec = f"version = {version}\n{spec}"
        files = {
            "spec": ("function.toml", spec, "application/toml"),
            "model.onnx": ("model.onnx", (folder / "1" / "model.onnx").read_bytes()),
            "labels.txt": ("labels.txt", labels or (folder / "1" / "labels.txt").read_bytes()),
        }
        answer = server.http.put(f"/v1/functions/{name}", files=files)
        assert answer.status_code in (200, 201), answer.text
        return answer.json()

    return put


def wait_for(condition):
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def described(server, name):
    answer = server.http.get(f"/v1/functions/{name}")
    return answer.json() if answer.status_code == 200 else None


def compute(server, name, picture):
    answer = server.http.post(f"/v1/functions/{name}/infer", content=picture, headers=PNG)
    assert answer.status_code == 200, answer.text
    return answer


def test_what_is_registered_replaced_and_removed_on_one_node_is_so_on_the_others(node, upload, toys):
    """With its model, without a restart, and with the results that were there already."""
    a, b = node("a"), node("b")
    upload(a, "mine", "first")
    answers = [compute(a, "mine", toys.picture(i % 4, i)).json()["label"] for i in range(30)]
    wait_for(lambda: described(b, "mine"))
    assert compute(b, "mine", toys.picture(3, 1)).json()["label"] == "south-east"
    wait_for(lambda: described(b, "mine")["entries"] == described(a, "mine")["entries"] > 0)
    assert set(answers) == set(toys.labels)

    upload(b, "mine", "second")
    wait_for(lambda: described(a, "mine")["description"] == "second")
    upload(b, "mine", "third", labels=b"a\nb\nc\nd\n", version=2)
    wait_for(lambda: described(a, "mine")["version"] == 2)
    assert compute(a, "mine", toys.picture(3, 1)).json()["label"] == "d"

    assert b.http.delete("/v1/functions/mine").status_code == 204
    wait_for(lambda: described(a, "mine") is None)
    late = node("late")
    assert described(late, "mine") is None


def test_a_node_that_joins_later_or_was_away_serves_what_the_others_do(node, upload, toys, tmp_path):
    """Registrations, replacements and removals are found at the start, with the entries."""
    a = node("a")
    upload(a, "kept", "old")
    upload(a, "gone")
    b = node("b")
    assert described(b, "kept")["description"] == "old"
    b.__exit__()
    upload(a, "kept", "new")
    assert a.http.delete("/v1/functions/gone").status_code == 204
    compute(a, "kept", toys.picture(1))
    wait_for(lambda: a.http.get("/v1/stats").json()["journal"]["pending"] == 0)
    for name in ("b", "c"):
        joined = node(name)
        assert described(joined, "kept")["description"] == "new"
        assert described(joined, "kept")["entries"] == 1
        assert described(joined, "gone") is None
        assert not (tmp_path / name / "functions" / "gone").exists()


def test_a_redis_that_lost_everything_learns_it_from_the_nodes(node, upload, redis_server):
    """What was registered, and what was removed: a node that joins then finds both."""
    a = node("a")
    upload(a, "kept")
    upload(a, "gone")
    b = node("b")
    a.http.delete("/v1/functions/gone")
    wait_for(lambda: described(b, "gone") is None)
    Redis(port=redis_server.port).flushall()
    wait_for(lambda: Redis(port=redis_server.port).scard("likewise:{registered}") == 2)
    c = node("c")
    assert described(c, "kept") is not None
    assert described(c, "gone") is None


def test_the_operators_own_function_comes_back_with_each_start(node, toys, tmp_path):
    """Removed on one node, it is gone on all that run; a node that starts later has it from its folder."""
    toys.write_quadrants(tmp_path / "own")
    a, b = node("a", functions=tmp_path / "own"), node("b", functions=tmp_path / "own")
    assert a.http.delete("/v1/functions/quadrants").status_code == 204
    wait_for(lambda: described(b, "quadrants") is None)
    b.__exit__()
    assert described(node("b", functions=tmp_path / "own"), "quadrants") is not None
    assert described(a, "quadrants") is None


def test_a_node_that_takes_no_functions_takes_none_from_others_either(node, upload):
    """It says so where an operator looks, and goes on."""
    a, strict = node("a"), node("strict", allow_registration=False)
    upload(a, "mine")
    wait_for(lambda: strict.http.get("/readyz").json()["degraded"])
    assert "allow_registration" in strict.http.get("/readyz").json()["degraded"]["function mine"]
    assert described(strict, "mine") is None


def test_nothing_of_a_removed_function_answers_for_its_successor(node, upload, toys):
    """The same name and version with another model begins empty, on the node that removed it and on others."""
    a, b = node("a"), node("b")
    upload(a, "mine")
    for i in range(20):
        compute(a, "mine", toys.picture(i % 4, i))
    wait_for(lambda: described(b, "mine") and described(b, "mine")["entries"] == described(a, "mine")["entries"])
    a.http.delete("/v1/functions/mine")
    wait_for(lambda: described(b, "mine") is None)
    assert upload(b, "mine", labels=b"a\nb\nc\nd\n")["version"] == 1
    wait_for(lambda: described(a, "mine"))
    for server in (a, b):
        assert {compute(server, "mine", toys.picture(i, i)).json()["label"] for i in range(4)} == set("abcd")


def test_nodes_with_other_models_under_one_version_share_nothing(node, toys, tmp_path):
    """Operators' folders may differ by mistake; each node answers by its own files, and learns by them alone."""
    for name, labels in (("a", toys.labels), ("b", "abcd")):
        toys.write_quadrants(tmp_path / f"own-{name}")
        (tmp_path / f"own-{name}" / "quadrants" / "1" / "labels.txt").write_text("\n".join(labels))
    a, b = (node(name, functions=tmp_path / f"own-{name}") for name in "ab")
    assert described(a, "quadrants")["fingerprint"] != described(b, "quadrants")["fingerprint"]
    for i in range(40):
        assert compute(a, "quadrants", toys.picture(i % 4, i)).json()["label"] in toys.labels
        assert compute(b, "quadrants", toys.picture(i % 4, i)).json()["label"] in "abcd"
    same = node("c", functions=tmp_path / "own-a")
    wait_for(lambda: described(same, "quadrants")["entries"] == described(a, "quadrants")["entries"] > 0)
    counts = {each["label"] for each in b.http.get("/v1/functions/quadrants/entries").json()["entries"]}
    assert counts <= set("abcd")
