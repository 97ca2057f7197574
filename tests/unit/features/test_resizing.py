"""How pictures come to the size of a model: plans in whole pixels, and where what is shown stands in the picture."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from likewise.errors import InvalidFunction
from likewise.features.resizing import MODES, Mode, Plan, Resizing, placed, planner

SIZES = st.integers(1, 3000)


@pytest.mark.parametrize(
    ("wanted", "picture", "plan"),
    [
        pytest.param({"size": (8, 4)}, (100, 30), Plan((8, 4), (8, 4), 0, 0), id="stretch"),
        pytest.param(
            {"mode": "crop", "size": (224, 224), "crop_from": 256},
            (640, 480),
            Plan((341, 256), (224, 224), -58, -16),
            id="short side, then the middle",
        ),
        pytest.param(
            {"mode": "crop", "size": (224, 224), "crop_from": (256, 256)},
            (640, 480),
            Plan((256, 256), (224, 224), -16, -16),
            id="stretched, then the middle",
        ),
        pytest.param({"mode": "crop", "size": (4, 4)}, (30, 10), Plan((12, 4), (4, 4), -4, 0), id="what covers"),
        pytest.param(
            {"mode": "letterbox", "size": (640, 640)}, (320, 160), Plan((640, 320), (640, 640), 0, 160), id="letterbox"
        ),
        pytest.param(
            {"mode": "letterbox", "size": (640, 640), "align": "corner"},
            (160, 320),
            Plan((320, 640), (640, 640), 0, 0),
            id="letterbox in the corner",
        ),
        pytest.param(
            {"mode": "height", "size": (320, 48)}, (100, 50), Plan((96, 48), (320, 48), 0, 0), id="short line"
        ),
        pytest.param(
            {"mode": "height", "size": (320, 48)}, (1000, 50), Plan((960, 48), (960, 48), 0, 0), id="long line"
        ),
        pytest.param(
            {"mode": "height", "size": (320, 48), "max_side": 640},
            (1000, 50),
            Plan((640, 48), (640, 48), 0, 0),
            id="cap",
        ),
        pytest.param({"mode": "free"}, (100, 50), Plan((100, 50), (100, 50), 0, 0), id="free"),
        pytest.param(
            {"mode": "free", "min_side": 736, "multiple": 32},
            (1000, 500),
            Plan((1472, 736), (1472, 736), 0, 0),
            id="up",
        ),
        pytest.param(
            {"mode": "free", "max_side": 640, "multiple": 32},
            (1000, 500),
            Plan((640, 320), (640, 320), 0, 0),
            id="down",
        ),
    ],
)
def test_plans(wanted: dict[str, Any], picture: tuple[int, int], plan: Plan) -> None:
    """Worked out by hand."""
    assert planner(Resizing(**wanted))(*picture) == plan


def test_every_mode_has_its_plan() -> None:
    """The table and the type agree."""
    assert set(MODES) == set(get_args(Mode))


@given(st.sampled_from(sorted(MODES)), SIZES, SIZES, st.integers(1, 64), st.integers(1, 64))
@example("crop", 1, 1, 2, 1)  # one row too many is cut off below
def test_whatever_the_picture_the_canvas_is_what_the_model_takes(
    mode: Mode, width: int, height: int, wide: int, high: int
) -> None:
    """Canvas as asked for, a scaled picture of at least one pixel, and pixels that fit."""
    wanted = Resizing(mode=mode, size=None if mode == "free" else (wide, high), max_side=512, multiple=8)
    plan = planner(wanted)(width, height)
    assert min(plan.scaled) >= 1
    if mode in ("stretch", "crop", "letterbox"):
        assert plan.canvas == (wide, high)
    elif mode == "height":
        assert plan.canvas[1] == high
        assert wide <= plan.canvas[0] <= max(wide, 512)
    else:
        assert all(side % 8 == 0 and 8 <= side <= 512 for side in plan.canvas)
    shown = placed(np.zeros((min(height, 64), min(width, 64), 3), np.uint8), plan, "auto")
    assert shown.shape[0] <= plan.canvas[1]
    assert shown.shape[1] <= plan.canvas[0]
    left, top, right, bottom = plan.region
    assert left < right
    assert top < bottom
    if mode == "crop":
        assert min(left, top) >= 0
        assert max(right, bottom) <= 1
    if mode == "letterbox":
        assert max(left, top) <= 0
        assert min(right, bottom) >= 1


def test_what_is_shown_is_where_the_region_says(picture: NDArray[np.uint8]) -> None:
    """The middle of a crop is the middle of the picture."""
    big = np.repeat(np.repeat(picture, 8, axis=0), 8, axis=1)  # 296 high, 232 wide
    plan = planner(Resizing(mode="crop", size=(100, 100), crop_from=232))(232, 296)
    left, top, right, bottom = plan.region
    cut = big[round(top * 296) : round(bottom * 296), round(left * 232) : round(right * 232)]
    assert np.array_equal(placed(big, plan, "auto"), cut)


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ({"mode": "crop", "size": (224, 224), "crop_from": 200}, "crop_from is 200"),
        ({"mode": "free", "size": (3, 3)}, "remove size"),
        ({"mode": "free", "min_side": 100, "max_side": 50}, "max_side is 50"),
        ({"mode": "letterbox"}, "size is None"),
        ({"size": (0, 3)}, "1 to 4096"),
    ],
)
def test_sizes_that_cannot_be_are_refused(wanted: dict[str, Any], says: str) -> None:
    """With what to give instead."""
    with pytest.raises(InvalidFunction, match=says):
        planner(Resizing(**wanted))


def test_a_strip_does_not_fill_the_memory() -> None:
    """A picture of one row is squeezed along its length rather than enlarged to millions of pixels."""
    for wanted in ({"mode": "crop", "size": (224, 224), "crop_from": 256}, {"mode": "height", "size": (320, 48)}):
        plan = planner(Resizing(**wanted))(1_000_000, 1)  # type: ignore[arg-type]
        assert plan.scaled[0] * plan.scaled[1] < 1 << 23
