"""Results as an app's own types."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from typing import Any, Literal, Optional, TypedDict, Union

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from likewise_client import Answer, Client, Detection, Detections, Label, LikewiseClientError, MalformedAnswer
from likewise_client._typed import read_result
from likewise_client.testing import FakeServer


@dataclasses.dataclass
class Room:
    name: str
    size_m2: float
    doors: Optional[list[int]] = None  # noqa: UP045 (read at run time, on 3.9 too)
    kind: Literal["kitchen", "hall"] = "hall"


class Place(TypedDict):
    room: Room
    floor: int


def answer(result: Any) -> Answer:
    return Answer("hit", result, b"x", "application/json")


def test_labels_and_detections_are_typed() -> None:
    """What servers answer for result kinds `label` and `boxes`."""
    with_label = answer({"label": "stop", "confidence": 1, "top": []}).as_(Label)
    assert with_label == Label("stop", 1.0)
    assert isinstance(with_label.confidence, float)
    found = {"boxes": [{"box": [0, 0.1, 0.5, 1], "score": 0.9, "label": "cat"}]}
    assert answer(found).as_(Detections).boxes == (Detection((0.0, 0.1, 0.5, 1.0), 0.9, "cat"),)


def test_dataclasses_and_typed_dictionaries_nest() -> None:
    """Defaults are taken, what is not named is passed over."""
    read = answer({"room": {"name": "a", "size_m2": 3, "doors": [1, 2], "more": None}, "floor": 1}).as_(Place)
    assert read == {"room": Room("a", 3.0, [1, 2]), "floor": 1}


@pytest.mark.parametrize(
    ("result", "kind", "place"),
    [
        ({"name": 1, "size_m2": 2}, Room, "the result.name is int, not str"),
        ({"size_m2": 2}, Room, "has no 'name'"),
        ({"name": "a", "size_m2": True}, Room, "the result.size_m2"),
        ({"name": "a", "size_m2": 10**400}, Room, "the result.size_m2"),
        ({"name": "a", "size_m2": 1, "doors": ["x"]}, Room, "the result.doors"),
        ({"name": "a", "size_m2": 1, "kind": "attic"}, Room, "the result.kind"),
        ([], Room, "is list, not Room"),
        ({"floor": 1}, Place, "has no 'room'"),
        ({"boxes": [{"box": [1, 2, 3], "score": 1, "label": "a"}]}, Detections, r"boxes\[0\].box has 3 items"),
        ("text", int, "is str, not int"),
        ([[1], ["a"]], list[list[int]], r"the result\[1\]\[0\]"),
        ({"a": 1}, dict[str, str], "the result.a"),
        (None, str, "NoneType"),
        (1, Union[str, None], "is int"),
    ],
)
def test_what_does_not_fit_is_malformed_and_says_where(result: Any, kind: Any, place: str) -> None:
    """By its path."""
    with pytest.raises(MalformedAnswer, match=place):
        answer(result).as_(kind)


def test_plain_types_are_checked() -> None:
    """And arrays, which come from .npy."""
    assert answer([1, "a", None]).as_(list[Union[int, str, None]]) == [1, "a", None]  # type: ignore[arg-type]
    assert answer({"a": [1]}).as_(dict[str, list[float]]) == {"a": [1.0]}
    assert answer(np.arange(3)).as_(np.ndarray).shape == (3,)
    assert answer([1, 2]).as_(list) == [1, 2]
    if sys.version_info >= (3, 10):
        assert answer(None).as_(str | None) is None  # type: ignore[arg-type]


def test_models_of_pydantic_validate_themselves() -> None:
    """Their errors are this package's."""
    pydantic = pytest.importorskip("pydantic")
    model = pydantic.create_model("Model", label=(str, ...), confidence=(float, 0.5))
    assert answer({"label": "a"}).as_(model).confidence == 0.5
    with pytest.raises(MalformedAnswer, match="Model"):
        answer({"label": []}).as_(model)


def test_no_result_is_no_value() -> None:
    """A lookup that found nothing is told."""
    server = FakeServer()
    server.function("f", dimension=1)
    with Client(transport=server) as client, pytest.raises(MalformedAnswer, match="nothing was found"):
        client.lookup("f", key=[1.0]).as_(Label)


def test_a_type_that_cannot_be_read_is_the_apps_mistake() -> None:
    """TypeError, as from any function that is given nonsense."""
    with pytest.raises(TypeError, match="dataclass"):
        answer({"a": 1}).as_(object)


NAMES = st.sampled_from(["name", "size_m2", "doors", "label", "boxes", "box", "score"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner),
    max_leaves=12,
)


@given(JSON, st.sampled_from([Room, Place, Label, Detections, list[int], dict[str, Label], Optional[Room], str, float]))
def test_whatever_comes_is_a_value_or_malformed(result: Any, kind: Any) -> None:
    """Nothing else is raised."""
    with contextlib.suppress(LikewiseClientError):
        read_result(result, kind)


def test_deep_results_are_malformed() -> None:
    """Nesting beyond the stack."""
    deep: Any = {}
    for _ in range(100_000):
        deep = [deep]
    Nested = list[Any]  # noqa: N806
    assert answer(deep).as_(Nested) is not None

    @dataclasses.dataclass
    class Chain:
        next: Any = None

    assert answer({"next": deep}).as_(Chain).next is deep
