"""Functions at run time: read, register, replace, remove; and what a wrong one is told."""

from __future__ import annotations

import json

import pytest
from models import folds_for_minutes

SPEC = """
description = "registered"
[input]
kind = "image"
[model]
size = [8, 8]
channels = 1
[result]
labels = "labels.txt"
[[keys]]
name = "gray"
extractor = "gray"
"""


@pytest.fixture
def files(functions_dir):
    folder = functions_dir / "quadrants" / "1"
    return {name: (name, (folder / name).read_bytes()) for name in ("model.onnx", "labels.txt")}


def put(server, name, spec, files):
    return server.http.put(f"/v1/functions/{name}", files={"spec": ("function.toml", spec), **files})


def test_the_functions_of_the_folder_are_listed(server):
    """Name, version, input, keys, policy, target, capacity."""
    found = {each["name"]: each for each in server.http.get("/v1/functions").json()["functions"]}
    assert set(found) == {"quadrants", "devices", "careful", "fragile", "heavy"}
    assert found["quadrants"]["keys"] == [{"name": "gray", "extractor": "gray", "metric": "cosine", "dimension": 144}]
    assert found["quadrants"]["reuse"]["policy"] == "calibrated+ledger"
    assert found["quadrants"]["reuse"]["accuracy_target"] == 0.95
    assert found["devices"]["model"] is None
    assert server.http.get("/v1/functions/quadrants@1").json() == found["quadrants"]


def test_a_function_is_registered_with_its_model_used_and_removed(server, toys, files):
    """The whole life of a function over HTTP."""
    made = put(server, "mine", SPEC, files)
    assert made.status_code == 201, made.text
    assert made.json()["description"] == "registered"
    answer = server.http.post(
        "/v1/functions/mine/infer", content=toys.picture(3), headers={"content-type": "image/png"}
    )
    assert answer.json()["label"] == "south-east"
    again = put(server, "mine", SPEC.replace("registered", "replaced"), files)
    assert again.status_code == 200
    assert again.json()["description"] == "replaced"
    assert server.http.delete("/v1/functions/mine").status_code == 204
    assert server.http.get("/v1/functions/mine").status_code == 404
    assert server.http.delete("/v1/functions/mine").status_code == 404


def test_a_model_that_takes_minutes_to_load_is_refused_in_time(live):
    """It is built in a process of its own first, which is ended."""
    server = live(registration_timeout_s=2.0)
    spec = '[input]\nkind = "array"\n[model]\n[result]\nkind = "tensors"\n[[keys]]\nextractor = "pool"\n'
    answer = put(server, "slow", spec, {"model.onnx": ("model.onnx", folds_for_minutes())})
    assert answer.status_code == 422, answer.text
    assert "slow: was not done in 2 s" in answer.json()["detail"]
    assert server.http.get("/v1/functions/slow").status_code == 404


def test_a_registered_function_outlives_a_restart(live, tmp_path, files, toys):
    """What was uploaded is there at the next start."""
    data = tmp_path / "kept"
    assert put(live(data_dir=data), "mine", SPEC, files).status_code == 201
    second = live(data_dir=data)
    answer = second.http.post(
        "/v1/functions/mine/infer", content=toys.picture(0), headers={"content-type": "image/png"}
    )
    assert answer.json()["label"] == "north-west"


def test_a_spec_alone_may_be_json_or_toml(server):
    """Without a model, devices compute: no form is needed."""
    spec = {
        "description": 'a "quoted" word',
        "input": {"kind": "array"},
        "keys": [{"name": "v", "extractor": "vector", "dimension": 3, "metric": "l2"}],
        "reuse": {"policy": "fixed", "options": {"threshold": 0.5}},
    }
    made = server.http.put("/v1/functions/by-json", json=spec)
    assert made.status_code == 201, made.text
    assert made.json()["description"] == 'a "quoted" word'
    assert made.json()["reuse"]["policy"] == "fixed"
    toml = '[input]\nkind = "array"\n[[keys]]\nextractor = "vector"\ndimension = 2\n'
    made = server.http.put("/v1/functions/by-toml", content=toml, headers={"content-type": "application/toml"})
    assert made.status_code == 201, made.text


def test_other_files_take_another_version(server, files, functions_dir):
    """Results of different versions never mix."""
    assert put(server, "mine", "version = 3\n" + SPEC, files).json()["version"] == 3
    other = {**files, "labels.txt": ("labels.txt", b"a\nb\nc\nd\n")}
    clash = put(server, "mine", "version = 3\n" + SPEC, other)
    assert clash.status_code == 409
    assert "version 4" in clash.json()["detail"]
    assert put(server, "mine", SPEC, other).status_code == 409
    assert put(server, "mine", "version = 4\n" + SPEC, other).json()["version"] == 4
    assert put(server, "mine", SPEC, other).json()["version"] == 4


@pytest.mark.parametrize(
    ("change", "names"),
    [
        pytest.param(lambda spec: spec.replace('kind = "image"', 'kind = "smell"'), "input.kind", id="kind"),
        pytest.param(lambda spec: spec.replace("[8, 8]", "[9, 8]"), "1×8×8", id="size"),
        pytest.param(lambda spec: spec.replace("size = [8, 8]", ""), "size", id="no size"),
        pytest.param(lambda spec: spec.replace('"gray"\n', '"mfcc"\n'), "audio", id="extractor of another kind"),
        pytest.param(lambda spec: spec + "\n[reuse]\naccuracy_target = 1.5\n", "accuracy_target", id="target"),
        pytest.param(lambda spec: spec + "\n[reuse.options]\nspeed = 1\n", "speed", id="policy option"),
        pytest.param(lambda spec: spec + "\nwrong = [", "TOML", id="syntax"),
        pytest.param(lambda spec: spec + "\n[surprise]\nx = 1\n", "surprise", id="unknown table"),
        pytest.param(lambda spec: spec.replace("labels.txt", "names.txt"), "names.txt", id="missing file"),
        pytest.param(lambda spec: spec.replace("labels.txt", "../labels.txt"), "labels", id="path in a name"),
    ],
)
def test_a_wrong_spec_names_field_and_remedy(server, files, change, names):
    """422, the field, and nothing is served or left behind."""
    answer = put(server, "mine", change(SPEC), files)
    assert answer.status_code == 422, answer.text
    assert answer.json()["type"].endswith("/invalid-function")
    assert names in answer.json()["detail"]
    assert "/tmp" not in answer.json()["detail"]
    assert server.http.get("/v1/functions/mine").status_code == 404


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        pytest.param("model.onnx", b"no model", "model.onnx", id="model that does not load"),
        pytest.param("labels.txt", b"a\nb\n", "4", id="too few labels"),
        pytest.param("labels.txt", b"a\na\nb\nc\n", "twice", id="labels twice"),
    ],
)
def test_a_wrong_file_names_itself(server, files, name, content, says):
    """422 with the file."""
    answer = put(server, "mine", SPEC, {**files, name: (name, content)})
    assert answer.status_code == 422
    assert says in answer.json()["detail"]


def test_uploads_that_are_no_upload(server, files):
    """Wrong media type, no spec, a bad name, a broken form."""
    answer = server.http.put("/v1/functions/mine", content=b"x", headers={"content-type": "text/plain"})
    assert answer.status_code == 415
    assert server.http.put("/v1/functions/mine", files=files).status_code == 400
    assert put(server, "Bad Name", SPEC, files).status_code == 422
    form = {"content-type": "multipart/form-data; boundary=x"}
    assert server.http.put("/v1/functions/mine", content=b"--y\r\n", headers=form).status_code == 400
    listed = {"content-type": "application/json"}
    assert server.http.put("/v1/functions/mine", content=b"[1]", headers=listed).status_code == 422


def test_a_function_is_removed_by_its_version_altogether(server):
    """By `name@version`: gone under both; another version is not there."""
    assert server.http.delete("/v1/functions/quadrants@2").status_code == 404
    assert server.http.get("/v1/functions/quadrants").status_code == 200
    assert server.http.delete("/v1/functions/quadrants@1").status_code == 204
    for address in ("quadrants", "quadrants@1"):
        assert server.http.get(f"/v1/functions/{address}").status_code == 404
        assert server.http.delete(f"/v1/functions/{address}").status_code == 404
    assert "quadrants" not in {each["name"] for each in server.http.get("/v1/functions").json()["functions"]}


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        pytest.param(b"a=" + b"[" * 20_000, "application/toml", id="TOML"),
        pytest.param(b'{"a":' * 5_000 + b"1" + b"}" * 5_000, "application/json", id="JSON"),
        pytest.param(b'a = "\xe9"', "application/toml", id="Latin-1"),
    ],
)
def test_a_spec_that_no_parser_likes_is_refused(server, content, media_type):
    """422, whatever it does to the parser."""
    answer = server.http.put("/v1/functions/mine", content=content, headers={"content-type": media_type})
    assert answer.status_code == 422
    assert answer.json()["type"].endswith("/invalid-function")


def test_labels_changed_in_the_folder_begin_anew(live, toys, tmp_path):
    """The same version, other results: nothing of before comes back, and what comes back is right."""
    folder = toys.write_quadrants(tmp_path / "own")
    png = {"content-type": "image/png"}

    def answers(server):
        url = "/v1/functions/quadrants/infer"
        return {server.http.post(url, content=toys.picture(0, i), headers=png).json()["label"] for i in range(30)}

    settings = {"functions": tmp_path / "own", "journal": "sqlite"}
    first = live(**settings)
    fingerprint = first.http.get("/v1/functions/quadrants").json()["fingerprint"]
    assert answers(first) == {"north-west"}
    first.__exit__()
    (folder / "1" / "labels.txt").write_text("a\nb\nc\nd\n")
    second = live(**settings)
    assert second.http.get("/v1/functions/quadrants").json()["fingerprint"] != fingerprint
    assert second.http.get("/v1/functions/quadrants").json()["entries"] == 0
    assert answers(second) == {"a"}
    second.__exit__()
    (folder / "1" / "labels.txt").write_text("\n".join(toys.labels))
    third = live(**settings)
    assert third.http.get("/v1/functions/quadrants").json()["fingerprint"] == fingerprint
    assert answers(third) == {"north-west"}


@pytest.mark.parametrize("name", ["old", "con", "infer", "registered", "a.", "f" * 64])
def test_a_function_of_any_name_is_replaced(live, files, name):
    """Also one called as a file or a route is, or as what is put aside meanwhile."""
    server = live()
    assert [put(server, name, SPEC, files).status_code for _ in range(3)] == [201, 200, 200]
    assert server.http.delete(f"/v1/functions/{name}").status_code == 204
    assert put(server, name, SPEC, files).status_code == 201


def test_registration_may_be_switched_off(live, files):
    """403 where the operator said so."""
    server = live(allow_registration=False)
    assert put(server, "mine", SPEC, files).status_code == 403
    assert server.http.delete("/v1/functions/quadrants").status_code == 403


def test_health_stats_and_metrics(server, toys):
    """What operators watch, and both forms agree."""
    for i in range(12):
        server.http.post(
            "/v1/functions/quadrants/infer", content=toys.picture(i % 4, i), headers={"content-type": "image/png"}
        )
    server.http.post("/v1/functions/quadrants/infer", content=b"x", headers={"content-type": "image/png"})
    assert server.http.get("/livez").status_code == 200
    assert server.http.get("/readyz").json() == {"ready": True, "missing": {}, "degraded": {}}
    stats = server.http.get("/v1/stats").json()["functions"]["quadrants@1"]
    assert stats["requests"] == 12
    assert sum(stats["outcomes"].values()) == 12
    assert stats["problems"] == {"undecodable-input": 1}
    assert stats["accuracy_target"] == 0.95
    assert 0 <= stats["hit_rate"] <= 1
    assert stats["false_hits_bound"] is None or stats["false_hits_bound"] >= 0
    text = server.http.get("/metrics").text
    for name in (
        "likewise_requests_total", "likewise_stage_seconds_bucket", "likewise_entries", "likewise_bytes",
        "likewise_evictions_total", "likewise_probes_total", "likewise_false_hits_seen_total", "likewise_bar",
    ):  # fmt: skip
        assert f'{name}{{function="quadrants@1"' in text, name
    misses = stats["outcomes"]["miss"]
    assert f'likewise_requests_total{{function="quadrants@1",outcome="miss"}} {float(misses)}' in text


def test_the_openapi_document_names_every_route(server):
    """The hot routes are in it like any other."""
    paths = json.loads(server.http.get("/openapi.json").content)["paths"]
    routes = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    assert routes >= {
        "POST /v1/functions/{name}/infer", "POST /v1/functions/{name}/lookup",
        "POST /v1/functions/{name}/entries", "GET /v1/functions/{name}/entries", "DELETE /v1/functions/{name}/entries",
        "GET /v1/functions", "GET /v1/functions/{name}", "PUT /v1/functions/{name}", "DELETE /v1/functions/{name}",
        "GET /livez", "GET /readyz", "GET /metrics", "GET /v1/stats",
    }  # fmt: skip
