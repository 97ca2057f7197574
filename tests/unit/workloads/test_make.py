from __future__ import annotations

from pathlib import Path

import pytest

from likewise.errors import InvalidValue
from likewise.workloads import WORKLOAD_NAMES, open_workload


def test_every_name_opens_the_workload_it_names(recordings: Path, photographs: Path, cameras: Path) -> None:
    """What can be asked for by name says the same name; the fixtures share one data folder."""
    assert recordings == photographs == cameras
    assert [open_workload(name, recordings).name for name in WORKLOAD_NAMES] == list(WORKLOAD_NAMES)


def test_signs_is_another_word_for_the_junction(photographs: Path) -> None:
    """The short name plays the junction."""
    assert open_workload("signs", photographs).name == "signs-junction"


def test_each_workload_names_its_function(recordings: Path, photographs: Path, cameras: Path) -> None:
    """Streams of one function's inputs go to that function."""
    functions = {name: open_workload(name, recordings).function for name in WORKLOAD_NAMES}
    assert functions == {name: name.split("-")[0] for name in WORKLOAD_NAMES}


def test_an_unknown_name_is_refused_with_the_choices() -> None:
    """The error lists what there is."""
    with pytest.raises(InvalidValue, match="digits, speech, speech-block, signs-junction"):
        open_workload("weather")


@pytest.mark.parametrize("name", [n for n in WORKLOAD_NAMES if n != "digits"])
def test_no_data_folder_is_refused_with_the_option_and_the_source(name: str) -> None:
    """Whoever has no data learns which option names it and where the public set is."""
    with pytest.raises(InvalidValue, match=r"https://.*--data DIR or LIKEWISE_DATA"):
        open_workload(name)


@pytest.mark.parametrize("name", [n for n in WORKLOAD_NAMES if n != "digits"])
def test_a_folder_without_the_layout_is_refused(name: str, tmp_path: Path) -> None:
    """The error names the folder that should be there."""
    with pytest.raises(InvalidValue, match="which is not there"):
        open_workload(name, tmp_path)


@pytest.mark.parametrize(("name", "layout"), [("speech", "fsdd/recordings"), ("signs", "gtsrb/Final_Training/Images")])
def test_an_empty_layout_is_refused(name: str, layout: str, tmp_path: Path) -> None:
    """Folders without a single usable file are as bad as none."""
    (tmp_path / layout).mkdir(parents=True)
    (tmp_path / layout / "README").write_text("nothing here")
    with pytest.raises(InvalidValue, match="found no"):
        open_workload(name, tmp_path)


@pytest.mark.parametrize(
    ("requests", "seed", "devices"),
    [pytest.param(0, 0, 1, id="requests"), pytest.param(1, -1, 1, id="seed"), pytest.param(1, 0, 0, id="devices")],
)
def test_numbers_out_of_range_are_refused(
    requests: int, seed: int, devices: int, recordings: Path, photographs: Path, cameras: Path
) -> None:
    """No stream is empty, without devices, or of a negative seed."""
    for name in WORKLOAD_NAMES:
        with pytest.raises(InvalidValue):
            open_workload(name, recordings).stream(requests, seed, devices)
