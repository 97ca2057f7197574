"""Detections in each form that detectors have, on the picture that was sent, and when two results are equal."""

from __future__ import annotations

import json
from typing import Any, get_args

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from likewise.errors import ModelFailed
from likewise.results.box_rows import FORMS, Detections, RowOptions, Rows, corners, iou, suppressed
from likewise.results.boxes import Place, boxes_encoder
from likewise.results.labels import Labels
from likewise.types import Result

WHOLE = Place((100, 50), (0.0, 0.0, 1.0, 1.0))
FLOATS = np.float32


def encode(
    rows: Rows, outputs: list[Any], labels: Any = (), place: Place = WHOLE, **options: Any
) -> list[dict[str, Any]]:
    """Return the boxes of a result."""
    of_rows = {
        name: options.pop(name) for name in ("corners", "classes", "threshold", "pixel", "grow") if name in options
    }
    encoder = boxes_encoder(rows, lambda _: place, labels, options=RowOptions(**of_rows), **options)
    return json.loads(encoder([np.asarray(each, FLOATS) for each in outputs]).body)["boxes"]  # type: ignore[no-any-return]


ONE = {"box": [0.1, 0.2, 0.3, 0.6], "score": 0.9, "label": "b"}


@pytest.mark.parametrize(
    ("rows", "outputs", "options"),
    [
        pytest.param("score-class", [[[10, 10, 30, 30, 0.9, 1]]], {}, id="box, score, class"),
        pytest.param("score-class", [[[0, 10, 10, 30, 30, 0.9, 1]]], {}, id="with the number of the picture"),
        pytest.param("classes", [[[20, 20, 20, 20, 0.1, 0.9]]], {"corners": "cxcywh"}, id="score by class"),
        pytest.param("classes", [[[20], [20], [20], [20], [0.1], [0.9]]], {"corners": "cxcywh"}, id="in columns"),
        pytest.param("objectness", [[[10, 10, 20, 20, 0.9, 0, 1]]], {"corners": "xywh"}, id="objectness"),
        pytest.param("apart", [[[10, 10, 30, 30]], [0.9], [1]], {}, id="boxes, scores, classes"),
        pytest.param("apart", [[[10, 10, 30, 30]], [[0.1, 0.9]]], {}, id="boxes, scores by class"),
        pytest.param(
            "apart", [[[0.2, 0.1, 0.6, 0.3]], [0.9], [1]], {"corners": "yxyx", "unit": "fractions"}, id="fractions"
        ),
    ],
)
def test_each_form_says_the_same(rows: Rows, outputs: list[Any], options: dict[str, Any]) -> None:
    """One box of class b from (10, 10) to (30, 30) on 100 × 50."""
    assert encode(rows, outputs, ("a", "b"), classes=2, **options) == [ONE]


def test_every_form_has_its_entry() -> None:
    """The table and the type agree."""
    assert set(FORMS) == set(get_args(Rows))


def test_columns_are_told_from_rows_without_labels() -> None:
    """Detectors have more candidates than numbers for each."""
    many = np.zeros((6, 50), FLOATS)
    many[:, 7] = [20, 20, 20, 20, 0.1, 0.9]
    assert encode("classes", [many], corners="cxcywh") == [{**ONE, "label": "1"}]


def test_boxes_are_on_the_picture_that_was_sent() -> None:
    """Undone: a letterbox above and below, and what reaches beyond is cut."""
    place = Place((100, 100), (0.0, -0.5, 1.0, 1.5))
    assert encode("score-class", [[[10, 25, 30, 50, 0.9, 1], [50, 0, 120, 80, 0.8, 0]]], ("a", "b"), place) == [
        {"box": [0.1, 0.0, 0.3, 0.5], "score": 0.9, "label": "b"},
        {"box": [0.5, 0.0, 1.0, 1.0], "score": 0.8, "label": "a"},
    ]


def test_a_map_becomes_boxes_around_its_regions() -> None:
    """Grown by a share, scored by the mean of the map within, and by no more than there is."""
    heat = np.zeros((60, 120), FLOATS)
    cv2.rectangle(heat, (20, 10), (59, 29), 0.8, -1)
    cv2.rectangle(heat, (100, 50), (119, 59), 0.4, -1)
    plain = encode("map", [heat[None]], threshold=0.5)
    assert [each["score"] for each in plain] == [pytest.approx(0.8, abs=0.08)]
    np.testing.assert_allclose(plain[0]["box"], [20 / 120, 10 / 60, 60 / 120, 30 / 60], atol=0.02)
    grown = encode("map", [heat[None]], threshold=0.3, grow=1.6)
    assert len(grown) == 2
    by = 1.6 * 40 * 20 / 120
    np.testing.assert_allclose(grown[0]["box"], [(20 - by) / 120, 0, (60 + by) / 120, (30 + by) / 60], atol=0.02)


def test_of_boxes_that_overlap_the_best_of_each_class_stays() -> None:
    """And no more than asked for."""
    rows = [[10, 10, 30, 30, 0.8, 0], [11, 10, 31, 30, 0.9, 0], [11, 10, 31, 30, 0.7, 1], [60, 10, 80, 30, 0.6, 0]]
    found = encode("score-class", [rows], nms=0.5)
    assert [(each["score"], each["label"]) for each in found] == [(0.9, "0"), (0.7, "1"), (0.6, "0")]
    assert len(encode("score-class", [rows])) == 4
    assert len(encode("score-class", [rows], nms=0.5, most=2)) == 2
    assert encode("score-class", [np.zeros((0, 6))]) == encode("score-class", [rows], threshold=0.95) == []


@pytest.mark.parametrize(
    ("rows", "outputs", "says"),
    [
        ("score-class", [[[1, 2, 3]]], "box, score and class are six"),
        ("score-class", [[[1, 2, 3, float("nan"), 1, 1]]], "NaN"),
        ("score-class", [[[1, 2, 3, 4, 0.9, 7]]], "class 7, and the labels name 2"),
        ("classes", [np.zeros((3, 9))], "make 6"),
        ("apart", [[[1, 2, 3, 4]]], "not 1"),
        ("apart", [[[1, 2, 3, 4]], [0.5], [1, 2]], "2 classes"),
        ("map", [np.zeros((2, 3, 4))], "height and width"),
        ("classes", [np.zeros((2, 3, 4))], "boxes need rows"),
    ],
)
def test_outputs_of_another_form_are_refused(rows: Rows, outputs: list[Any], says: str) -> None:
    """Saying what was expected."""
    with pytest.raises(ModelFailed, match=says):
        encode(rows, outputs, ("a", "b"), classes=2)


BOXES = st.lists(st.tuples(*[st.floats(0, 100)] * 4), min_size=1, max_size=12).map(
    lambda found: corners(np.array(found, np.float64), "xywh")
)


@given(BOXES, st.floats(0.1, 0.9), st.randoms(use_true_random=False))
def test_suppression_keeps_what_the_slow_way_keeps(boxes: Any, overlap: float, rng: Any) -> None:
    """Against the definition, one box after another."""
    scores = np.array([rng.random() for _ in boxes])
    classes = np.array([rng.randrange(2) for _ in boxes])
    kept: list[int] = []
    for at in np.argsort(-scores, kind="stable").tolist():
        rivals = [each for each in kept if classes[each] == classes[at]]
        if all(iou(boxes[[each]], boxes[[at]])[0, 0] <= overlap for each in rivals):
            kept.append(at)
    found = suppressed(Detections(boxes, scores, classes), overlap, 100)
    assert found.scores.tolist() == scores[kept].tolist()


def result(*boxes: tuple[str, list[float]]) -> Result:
    """Return a result with these boxes."""
    return Result(json.dumps({"boxes": [{"label": name, "box": box, "score": 0.5} for name, box in boxes]}).encode())


def test_results_are_equal_where_each_box_has_its_own() -> None:
    """By label and overlap, in any order; one more or one less is another result."""
    labels = Labels("boxes", least=0.5)
    cat, dog = ("cat", [0.1, 0.1, 0.3, 0.3]), ("dog", [0.5, 0.5, 0.9, 0.9])
    first = labels.label(result(cat, dog))
    assert labels.label(result(("dog", [0.51, 0.5, 0.9, 0.88]), ("cat", [0.11, 0.1, 0.3, 0.3]))) == first
    others = [
        result(cat),
        result(cat, dog, dog),
        result(("cat", dog[1]), ("dog", cat[1])),
        result(dog, ("cat", [0.25, 0.1, 0.45, 0.3])),
    ]
    assert first not in {labels.label(each) for each in others}
    nothing = labels.label(result())
    assert labels.label(result()) == nothing != first
    two = labels.label(result(("a", [0, 0, 0.2, 0.2]), ("a", [0.1, 0, 0.3, 0.2])))
    assert labels.label(result(("a", [0.11, 0, 0.31, 0.2]), ("a", [0.01, 0, 0.21, 0.2]))) == two


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b"{}", b'{"boxes": 3}', b'{"boxes": [{"label": "a"}]}', b'{"boxes": [{"label": 1, "box": [1]}]}'],
)
def test_results_without_boxes_are_compared_by_their_bytes(body: bytes) -> None:
    """Whatever a device brings."""
    labels = Labels("boxes")
    assert labels.label(Result(body)) == labels.label(Result(body)) != labels.label(Result(body + b" "))
