from __future__ import annotations

import orjson
import pytest

from likewise.errors import InvalidValue
from likewise.results.clusters import Clusters, Tolerance
from likewise.results.labels import Labels
from likewise.types import Result


def json(value: object, media_type: str = "application/json") -> Result:
    return Result(orjson.dumps(value), media_type)


def test_the_label_field_makes_documents_equal() -> None:
    """Documents with one label are equal, whatever else they say."""
    labels = Labels("label")
    stop = labels.label(json({"label": "stop", "confidence": 0.9}))
    assert labels.label(json({"confidence": 0.4, "label": "stop"})) == stop
    assert labels.label(json({"label": "yield"})) != stop
    assert labels.name(stop) == "stop"


@pytest.mark.parametrize("value", ["stop", 3, 2.5, True, None])
def test_a_plain_scalar_is_its_own_label(value: object) -> None:
    """A JSON scalar is equal to itself and to a document that carries it as label."""
    labels = Labels("label")
    assert labels.label(json(value)) == labels.label(json({"label": value}, "application/vnd.sign+json; charset=utf-8"))


def test_a_number_and_its_text_are_two_labels() -> None:
    """3 and "3" are not equal."""
    labels = Labels("label")
    assert labels.label(json(3)) != labels.label(json("3"))


@pytest.mark.parametrize("equality", ["label", "close"])
def test_results_without_a_label_are_compared_by_bytes(equality: str) -> None:
    """Broken JSON, other media types and documents without a label or number are equal when their bytes are."""
    labels = Labels(equality)
    for result in (
        Result(b"{broken"),
        Result(b"\x00\x01", "application/octet-stream"),
        json({"text": "a"}),
        json({"label": ["a"]}),
    ):
        id = labels.label(result)
        assert labels.label(Result(result.body + b"", result.media_type)) == id
        assert labels.label(Result(result.body + b" ", result.media_type)) != id


def test_bytes_are_equal_to_the_last_bit_and_media_type() -> None:
    """The same bytes of the same media type are equal; a space more is another result."""
    labels = Labels("bytes")
    id = labels.label(Result(b'{"label":"a"}'))
    assert labels.label(Result(b'{"label":"a"}')) == id
    assert labels.label(Result(b'{"label": "a"}')) != id
    assert labels.label(Result(b'{"label":"a"}', "text/plain")) != id
    assert len(labels.name(id)) == 16


def test_close_numbers_are_equal_within_the_tolerance_of_the_first() -> None:
    """The first of a group is its measure: nothing farther from it than the tolerance joins."""
    labels = Labels("close", tolerance=Tolerance(0.1))
    box = labels.label(json({"boxes": [[1.0, 2.0], [3.0, 4.0]], "kind": "car", "score": 0.5}))
    assert labels.label(json({"kind": "car", "boxes": [[1.1, 2.0], [3.0, 3.9]], "score": 0.55})) == box
    assert labels.label(json({"kind": "car", "boxes": [[1.11, 2.0], [3.0, 4.0]], "score": 0.5})) != box
    assert labels.label(json({"kind": "bus", "boxes": [[1.0, 2.0], [3.0, 4.0]], "score": 0.5})) != box
    assert labels.label(json({"kind": "car", "boxes": [[1.0, 2.0]], "score": 0.5})) != box
    assert labels.name(box) == "group 0"


def test_a_relative_tolerance_grows_with_the_numbers() -> None:
    """It is a share of the leader's number, on top of the absolute one."""
    labels = Labels("close", tolerance=Tolerance(0.0, 0.1))
    first = labels.label(json([100.0, 1.0]))
    assert labels.label(json([109.0, 1.05])) == first
    assert labels.label(json([100.0, 1.2])) != first
    assert labels.label(json([112.0, 1.0])) != first


def test_each_output_may_have_a_tolerance_of_its_own() -> None:
    """The innermost field that is named counts; numbers elsewhere have the common tolerance."""
    own = {"boxes": Tolerance(2.0), "classes": Tolerance(0.0, 0.0)}
    labels = Labels("close", Tolerance(0.1), tolerances=own)

    def detect(box: float, score: float, kind: int) -> Result:
        boxes = {"shape": [1], "data": [box]}
        return json({"outputs": {"boxes": boxes, "classes": {"data": [kind]}, "scores": {"data": [score]}}})

    first = labels.label(detect(100.0, 0.5, 3))
    assert labels.label(detect(101.9, 0.59, 3)) == first
    assert labels.label(detect(102.1, 0.5, 3)) != first
    assert labels.label(detect(100.0, 0.7, 3)) != first
    assert labels.label(detect(100.0, 0.5, 4)) != first


def test_shapes_must_agree_where_numbers_are_flat() -> None:
    """Two tensors with the same numbers in another shape are not close."""
    labels = Labels("close", tolerance=Tolerance(10))
    flat = labels.label(json({"outputs": {"y": {"shape": [4], "data": [1, 2, 3, 4]}}}))
    assert labels.label(json({"outputs": {"y": {"shape": [2, 2], "data": [1, 2, 3, 4]}}})) != flat
    assert labels.label(json({"outputs": {"y": {"shape": [4], "data": [2, 2, 3, 5]}}})) == flat


def test_the_nearest_leader_wins() -> None:
    """Between two groups in reach, the nearer one is joined."""
    labels = Labels("close", tolerance=Tolerance(1.0))
    low, high = labels.label(json([0.0, 0.0])), labels.label(json([1.5, 0.0]))
    assert low != high
    assert labels.label(json([0.9, 0.0])) == high


def test_memory_of_labels_is_bounded() -> None:
    """Beyond the limit, labels not seen for long are forgotten and come back under a new id; others stay."""
    labels = Labels("bytes", limit=100)
    kept = labels.label(Result(b"kept"))
    gone = labels.label(Result(b"gone"))
    for number in range(1000):
        labels.label(Result(b"%d" % number))
        assert labels.label(Result(b"kept")) == kept
    assert len(labels) <= 101
    assert labels.label(Result(b"gone")) != gone
    assert labels.name(gone) == f"#{gone}"


def test_memory_of_leaders_is_bounded() -> None:
    """Leaders beyond the limit take the place of the oldest, and rare structures that of others."""
    clusters = Clusters(Tolerance(0.1), limit=4, max_numbers=40)
    import numpy as np

    for number in range(50):
        clusters.lead(b"a", np.array([float(number)]), number)
    assert [clusters.find(b"a", np.array([float(number)])) for number in (45, 46, 49)] == [-1, 46, 49]
    for number in range(50):
        clusters.lead(b"%d" % number, np.zeros(10), number)
    assert clusters.find(b"49", np.zeros(10)) == 49
    assert clusters.find(b"0", np.zeros(10)) == -1
    assert clusters.find(b"49", np.zeros(9)) == -1


@pytest.mark.parametrize(
    "arguments",
    [("same",), ("close", Tolerance(-1.0)), ("label", Tolerance(), 1), ("close", Tolerance(0.0, float("nan")))],
)
def test_refuses_settings_that_cannot_be_used(arguments: tuple[object, ...]) -> None:
    """An unknown equality, a negative tolerance and a limit of one are named."""
    with pytest.raises(InvalidValue):
        Labels(*arguments)  # type: ignore[arg-type]


def test_any_json_gets_a_label() -> None:
    """Numbers too large for a float and deep nesting are labels too."""
    labels = Labels("close")
    deep: object = 1.5
    for _ in range(120):
        deep = [deep]
    for result in (json(deep), Result(b"[1e400]"), json([1, "a", None, {"b": 2}]), json([])):
        assert labels.label(result) == labels.label(result)


def test_long_labels_take_no_more_memory_than_short_ones() -> None:
    """They are remembered by their digest, and equal ones are equal; all of them stay within their bytes."""
    labels = Labels(max_bytes=200_000)
    long = "x" * 100_000
    first = labels.label(json({"label": long}))
    assert labels.label(json({"label": long, "score": 1})) == first
    assert labels.label(json({"label": long + "y"})) != first
    assert labels.name(first) == "x" * 80
    for number in range(5000):
        labels.label(json({"label": f"{number}" + long[:1000]}))
        assert labels.nbytes <= 200_000
    assert labels.label(json({"label": long})) != first


def test_a_text_and_a_digest_are_never_taken_for_each_other() -> None:
    """Labels are arbitrary, so one may look like the digest of another."""
    labels = Labels()
    by_bytes = labels.label(Result(b"abc", "application/octet-stream"))
    assert all(labels.label(json({"label": text})) != by_bytes for text in ("", "a" * 14, "a" * 15, "\0" * 15))


def test_what_takes_long_to_compare_is_compared_by_its_bytes() -> None:
    """A result of very many parts, or numbers, or levels: the loop is not held up, and equal bytes are equal."""
    labels = Labels("close", (0.5, 0.0))
    parts = [[[number]] for number in range(20_000)]
    numbers = [0.5] * 100_000
    deep: object = 1.5
    for _ in range(200):
        deep = [deep]
    for value in (parts, numbers, deep):
        result = json(value)
        assert labels.label(result) == labels.label(result)
        assert labels.label(Result(result.body + b" ")) != labels.label(result)
    few = [0.5] * 1000
    assert labels.label(json(few)) == labels.label(json([0.6] * 1000))


def boxes(*lefts: float) -> Result:
    listed = [{"box": [left, 0.2, left + 0.2, 0.4], "score": 0.9, "label": "car"} for left in lefts]
    return json({"boxes": listed})


@pytest.mark.parametrize(
    ("labels", "results"),
    [
        pytest.param(Labels("boxes", least=0.5), [boxes(0.0), boxes(0.06), boxes(0.07)], id="boxes"),
        pytest.param(Labels("close", Tolerance(0.065)), [json([0.0]), json([0.06]), json([0.07])], id="close"),
    ],
)
def test_two_that_a_border_parts_are_alike_by_themselves(labels: Labels, results: list[Result]) -> None:
    """The first leads a group that takes in the second and not the third, which is as near to the second."""
    first, second, third = results
    known = [labels.label(each) for each in results]
    assert known[0] == known[1] != known[2]
    assert labels.alike(second, third)
    assert labels.alike(first, second)
    assert not labels.alike(first, third)
    assert len(labels) == 2


@pytest.mark.parametrize("equality", ["boxes", "close", "label", "bytes"])
def test_what_cannot_be_read_is_alike_where_its_bytes_are(equality: str) -> None:
    """Never raises."""
    labels, odd = Labels(equality), Result(b"\xff not JSON")
    assert labels.alike(odd, Result(b"\xff not JSON"))
    assert not labels.alike(odd, Result(b'{"label": 1, "boxes": []}'))
    assert not labels.alike(Result(b'{"label": 1, "boxes": []}'), odd)
