"""A small network trained to make keys: inputs with equal results near each other, with the model as the teacher.

What is learned is what the model says, not any true label. PyTorch comes with the extra `train`; where it is not
installed, nothing is trained.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from likewise.features.audio_tensor import audio_tensor
from likewise.features.image_tensor import image_tensor
from likewise.features.prepare import Prepare
from likewise.function.spec import ModelSpec
from likewise.tuning import key_file, key_networks
from likewise.tuning.candidates import Candidate, Material
from likewise.tuning.key_networks import DIMENSION, SIDE
from likewise.types import Audio, Input, Tensor

NAME = "distilled"
FEWEST = 200
"""Inputs to be trained with, below which nothing is: half of all, since the others are played."""
LONGEST_S = 4.0
"""Sounds: what of one goes into its key, where the model does not say how much it takes."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one kind of input becomes keys."""

    prepare: Prepare
    options: Mapping[str, Any]
    """What the spec of the key says of its preparation."""
    network: Callable[[Tensor], Any]
    """From an example, prepared, to the untrained network."""
    vary: Callable[[Any], Any]


def recipe(kind: str, model: ModelSpec, sample: Sequence[Input]) -> Recipe | None:
    """Return how keys are made of a kind of input; None for kinds without a network."""
    if kind == "image":
        channels = model.channels
        options = {"size": [SIDE, SIDE], "channels": channels}
        prepare = image_tensor((SIDE, SIDE), channels)
        return Recipe(prepare, options, key_networks.picture_network, key_networks.varied_pictures)
    sounds = [each for each in sample if isinstance(each, Audio)]
    if kind != "audio" or not sounds:
        return None
    rate = min(16_000, model.sample_rate or sounds[0].sample_rate)
    lengths = [len(each.samples) / each.sample_rate for each in sounds]
    whole = model.seconds if model.seconds and model.overlap is None else float(np.quantile(lengths, 0.9))
    seconds = round(min(LONGEST_S, max(0.5, whole)), 2)
    return Recipe(
        audio_tensor(rate, seconds),
        {"sample_rate": rate, "seconds": seconds},
        lambda _: key_networks.sound_network(rate),
        key_networks.varied_sounds,
    )


def distilled(
    material: Material, seconds: float, note: Callable[[str], None], advance: Callable[[float], None]
) -> list[Candidate]:
    """Return a network trained for about so many seconds, or nothing; note: says why. advance: with seconds gone by.

    Half of the time goes to the one that is written, which sees all inputs, the rest to one for each round.
    """
    subject, rounds = material.subject, material.rounds
    model = subject.spec.model
    if seconds <= 0 or model is None:
        return []
    if importlib.util.find_spec("torch") is None:
        note("No key network is trained: that needs PyTorch, `pip install 'likewise[train]'`.")
        return []
    made = recipe(subject.spec.input.kind, model, material.sample)
    if made is None:
        note("No key network is trained: that is for images and sounds.")
        return []
    found, numbers = np.unique(material.labels, return_inverse=True)
    fewest = min(len(part.fitted) for part in rounds)
    if fewest < FEWEST or not 2 <= len(found) <= fewest // 4:
        note("No key network is trained: there are too few inputs, or hardly any two of them have equal results.")
        return []
    stacked = key_file.prepared(material, made.prepare)
    keys = []
    for part in rounds:
        tried = _train(made, stacked, part.fitted, numbers, len(found), seconds / 2 / len(rounds), advance)
        run = key_file.runner(tried)
        keys.append(np.ascontiguousarray([extract_one(run, stacked[at]) for at in part.played], np.float32))
    content = _train(made, stacked, np.arange(len(stacked)), numbers, len(found), seconds / 2, advance)
    key_s = key_file.timed(content, made.prepare, DIMENSION, material)
    return [Candidate(NAME, keys, key_s, material.model_s, False, partial(key_file.write, NAME, content, made.options))]


def _train(
    made: Recipe,
    prepared: Tensor,
    fitted: Tensor,
    numbers: Tensor,
    classes: int,
    seconds: float,
    advance: Callable[[float], None],
) -> bytes:
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(2)
    network = made.network(prepared[0])
    return key_networks.trained(network, prepared[fitted], numbers[fitted], classes, made.vary, seconds, advance)


def extract_one(run: Callable[[Tensor], Tensor], prepared: Tensor) -> Tensor:
    """Return the key of a prepared input, at norm 1."""
    key = run(prepared).reshape(-1)
    return key / max(float(np.linalg.norm(key)), 1e-12)
