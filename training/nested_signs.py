"""Compare nested capacities of the plain network with capacities trained separately, seed by seed.

All begin as the same parts of one network, matched to it filter by filter, and see the same photographs for the same
number of steps. Those trained separately are each trained at several rates, and the one that is best on the photographs
judged on is taken, which flatters them. The plain network is that of vgg_signs.py:

    python vgg_signs.py --data DIR --out OUT
    python nested_signs.py --data DIR --model OUT/vgg-signs/1/model.onnx
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from time import process_time

import numpy as np
import signs_data
from common import run_onnx

from likewise.compression.examples import Examples, Task
from likewise.compression.heads import run
from likewise.compression.nested import ordered, plan, read, write
from likewise.compression.nesting import RATES_ALONE, nest
from likewise.compression.network import Network
from likewise.compression.training import Trainer
from likewise.workloads.signs import find_tracks, load_picture

SIDE = 32
EVERY = 5
"""Of the photographs that are not judged on, one in so many is to choose by; what is measured does not depend on it."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds gtsrb/")
    parser.add_argument("--model", type=Path, required=True, help="the plain network")
    parser.add_argument("--shares", default="0.4,0.6,0.8,1", help="of the channels, ascending to 1")
    parser.add_argument("--steps", type=int, default=300, help="of training, of 64 photographs")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument(
        "--rates", default=",".join(f"{rate:g}" for rate in RATES_ALONE), help="of those trained separately"
    )
    parser.add_argument("--fit", choices=("seen", "unseen"), default="unseen",
        help="photographs of tracks that the model was trained on, or half of the others (default)")  # fmt: skip
    parser.add_argument("--json", type=Path, help="where the figures go")
    options = parser.parse_args()
    shares = [float(share) for share in options.shares.split(",")]
    rates = [float(rate) for rate in options.rates.split(",")]
    task = task_of(options.data, options.model, options.fit)
    network = ordered(Network.load(options.model, task.judged.tensors.shape[1:]), task.fitted.tensors)
    found = plan(network, shares)
    whole = accuracy(task, network)
    print(f"fitted to {len(task.fitted)}, judged on {len(task.judged)}; the model is right on {whole:.4f}", flush=True)
    figures = []
    for seed in map(int, options.seeds.split(",")):
        trainer = Trainer(task, 0.0, seed)
        trainer.shown()
        began = process_time()
        trained = nest(trainer, network, found, options.steps)
        spent = process_time() - began
        content = write(trained.whole, found, trained.own)
        size = len(content) / len(trained.whole.to_bytes())
        print(
            f"seed {seed}: all capacities take {size:.4f} times the largest; {spent:.0f} s of processor time",
            flush=True,
        )
        for at, part in enumerate(read(content, "nested", network.shape)):
            began = process_time()
            alone = {
                f"{rate:g}": accuracy(task, trainer.train(trained.starts[at], rate=rate, steps=options.steps))
                for rate in rates
            }
            figure = {
                "seed": seed, "share": shares[at], "size": size, "nested": accuracy(task, part), "alone": alone,
                "behind": 100 * (max(alone.values()) - accuracy(task, part)),
            }  # fmt: skip
            figures.append(figure)
            said = ", ".join(f"{right:.4f} at {rate}" for rate, right in alone.items())
            print(
                f"  {shares[at]:4.0%} nested {figure['nested']:.4f}, separately {said}: {figure['behind']:+.2f} points "
                f"behind the best; {process_time() - began:.0f} s",
                flush=True,
            )
    for share in shares:
        behind = [each["behind"] for each in figures if each["share"] == share]
        print(f"{share:4.0%}: {np.mean(behind):+.2f} points behind on average, {max(behind):+.2f} at most")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


def task_of(data: Path, model: Path, fit: str) -> Task:
    """Return photographs that are fitted to, chosen by, and judged on; the tracks of the last are in no other."""
    if fit == "seen":
        (inputs, labels), (judged, truths) = (signs_data.load(data, SIDE, held_out=held) for held in (False, True))
        parts = [((inputs - 0.5) / 0.5).numpy(), labels.numpy(), ((judged - 0.5) / 0.5).numpy(), truths.numpy()]
    else:
        parts = []
        tracks = [track for track in find_tracks(data) if track.held_out and track.class_id < signs_data.CLASSES]
        for half in range(2):
            taken = [(track, path) for track in tracks if track.number // 2 % 2 == half for path in track.frames]
            pictures = signs_data.to_tensor([signs_data.resized(load_picture(path), SIDE) for _, path in taken])
            parts += [((pictures - 0.5) / 0.5).numpy(), np.array([track.class_id for track, _ in taken])]
    fitted, judged = (
        Examples(tensors, (run_onnx(model, tensors),), labels)
        for tensors, labels in ((parts[0], parts[1]), (parts[2], parts[3]))
    )
    places = np.arange(len(fitted))
    return Task(
        model, fitted.some(places[places % EVERY > 0]), fitted.some(places[places % EVERY == 0]), judged,
        lambda one, other: one[0].argmax(1) == other[0].argmax(1), labelled=True,
    )  # fmt: skip


def accuracy(task: Task, network: Network) -> float:
    """Return the share of photographs judged on whose sign a network names."""
    return float((run(network, task.judged.tensors).argmax(1) == task.judged.labels).mean())


if __name__ == "__main__":
    main()
