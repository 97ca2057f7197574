"""The SDK against the real server, and the SDK's fake server held to the same behavior."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import kind_picture, write_function

from likewise_client import (
    AsyncClient,
    Client,
    Computed,
    Conflict,
    InvalidFunction,
    InvalidInput,
    InvalidValue,
    LikewiseClientError,
    MalformedAnswer,
    NotCached,
    UndecodableInput,
    UnknownFunction,
    UnsupportedMediaType,
)
from likewise_client.testing import FakeServer
from likewise_demo.process import ServerProcess


@pytest.fixture(params=["real", "fake"])
def client(request: pytest.FixtureRequest) -> Iterator[Client]:
    """A client of the real server, and one of the fake, with the functions `devices` and `quadrants`."""
    if request.param == "real":
        with Client(request.getfixturevalue("server").url) as made:
            yield made
        return
    fake = FakeServer()
    fake.function("devices", radius=0.2, dimension=4)
    fake.function("quadrants", lambda _body: {"label": "north-east", "confidence": 1.0})
    with Client(transport=fake) as made:
        yield made


@pytest.fixture
def real(server: Any) -> Iterator[Client]:
    """A client of the real server alone."""
    with Client(server.url) as made:
        yield made


NEAR = ([0.1, 0.2, 0.3, 0.4], [0.1, 0.2, 0.3, 0.45])
FAR = [9.0, 9.0, 9.0, 9.0]


def test_devices_share_by_key(client: Client) -> None:
    """Miss with a ticket, insert, hit near by, miss far away."""
    miss = client.lookup("devices", key=NEAR[0])
    assert (miss.outcome, miss.found, bool(miss.ticket)) == ("miss", False, True)
    done = client.insert("devices", {"label": "a"}, key=NEAR[0], cost_s=0.5, ticket=miss.ticket, tags=["cam"])
    hit = client.lookup("devices@1", key=NEAR[1], key_type=None)
    assert (hit.outcome, hit.result, hit.entry) == ("hit", {"label": "a"}, done.id)
    assert hit.ttl_s is not None
    assert hit.ttl_s > 60
    assert not client.lookup("devices", key=FAR).found


def test_devices_share_by_raw_input(client: Client) -> None:
    """The server makes the key from an array; lists are arrays too."""
    client.insert("devices", "near", input=np.array(NEAR[0], dtype=np.float32))
    assert client.lookup("devices", input=NEAR[1]).result == "near"
    assert client.lookup("devices", key=NEAR[1]).result == "near"


def test_many_keys_at_once(client: Client) -> None:
    """In order, each with its own outcome; results of bytes and arrays too."""
    client.insert("devices", np.arange(3.0), key=NEAR[0])
    client.insert("devices", b"\x00\xff", key=FAR, result_media_type="application/octet-stream")
    near, other, far = client.lookup("devices", keys=[NEAR[1], [5, 5, 5, 5], FAR])
    assert [near.outcome, other.outcome, far.outcome] == ["hit", "miss", "hit"]
    np.testing.assert_array_equal(near.result, np.arange(3.0))
    assert (far.result, far.media_type) == (b"\x00\xff", "application/octet-stream")
    assert other.ticket
    assert [one.outcome for one in client.lookup("devices", keys=[NEAR[1]])] == ["hit"]


def test_many_results_at_once(client: Client) -> None:
    """More than one request carries, each confirmed in order; a ticket among them teaches as in a single insert."""
    assert client.insert_many("devices", []) == []
    miss = client.lookup("devices", key=NEAR[0])
    many = [Computed({"label": i}, [float(i), 0, 0, 0], tags=[f"t{i % 2}"]) for i in range(1, 1101)]
    done = client.insert_many("devices", [Computed("first", NEAR[0], ticket=miss.ticket), *many], durable=True)
    assert len(done) == len({one.id for one in done}) == 1101
    assert client.lookup("devices", key=NEAR[1]).entry == done[0].id
    assert client.lookup("devices", key=[1100.0, 0, 0, 0]).result == {"label": 1100}
    assert client.invalidate("devices", tag="t1") == 550
    with pytest.raises(InvalidInput, match="exactly one"):
        client.insert_many("devices", [Computed(1)])


def test_entries_page_by_page(client: Client) -> None:
    """In the order of insertion, none twice, none left out; one page knows where the next begins."""
    assert list(client.entries("devices")) == []
    done = client.insert_many("devices", [Computed(i, [float(i), 0, 0, 0], tags=["x"]) for i in range(25)])
    assert [entry.id for entry in client.entries("devices", limit=10)] == [one.id for one in done]
    first = client.page("devices", limit=20)
    assert len(first.entries) == 20
    last = client.page("devices", limit=20, behind=first)
    assert (len(last.entries), last.after) == (5, None)
    entry = last.entries[-1]
    assert (entry.tags, entry.media_type, entry.size_bytes) == (("x",), "application/json", 2)
    assert entry.ttl_s is None or entry.ttl_s > 60


def test_a_lookup_takes_only_what_is_fresh_enough(client: Client) -> None:
    """By age and by what is left, for one key, several, and raw inputs."""
    client.insert("devices", 1, key=NEAR[0], ttl_s=1200)
    for fresh in ({"max_age_s": 900}, {"min_fresh_s": 300}):
        assert client.lookup("devices", key=NEAR[1], **fresh).found  # type: ignore[arg-type]
    for stale in ({"min_fresh_s": 1300}, {"max_age_s": 900, "min_fresh_s": 1300}):
        assert not client.lookup("devices", key=NEAR[1], **stale).found  # type: ignore[arg-type]
        assert not client.lookup("devices", input=NEAR[1], **stale).found  # type: ignore[arg-type]
        assert [one.found for one in client.lookup("devices", keys=[NEAR[1], FAR], **stale)] == [False, False]
        assert [one.found for one in client.lookup("devices", keys=[NEAR[1]], **stale)] == [False]


DEVICES = """
[input]
kind = "array"
[[keys]]
extractor = "vector"
dimension = 2
[reuse]
policy = "fixed"
[reuse.options]
threshold = 0.1
"""


def test_a_function_is_registered_used_and_removed(client: Client) -> None:
    """From TOML or from a mapping; a second time it takes the place of the first."""
    assert client.register("mine", DEVICES)["version"] == 1
    client.insert("mine", "x", key=[1.0, 0.0])
    assert client.lookup("mine", key=[1.0, 0.0]).result == "x"
    spec = {"input": {"kind": "array"}, "keys": [{"extractor": "vector", "dimension": 2}]}
    assert client.register("mine", spec)["name"] == "mine"
    client.unregister("mine")
    with pytest.raises(UnknownFunction):
        client.unregister("mine")
    with pytest.raises(UnknownFunction):
        client.lookup("mine", key=[1.0, 0.0])


def test_a_function_is_registered_with_its_model(real: Client, functions_dir: Path, toys: Any) -> None:
    """Files go along, as bytes or as paths; what is wrong with them is told."""
    folder = functions_dir / "quadrants"
    spec = (folder / "function.toml").read_text()
    files = {"model.onnx": folder / "1" / "model.onnx", "labels.txt": b"a\nb\nc\nd\n"}
    assert real.register("mine", spec, files)["model"] is not None
    assert real.infer("mine", toys.picture(2)).result["label"] == "c"
    with pytest.raises(InvalidFunction, match=r"labels\.txt"):
        real.register("mine", spec, {"model.onnx": folder / "1" / "model.onnx"})
    with pytest.raises(InvalidFunction):
        real.register("mine", spec, {'a"b\r\nX: y': b""})


def test_invalidation_by_id_tag_and_all(client: Client) -> None:
    """What was taken out is never served again; how many it were is told."""
    first = client.insert("devices", 1, key=NEAR[0], tags=["a"])
    client.insert("devices", 2, key=FAR, tags=["b"])
    assert client.invalidate("devices", id=first.id) == 1
    assert not client.lookup("devices", key=NEAR[0]).found
    assert client.invalidate("devices", tag="b") == 1
    assert client.invalidate("devices", all=True) == 0


def test_the_decorator_computes_once(client: Client) -> None:
    """The second, near input is not computed."""
    runs = []

    @client.reuse("devices", key=lambda value: value)
    def recognize(value: list[float]) -> dict[str, str]:
        runs.append(value)
        return {"label": "word"}

    assert recognize(NEAR[0]) == recognize(NEAR[1]) == {"label": "word"}
    assert len(runs) == 1
    recognize(FAR)
    assert len(runs) == 2


def test_inference_and_its_cache_control(client: Client, toys: Any) -> None:
    """no-store leaves no trace, only-if-cached computes nothing."""
    picture = toys.picture(1)
    bypass = client.infer("quadrants", picture, cache="no-store")
    assert (bypass.outcome, bypass.stored, bypass.entry) == ("miss", False, None)
    with pytest.raises(NotCached):
        client.infer("quadrants", picture, cache="only-if-cached")
    miss = client.infer("quadrants", picture)
    assert (miss.outcome, miss.result["label"], miss.from_cache) == ("miss", "north-east", False)
    assert client.infer("quadrants", picture, cache="no-cache").outcome == "miss"


@pytest.mark.parametrize(
    ("method", "arguments", "options", "kind"),
    [
        ("infer", ("nowhere", b"x"), {"media_type": "image/png"}, UnknownFunction),
        ("lookup", ("devices",), {"key": [1.0, 2.0, 3.0]}, InvalidValue),
        ("infer", ("devices", [1.0, 2.0, 3.0, 4.0]), {}, InvalidValue),
    ],
)
def test_problems_are_the_same(
    method: str, arguments: Any, options: Any, kind: type[LikewiseClientError], client: Client
) -> None:
    """Each mistake has its class."""
    with pytest.raises(kind):
        getattr(client, method)(*arguments, **options)


def test_one_key_taken_for_two_is_noticed(client: Client) -> None:
    """A key of twice the dimension never yields a batch as its result."""
    with pytest.raises(MalformedAnswer, match="several"):
        client.lookup("devices", key=[*FAR, *FAR])


def test_functions_and_stats(client: Client) -> None:
    """Names and versions of what is served, and counters."""
    client.lookup("devices", key=FAR)
    assert {"devices", "quadrants"} <= {one["name"] for one in client.functions()}
    assert any("devices" in name for name in client.stats()["functions"])


@pytest.mark.parametrize(
    ("body", "media_type", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n", "image/png", UndecodableInput),
        (b"abc", "video/mp4", UnsupportedMediaType),
    ],
)
def test_the_real_server_refuses(body: bytes, media_type: str, kind: type[LikewiseClientError], real: Client) -> None:
    """What it says about bad input arrives as the error it means."""
    with pytest.raises(kind):
        real.infer("quadrants", body, media_type=media_type)


async def test_the_async_client_asks_the_real_server(server: Any, toys: Any) -> None:
    """Inference, lookup, insert and decorator, awaited."""
    async with AsyncClient(server.url) as client:
        assert (await client.register("mine", DEVICES))["name"] == "mine"
        done = await client.insert_many("mine", [Computed(i, [float(i), 1.0]) for i in range(7)])
        assert [entry.id async for entry in client.entries("mine", limit=3)] == [one.id for one in done]
        assert not (await client.lookup("mine", key=[3.0, 1.0], min_fresh_s=100_000)).found
        await client.unregister("mine")
        assert (await client.infer("quadrants", toys.picture(2))).result["label"] == "south-west"
        assert (await client.insert("devices", 1, key=NEAR[0], durable=True)).stored
        assert (await client.lookup("devices", key=NEAR[1])).result == 1

        @client.reuse("devices", key=lambda value: value)
        async def recognize(value: list[float]) -> int:
            raise AssertionError("computed although a neighbor was there")

        assert await recognize(NEAR[1]) == 1


def test_a_full_process_serves_the_sdk(functions_dir: Path, toys: Any) -> None:
    """A server as an operator starts it: a later picture of the same quadrant is a hit once it has warmed up."""
    with ServerProcess(functions_dir, 0.95) as running, Client(running.url) as client:
        answers = [client.infer("quadrants", toys.picture(i % 4, seed=i)) for i in range(400)]
    assert all(answer.result["label"] == toys.labels[i % 4] for i, answer in enumerate(answers[:20]))
    assert any(answer.from_cache for answer in answers)


def test_an_input_is_sent_where_its_key_found_nothing(real: Client, toys: Any) -> None:
    """The real server computes it for the ticket, and keeps it."""
    (quadrants,) = (each for each in real.functions() if each["name"] == "quadrants")
    key = np.full(quadrants["keys"][0]["dimension"], 9.0)
    before = real.stats()["functions"]["quadrants@1"]
    answer = real.infer("quadrants", toys.picture(2, 99), key=key, key_first=True)
    assert (answer.outcome, answer.stored, answer.result["label"]) == ("miss", True, toys.labels[2])
    after = real.stats()["functions"]["quadrants@1"]
    assert after["tickets"] == before["tickets"]
    assert after["inferences"] == before["inferences"] + 1
    assert real.infer("quadrants", toys.picture(2, 99), deadline_s=30).detail == "exact"


def test_pictures_in_memory_are_read_by_the_real_server(real: Client, toys: Any) -> None:
    """As the file is that they were read from."""
    cv2 = pytest.importorskip("cv2")
    pixels = cv2.imdecode(np.frombuffer(toys.picture(1, 5), np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
    by_file = real.infer("quadrants", toys.picture(1, 5), cache="no-store")
    assert real.infer("quadrants", pixels, media_type="image/png", cache="no-store").result == by_file.result


def test_a_frame_with_a_number_that_has_passed_is_late(tmp_path: Path, live: Any) -> None:
    """Dropped where the stream asks for that, else computed in full; the next number goes on."""
    folder = write_function(tmp_path / "functions")
    pictures = [kind_picture(1, seed) for seed in range(4)]
    with Client(live(functions=folder.parent).url) as client:
        camera = client.stream("kinds", "cam", drop_late=True)
        assert camera.infer(pictures[0], number=5).found
        with pytest.raises(Conflict) as late:
            camera.infer(pictures[1], number=4)
        assert late.value.slug == "late-frame"
        assert client.stream("kinds", "cam").infer(pictures[2], number=4).found
        assert camera.infer(pictures[3], number=6).found


def test_pixels_are_reduced_as_the_real_server_says(live: Any) -> None:
    """Fewer bytes, and the same result to within the rounding of gray levels."""
    folder = Path(__file__).parents[2] / "functions"
    rows, columns = np.mgrid[0:192, 0:192]
    apart = np.hypot(rows - 96, columns - 96)[:, :, None]
    ring = np.where(apart < 80, [200, 30, 40], [110, 110, 110])
    noise = np.random.default_rng(1).normal(0, 6, (192, 192, 3))
    pixels = np.clip(np.where(apart < 50, [240, 240, 235], ring) + noise, 0, 255).astype(np.uint8)
    sent: list[int] = []
    with Client(live(functions=folder).url, on_answer=lambda event: sent.append(event.bytes_sent)) as client:
        (signs,) = (each for each in client.functions() if each["name"] == "signs")
        assert signs["input"]["sizes"] == [[32, 32], [48, 48]]
        sent.clear()
        whole = client.infer("signs", pixels, media_type="image/png", cache="no-store")
        small = client.infer("signs", pixels, media_type="image/png", cache="no-store", reduce="auto")
    assert small.result["label"] == whole.result["label"]
    assert abs(small.result["confidence"] - whole.result["confidence"]) < 0.02
    assert sent[2] < 0.7 * sent[0]
