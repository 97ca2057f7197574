"""Which variants are loaded, where there is no room for all."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from likewise.errors import InvalidFunction, ModelFailed
from likewise.function.paging import PERIOD_S, PagedModel, Pager


class Model:
    """Stands for a loaded file."""

    dynamic_batch = True
    path = SimpleNamespace(name="small.onnx")

    def run_one(self) -> Any:
        return lambda tensor: tensor

    def run(self, batch: Any) -> Any:
        return [batch]


class Variant:
    """One that saves a second each time that it is reached."""

    def __init__(self, memory_bytes: int, load: Any = Model) -> None:
        self.model = PagedModel(Model(), load)  # type: ignore[arg-type]
        self.memory_bytes = memory_bytes
        self.reached_per_s = 1.0
        self.asked = 0
        self.saved = 1.0

    def reached(self) -> int:
        return self.asked

    def saved_s(self) -> float:
        return self.saved


class Bench:
    """A pager of 100 bytes, on a clock that stands still."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pool = ThreadPoolExecutor(1)
        self.pager = Pager(100, self.pool, lambda: self.now)

    def look(self, times: int = 1) -> None:
        for _ in range(times):
            self.now += PERIOD_S
            self.pager.tend()
            if self.pager._loading is not None:
                self.pager._loading.result()


@pytest.fixture
def bench() -> Any:
    found = Bench()
    yield found
    found.pool.shutdown()


def test_what_saves_least_for_its_bytes_is_dropped(bench: Bench) -> None:
    """A later function may be worth more than one that is there."""
    first, small = Variant(90), Variant(20)
    bench.pager.put([first])
    assert first.model.present
    bench.pager.put([small])
    assert (first.model.present, small.model.present) == (False, True)
    assert bench.pager.loaded_bytes == 20
    with pytest.raises(ModelFailed, match="not loaded"):
        first.model.run(None)  # type: ignore[arg-type]


def test_one_that_is_asked_for_more_comes_back(bench: Bench) -> None:
    """Also while it was away it is known how often it would have been asked."""
    first, second = Variant(60), Variant(60)
    first.saved = 1.5
    bench.pager.put([first, second])
    assert (first.model.present, second.model.present) == (True, False)
    for _ in range(20):
        first.asked, second.asked = first.asked + 1, second.asked + 50
        bench.look()
    assert (first.model.present, second.model.present) == (False, True)


def test_they_do_not_change_places_for_little(bench: Bench) -> None:
    """Loading costs as well."""
    first, second = Variant(60), Variant(60)
    first.saved = 1.05
    bench.pager.put([first, second])
    second.saved = 1.2
    bench.look(5)
    assert (first.model.present, second.model.present) == (True, False)


def test_one_that_cannot_be_loaded_leaves_its_place_and_is_tried_again(bench: Bench) -> None:
    """Such as for want of memory."""
    tries = []

    def load() -> Model:
        tries.append(0)
        if len(tries) < 3:
            raise InvalidFunction("it wants more memory than is left")
        return Model()

    variant = Variant(60, load)
    bench.pager.put([variant])
    variant.model.drop()
    bench.look(2)
    assert not variant.model.present
    bench.look()
    assert variant.model.present


def test_variants_of_functions_that_are_gone_take_no_room(bench: Bench) -> None:
    """Nobody else holds them."""
    bench.pager.put([Variant(90)])
    other = Variant(90)
    bench.pager.put([other])
    assert bench.pager.loaded_bytes == 90
    assert other.model.present
