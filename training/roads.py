"""Train the detector of vehicles, on what background subtraction finds in road videos."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import roads_data
import torch
import torch.nn.functional as F
from common import FUNCTIONS, check_export, export, report, run_onnx, train
from roads_data import HEIGHT, WIDTH, Scene
from torch import Tensor, nn

from likewise.results.box_rows import Detections, RowOptions, corners, iou, suppressed

STRIDE = 16
REACH = 64.0
"""Pixels: the width that a box has where the network says 0; four times as much is the most."""
SURE, OVERLAP = 0.7, 0.45
BATCH = 32


class Detector(nn.Module):
    """(n, 3, 192, 320), in [0, 1], to (n, 5, 240): center, width and height in pixels, score, for each cell."""

    def __init__(self) -> None:
        super().__init__()
        plan = [
            (3, 16, 2, 1), (16, 16, 1, 1), (16, 32, 2, 1), (32, 32, 1, 1), (32, 64, 2, 1), (64, 64, 1, 1),
            (64, 80, 2, 1), (80, 80, 1, 2), (80, 80, 1, 2),
        ]  # fmt: skip
        layers: list[nn.Module] = []
        for inputs, outputs, stride, dilation in plan:
            layers += [
                nn.Conv2d(inputs, outputs, 3, stride, dilation, dilation, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
            ]
        head = nn.Conv2d(80, 5, 1)
        nn.init.constant_(head.bias, 0.0)
        nn.init.constant_(head.bias[4:], -3.0)
        self.body = nn.Sequential(*layers, head)
        across = torch.arange(WIDTH // STRIDE).float().add(0.5).mul(STRIDE)
        down = torch.arange(HEIGHT // STRIDE).float().add(0.5).mul(STRIDE)
        middles = torch.stack(torch.meshgrid(down, across, indexing="ij")[::-1]).view(1, 2, -1)
        self.register_buffer("middles", middles)

    def raw(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return boxes (n, 4, cells), as `forward` has them, and logits (n, cells)."""
        found = self.body(x).float().flatten(2)
        center = self.middles + (torch.sigmoid(found[:, :2]) * 4 - 2) * STRIDE
        size = REACH * (2 * torch.sigmoid(found[:, 2:4])) ** 2
        return torch.cat([center, size], 1), found[:, 4]

    def forward(self, x: Tensor) -> Tensor:
        """Return boxes and scores."""
        boxes, logits = self.raw(x)
        return torch.cat([boxes, torch.sigmoid(logits)[:, None]], 1)


def loss(network: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Return the loss. targets: (n, 5, cells), box and 1 where a vehicle is, -1 where it does not count."""
    assert isinstance(network, Detector)
    boxes, logits = network.raw(inputs)
    wanted, there = targets[:, :4], targets[:, 4] > 0
    counts = targets[:, 4] >= 0
    plain = F.binary_cross_entropy_with_logits(logits, there.float(), reduction="none")
    focus = (torch.sigmoid(logits) - there.float()).abs()
    found = (focus * plain * counts).sum() / there.sum().clamp(1)
    mine, its = boxes.transpose(1, 2)[there], wanted.transpose(1, 2)[there]
    low = torch.maximum(mine[:, :2] - mine[:, 2:] / 2, its[:, :2] - its[:, 2:] / 2)
    high = torch.minimum(mine[:, :2] + mine[:, 2:] / 2, its[:, :2] + its[:, 2:] / 2)
    common = (high - low).clamp(0).prod(1)
    overlap = common / (mine[:, 2:].prod(1) + its[:, 2:].prod(1) - common).clamp(1)
    apart = F.smooth_l1_loss(mine / STRIDE, its / STRIDE, reduction="none").sum(1)
    return found + (1 - overlap + 0.2 * apart).sum() / there.sum().clamp(1)


def target(boxes: np.ndarray) -> np.ndarray:
    """Return what the network should say, (5, cells), of boxes by corners: at the cells around each one's center."""
    wide, high = WIDTH // STRIDE, HEIGHT // STRIDE
    found = np.zeros((5, high, wide), np.float32)
    for left, top, right, bottom in sorted(boxes.tolist(), key=lambda box: (box[0] - box[2]) * (box[3] - box[1])):
        x, y = (left + right) / 2, (top + bottom) / 2
        for row in range(high):
            for column in range(wide):
                off_x, off_y = (column + 0.5) * STRIDE - x, (row + 0.5) * STRIDE - y
                if abs(off_x) < STRIDE * 0.75 and abs(off_y) < STRIDE * 0.75:
                    found[:, row, column] = x, y, right - left, bottom - top, 1.0
                elif abs(off_x) < STRIDE * 1.5 and abs(off_y) < STRIDE * 1.5 and found[4, row, column] == 0:
                    found[4, row, column] = -1.0
    return found.reshape(5, -1)


def shown(scene: Scene, others: Sequence[Scene], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return a scene moved, scaled, mirrored and relit, sometimes before another background: picture and boxes."""
    picture, boxes, mask = scene.picture, scene.boxes, scene.mask
    if rng.random() < 0.5:
        shift = rng.uniform(-0.3, 0.3, 2) * (WIDTH, HEIGHT)
        zoom_x, zoom_y = rng.uniform(0.55, 1.25) * np.exp(rng.uniform(-0.15, 0.15, 2))
        matrix = np.array(
            [[zoom_x, 0, (1 - zoom_x) * WIDTH / 2 + shift[0]], [0, zoom_y, (1 - zoom_y) * HEIGHT / 2 + shift[1]]]
        )
        picture = cv2.warpAffine(picture, matrix, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT_101)
        mask = cv2.warpAffine(mask, matrix, (WIDTH, HEIGHT))
        moved = boxes * (zoom_x, zoom_y, zoom_x, zoom_y) + np.tile(matrix[:, 2], 2)
        inside = np.clip(moved, 0, (WIDTH, HEIGHT, WIDTH, HEIGHT))
        seen = (inside[:, 2:] - inside[:, :2]).min(1, initial=WIDTH) >= 8
        boxes = inside[seen].astype(np.float32)
        around = cv2.dilate(mask, np.ones((7, 7), np.uint8)).astype(np.float32)[..., None] / 255
        soft = cv2.GaussianBlur(around[..., 0], (5, 5), 0)[..., None]
        picture = (picture * soft + backdrop(others, rng) * (1 - soft)).astype(np.uint8)
    if rng.random() < 0.5:
        picture, boxes = picture[:, ::-1], (WIDTH - boxes[:, [2, 1, 0, 3]]) * (1, 0, 1, 0) + boxes * (0, 1, 0, 1)
    if rng.random() < 0.5:
        picture, boxes = picture[::-1], (HEIGHT - boxes[:, [0, 3, 2, 1]]) * (0, 1, 0, 1) + boxes * (1, 0, 1, 0)
    lit = picture.astype(np.float32) * rng.uniform(0.5, 1.4) * rng.uniform(0.92, 1.08, 3) + rng.uniform(-20, 20)
    lit += rng.normal(0, rng.uniform(0, 5), lit.shape)
    return np.clip(lit, 0, 255).astype(np.uint8), boxes


def backdrop(others: Sequence[Scene], rng: np.random.Generator) -> np.ndarray:
    """Return a background: of one of the videos, moved and turned, or smooth colors with stripes and boxes."""
    if rng.random() < 0.6:
        picture = others[rng.integers(len(others))].background
        turn = cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), rng.uniform(-180, 180), rng.uniform(0.8, 1.6))
        return cv2.warpAffine(picture, turn, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT_101)
    smooth = cv2.resize(rng.uniform(20, 235, (3, 5, 3)).astype(np.float32), (WIDTH, HEIGHT))
    for _ in range(rng.integers(0, 6)):
        x, y = int(rng.integers(WIDTH)), int(rng.integers(HEIGHT))
        color = rng.uniform(0, 255, 3).tolist()
        if rng.random() < 0.5:
            end = int(rng.integers(WIDTH)), int(rng.integers(HEIGHT))
            cv2.line(smooth, (x, y), end, color, int(rng.integers(1, 14)))
        else:
            wide = int(rng.integers(4, 30))
            cv2.rectangle(smooth, (x, y), (x + wide, y + int(wide * rng.uniform(3, 8))), color, cv2.FILLED)
    return smooth.astype(np.uint8)


def tensor(pictures: Sequence[np.ndarray]) -> Tensor:
    """Return RGB pictures as planes in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(np.stack(pictures).transpose(0, 3, 1, 2))).float() / 255


def detected(rows: np.ndarray) -> list[np.ndarray]:
    """Return the boxes of each picture by corners, best first, from outputs (n, 5, cells)."""
    found = []
    for each in rows.astype(np.float64):
        sure = each[4] >= SURE
        boxes = corners(each[:4, sure].T, RowOptions(corners="cxcywh").corners)
        kept = suppressed(Detections(boxes, each[4, sure], np.zeros(int(sure.sum()), np.int64)), OVERLAP, 100)
        found.append(kept.boxes)
    return found


def score(rows: np.ndarray, scenes: Sequence[Scene], least: float = 0.5) -> tuple[float, float]:
    """Return precision and recall against the teacher's boxes; matched greedily by overlap of at least `least`."""
    hits = said = there = 0
    for boxes, scene in zip(detected(rows), scenes, strict=True):
        said, there = said + len(boxes), there + len(scene.boxes)
        overlaps = iou(boxes, scene.boxes.astype(np.float64))
        while overlaps.size and overlaps.max() >= least:
            row, column = np.unravel_index(int(overlaps.argmax()), overlaps.shape)
            overlaps[row], overlaps[:, column], hits = -1, -1, hits + 1
    return hits / max(said, 1), hits / max(there, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds video/")
    parser.add_argument("--out", type=Path, default=FUNCTIONS / "roads" / "1" / "model.onnx")
    parser.add_argument("--epochs", type=int, default=24)
    options = parser.parse_args()
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    scenes = roads_data.scenes(options.data, held_out=False)
    test = roads_data.scenes(options.data, held_out=True)
    seen = [each for each in scenes if len(each.boxes)]
    pool = seen * 4 + [each for each in scenes if not len(each.boxes)]
    inputs = tensor([each.picture for each in test])

    def batch(numbers: Tensor) -> tuple[Tensor, Tensor]:
        pairs = [shown(pool[number], scenes, rng) for number in numbers.tolist()]
        given = tensor([picture for picture, _ in pairs]).contiguous(memory_format=torch.channels_last)
        return given, torch.from_numpy(np.stack([target(boxes) for _, boxes in pairs]))

    def check(network: nn.Module) -> float:
        with torch.inference_mode():
            precision, recall = score(network(inputs).numpy(), test)
        return 2 * precision * recall / max(precision + recall, 1e-9)

    network, example = Detector(), torch.zeros(1, 3, HEIGHT, WIDTH)
    check_export(network, example)
    network = train(
        network, batch, loss, samples=len(pool), epochs=options.epochs, batch_size=BATCH, check=check, rate=3e-3
    )
    export(network, example, options.out, "boxes")
    precision, recall = score(run_onnx(options.out, inputs.numpy()), test)
    print(f"held out precision {precision:.4f}, recall {recall:.4f}; {report(network, example, options.out)}")


if __name__ == "__main__":
    main()
