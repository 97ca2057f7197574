"""Train the small variants of the signs model: a head on the key, and a student of 5 M multiply-adds."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import signs_data
import torch
import torch.nn.functional as F
from common import FUNCTIONS, check_export, cut_out, export, jitter, relight, report, run_onnx
from students import agreement, distill, head, pooled, teach
from torch import Tensor, nn

SIDE = 32
LARGER = 48
"""Side at which a photograph is sent to the student, that of the full model."""
MIDDLE = 42
"""Side of the middle of it, which is all that the student sees: there is less of the background."""
FOLDER = FUNCTIONS / "signs" / "1"
WIDTHS = (32, 64, 104)


class Student(nn.Module):
    """(n, 3, 32, 32) in [0, 1] to (n, 43); indifferent to brightness and contrast."""

    def __init__(self) -> None:
        super().__init__()
        first, second, third = WIDTHS
        plan = [(3, first, 2), (first, second, 2), (second, second, 1), (second, third, 2), (third, third, 1)]
        layers: list[nn.Module] = []
        for inputs, outputs, stride in plan:
            layers += [nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Flatten(), nn.Dropout(0.2), nn.Linear(third * 4, signs_data.CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        even = F.layer_norm(x.flatten(1), (3 * SIDE * SIDE,)).view(-1, 3, SIDE, SIDE)
        return self.head(F.avg_pool2d(self.body(even), 2))


class Middle(nn.Module):
    """(n, 3, 48, 48) in [0, 1] to (n, 43): what a student says of the middle of a photograph.

    Trained on a few hundred signs, it goes by their background, too, and takes that of a new sign for something else.
    """

    def __init__(self, student: nn.Module) -> None:
        super().__init__()
        self.student = student

    def forward(self, x: Tensor) -> Tensor:
        first = (LARGER - MIDDLE) // 2
        middle = x[:, :, first : first + MIDDLE, first : first + MIDDLE]
        return self.student(F.interpolate(middle, (SIDE, SIDE), mode="bilinear", align_corners=False))


def resized(pictures: np.ndarray, side: int) -> Tensor:
    """Return photographs at another size."""
    return F.interpolate(torch.from_numpy(pictures), side, mode="bilinear", align_corners=False)


def enlarged(pictures: np.ndarray) -> np.ndarray:
    """Return photographs as the full model takes them."""
    return ((resized(pictures, 48) - 0.5) / 0.5).numpy()


def keys_of(pictures: np.ndarray) -> np.ndarray:
    """Return the keys of photographs, at unit norm as the server has them."""
    keys = run_onnx(FOLDER / "key.onnx", pictures)
    return keys / np.linalg.norm(keys, axis=1, keepdims=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds gtsrb/")
    parser.add_argument("--out", type=Path, default=FOLDER)
    parser.add_argument("--pool", type=Path, help="where to keep what the full model said (.npz), for the next time")
    parser.add_argument("--variations", type=int, default=3, help="of each photograph, that the full model is asked")
    parser.add_argument("--epochs", type=int, default=30)
    options = parser.parse_args()
    torch.manual_seed(0)
    images, labels = signs_data.load(options.data, SIDE, held_out=False)
    test = signs_data.load(options.data, SIDE, held_out=True)[0][::3].numpy()

    def pool() -> tuple[np.ndarray, np.ndarray]:
        several = [images.numpy()]
        for _ in range(options.variations - 1):
            several.append(relight(jitter(images, SIDE, turn=8, zoom=0.12, shift=0.08)).numpy())
        inputs = np.concatenate(several)
        model = FOLDER / "model.onnx"
        return inputs, np.concatenate([
            teach(model, enlarged(inputs[i : i + 3200])) for i in range(0, len(inputs), 3200)
        ])  # fmt: skip

    inputs, logits = pooled(options.pool, pool)
    held = pooled(
        options.pool and options.pool.with_suffix(".test.npz"),
        lambda: (test, teach(FOLDER / "model.onnx", enlarged(test))),
    )
    example = torch.rand(1, 3, LARGER, LARGER)
    check_export(Middle(Student()), example)

    on_key = head(keys_of(inputs), logits, hidden=0)
    export(on_key, torch.rand(1, on_key[0].in_features), options.out / "head.onnx")
    said = run_onnx(options.out / "head.onnx", keys_of(held[0])).argmax(1)
    print(f"head: agrees on {(said == held[1].argmax(1)).mean():.4f} of the held-out photographs", flush=True)

    pictures, targets = torch.from_numpy(inputs), torch.from_numpy(logits)
    weight = (1 / torch.bincount(labels, minlength=signs_data.CLASSES).clamp(1).sqrt())[labels]
    weight = weight.repeat(len(inputs) // len(labels))

    def batch(chosen: Tensor) -> tuple[Tensor, Tensor]:
        chosen = torch.multinomial(weight, len(chosen), replacement=True)
        seen = relight(jitter(pictures[chosen], SIDE, turn=5, zoom=0.08, shift=0.06), darkest=0.6, noise=0.02)
        seen = cut_out(seen, share=0.3, side=0.3)
        return seen.contiguous(memory_format=torch.channels_last), targets[chosen]

    larger, held_said = resized(held[0], LARGER), torch.from_numpy(held[1]).argmax(1)

    def check(network: nn.Module) -> float:
        with torch.inference_mode():
            return float((Middle(network)(larger).argmax(1) == held_said).float().mean())

    student = Middle(distill(Student(), batch, samples=len(inputs), epochs=options.epochs, check=check))
    path = options.out / "student.onnx"
    export(student, example, path)
    print(f"student: agrees on {agreement(path, larger.numpy(), held[1]):.4f}; {report(student, example, path)}")


if __name__ == "__main__":
    main()
