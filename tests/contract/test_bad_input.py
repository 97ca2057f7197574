"""Whatever a device sends: a clear problem with the right status, and the server goes on."""

from __future__ import annotations

import asyncio
import io
import socket

import cv2
import httpx
import numpy as np
import pytest
from models import FLOAT, onnx_model
from onnx import helper


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def post(server, path, body, media_type):
    return server.http.post(path, content=body, headers={"content-type": media_type})


def problem(answer, status, slug):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert set(document) == {"type", "title", "status", "detail"}
    assert document["status"] == status
    assert document["type"].endswith(f"/{slug}")
    assert len(document["detail"]) > 20
    return document["detail"]


def goes_on(server, toys):
    assert post(server, "/v1/functions/quadrants/infer", toys.picture(0), "image/png").status_code == 200


BOMB = cv2.imencode(".png", np.zeros((9000, 9000), np.uint8))[1].tobytes()


@pytest.mark.parametrize(
    ("body", "media_type", "status", "slug"),
    [
        pytest.param(b"", "image/png", 400, "undecodable-input", id="empty"),
        pytest.param(b"hello", "image/png", 400, "undecodable-input", id="no picture"),
        pytest.param(BOMB[:2000], "image/png", 413, "too-large", id="decompression bomb"),
        pytest.param(b"\x89PNG\r\n\x1a\n" + b"\0" * 50, "image/png", 400, "undecodable-input", id="only the signature"),
        pytest.param(b"P6 99999 99999 255\n", "image/x-portable-pixmap", 413, "too-large", id="huge PPM header"),
        pytest.param(b"\xff\xd8\xff\xe0", "image/jpeg", 400, "undecodable-input", id="truncated JPEG"),
        pytest.param(b"x", "audio/wav", 415, "unsupported-media-type", id="sound for a picture"),
        pytest.param(b"x", "", 415, "unsupported-media-type", id="no media type"),
        pytest.param(b"x", "text/html", 415, "unsupported-media-type", id="a page"),
    ],
)
def test_pictures(server, toys, body, media_type, status, slug):
    """Truncated, empty, oversized and malicious pictures."""
    problem(post(server, "/v1/functions/quadrants/infer", body, media_type), status, slug)
    goes_on(server, toys)


@pytest.mark.parametrize(
    ("body", "media_type", "status"),
    [
        pytest.param(npy(np.array([{"a": 1}], object)), "application/x-npy", 400, id="pickled objects"),
        pytest.param(npy(np.ones((512, 2), np.float32))[:-3], "application/x-npy", 400, id="truncated"),
        pytest.param(b"\x93NUMPY\x01\x00\xff\xff", "application/x-npy", 400, id="a header that is not there"),
        pytest.param(b"[[1, 2], [3]]", "application/json", 400, id="ragged"),
        pytest.param(b"[1, 2", "application/json", 400, id="cut JSON"),
        pytest.param(b"[" * 100_000, "application/json", 400, id="deep JSON"),
        pytest.param(b"[[NaN]]", "application/json", 400, id="NaN in JSON"),
        pytest.param(npy(np.full((512, 2), np.nan, np.float32)), "application/x-npy", 422, id="NaN"),
        pytest.param(npy(np.ones((3,), np.float32)), "application/x-npy", 422, id="wrong shape"),
    ],
)
def test_arrays(server, toys, body, media_type, status):
    """Arrays are never unpickled, and have to fit."""
    answer = post(server, "/v1/functions/heavy/infer", body, media_type)
    assert answer.status_code in ({400, 422} if status == 400 else {status}), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    goes_on(server, toys)


@pytest.mark.parametrize(
    ("body", "slug"),
    [
        pytest.param(b"", "invalid-value", id="empty"),
        pytest.param(b"abc", "invalid-value", id="no whole number of floats"),
        pytest.param(np.zeros(3, "<f4").tobytes(), "invalid-value", id="wrong dimension"),
        pytest.param(np.array([1, 2, 3, np.nan], "<f4").tobytes(), "invalid-value", id="NaN"),
        pytest.param(np.array([1, 2, 3, np.inf], "<f4").tobytes(), "invalid-value", id="infinity"),
        pytest.param(np.array([1, 2, 3, 1e18], "<f4").tobytes(), "invalid-value", id="beyond what squares"),
        pytest.param(np.array([1, 2, 3, 3e38], "<f4").tobytes(), "invalid-value", id="beyond what adds"),
    ],
)
def test_keys(server, toys, body, slug):
    """A key has the dimension of its key type and is finite."""
    detail = problem(post(server, "/v1/functions/devices/lookup", body, "application/octet-stream"), 422, slug)
    assert "devices@1" in detail
    goes_on(server, toys)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"[]", 400),
        (b'{"key": [1,2,3,4], "keys": []}', 400),
        (b'{"key": [1,2,3]}', 422),
        (b'{"key": [1,2,3,"x"]}', 422),
        (b'{"key": [1,2,3,[4]]}', 422),
        (b'{"keys": []}', 422),
        (b'{"keys": 7}', 422),
        (b'{"key": [1,2,3,1e39]}', 422),
        (b'{"key": [1,2,3,null]}', 422),
    ],
)
def test_json_lookups(server, body, status):
    """The same for keys in JSON."""
    answer = post(server, "/v1/functions/devices/lookup", body, "application/json")
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def test_too_many_keys(live):
    """The number of keys in one request has a limit."""
    server = live(max_keys_per_lookup=2)
    body = np.zeros((3, 4), "<f4").tobytes()
    problem(post(server, "/v1/functions/devices/lookup", body, "application/octet-stream"), 413, "too-large")


def test_unknown_functions_routes_methods_and_key_types(server):
    """What is not there is said with what is."""
    detail = problem(post(server, "/v1/functions/nothing/infer", b"x", "image/png"), 404, "unknown-function")
    assert "`quadrants`" in detail
    problem(server.http.get("/v1/nothing"), 404, "not-found")
    problem(server.http.get("/v1/functions/quadrants/infer"), 405, "method-not-allowed")
    problem(server.http.post("/livez"), 405, "method-not-allowed")
    body = np.zeros(4, "<f4").tobytes()
    problem(
        post(server, "/v1/functions/devices/lookup?key_type=zz", body, "application/octet-stream"),
        422,
        "invalid-value",
    )


def test_a_function_without_a_model_does_not_infer(server):
    """The remedy is named: look up, then insert."""
    answer = post(server, "/v1/functions/devices/infer", b"[1, 2, 3, 4]", "application/json")
    assert "lookup" in problem(answer, 422, "invalid-value")


def test_a_model_that_raises_is_a_500_and_the_next_request_is_fine(server):
    """The model's own words reach the client; the server goes on."""
    url = "/v1/functions/fragile/infer"
    problem(post(server, url, b"[99]", "application/json"), 500, "model-failed")
    assert post(server, url, b"[2]", "application/json").json()["outputs"]["outputs"]["data"] == [2.0]


def test_an_answer_that_is_no_finite_number_is_a_500_and_never_kept(live):
    """The output is named; the same input is computed again, and others are answered."""
    server = live()
    spec = '[input]\nkind = "array"\n[model]\n[result]\nkind = "tensors"\n[[keys]]\nextractor = "pool"\n'
    model = onnx_model([("y", FLOAT, [2])], [2], [helper.make_node("Log", ["x"], ["y"])])
    parts = {"spec": ("function.toml", spec), "model.onnx": ("model.onnx", model)}
    assert server.http.put("/v1/functions/logs", files=parts).status_code == 201
    url = "/v1/functions/logs/infer"
    for _ in range(2):
        detail = problem(post(server, url, b"[0, 1]", "application/json"), 500, "model-failed")
        assert "`y` holds NaN or infinity" in detail
    assert post(server, url, b"[1, 1]", "application/json").json()["outputs"]["y"]["data"] == [0.0, 0.0]
    assert server.http.get("/v1/stats").json()["functions"]["logs@1"]["entries"] == 1


def test_a_body_over_the_limit_is_refused_before_it_is_read(live):
    """413 comes while the body is still unsent."""
    server = live(max_body_bytes=2048, max_upload_bytes=4096)
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(
            b"POST /v1/functions/quadrants/infer HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
            b"Content-Length: 99999999\r\n\r\n"
        )
        assert b" 413 " in connection.recv(4096).split(b"\r\n")[0]


async def test_a_chunked_body_over_the_limit_is_refused(live):
    """No length announced: counted while it comes."""
    server = live(max_body_bytes=2048, max_upload_bytes=4096)

    async def chunks():
        for _ in range(100):
            yield b"x" * 1000

    async with httpx.AsyncClient(base_url=server.url) as client:
        answer = await client.post(
            "/v1/functions/quadrants/infer", content=chunks(), headers={"content-type": "image/png"}
        )
    problem(answer, 413, "too-large")


def test_a_compressed_body_is_refused(server):
    """A body is sent as it is: nothing is inflated."""
    answer = server.http.post(
        "/v1/functions/quadrants/infer",
        content=b"x",
        headers={"content-type": "image/png", "content-encoding": "gzip"},
    )
    problem(answer, 415, "unsupported-media-type")


def test_a_result_over_the_limit_is_refused(live):
    """A device cannot fill the memory with one result."""
    server = live(max_result_bytes=64)
    answer = server.http.post("/v1/functions/devices/entries", json={"key": [0, 0, 0, 0], "result": "x" * 100})
    problem(answer, 413, "too-large")


async def test_a_full_queue_is_refused_at_once(live):
    """503 with Retry-After, never an unbounded wait; those within the limit are answered."""
    server = live(queue_limit=2, batch_max=1, inference_workers=1)
    rng = np.random.default_rng(0)
    bodies = [npy(rng.normal(size=(512, 2)).astype(np.float32)) for _ in range(40)]
    async with httpx.AsyncClient(base_url=server.url, timeout=600) as client:
        answers = await asyncio.gather(
            *(
                client.post("/v1/functions/heavy/infer", content=body, headers={"content-type": "application/x-npy"})
                for body in bodies
            )
        )
    codes = [answer.status_code for answer in answers]
    assert set(codes) == {200, 503}
    refused = next(answer for answer in answers if answer.status_code == 503)
    problem(refused, 503, "overloaded")
    assert int(refused.headers["retry-after"]) >= 1


def test_an_input_that_waited_too_long_is_refused(live):
    """The queue's time limit holds too."""
    server = live(queue_timeout_s=0.01, batch_max=1, inference_workers=1, inference_threads=1)
    rng = np.random.default_rng(0)

    async def flood():
        async with httpx.AsyncClient(base_url=server.url, timeout=600) as client:
            return await asyncio.gather(
                *(
                    client.post(
                        "/v1/functions/heavy/infer",
                        content=npy(rng.normal(size=(512, 2)).astype(np.float32)),
                        headers={"content-type": "application/x-npy"},
                    )
                    for _ in range(20)
                )
            )

    assert {answer.status_code for answer in asyncio.run(flood())} == {200, 503}
