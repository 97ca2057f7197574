"""Networks trained to say what the full model says, on inputs without labels.

The loss is the divergence of the softened shares of the classes (Hinton, Vinyals, Dean, Distilling the Knowledge,
2015), or the squared error where outputs are no scores of classes. Pictures are also shown moved and in other light, as
the full model sees them then. Importance by second derivatives is the diagonal of the Fisher information, which is that
of the Hessian for a model that is right about its own shares (LeCun, Denker, Solla, Optimal Brain Damage, NIPS 1989).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from time import thread_time
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from likewise.compression.examples import Task, outputs_of, scores
from likewise.compression.heads import run
from likewise.compression.modules import Module
from likewise.compression.network import Floats, Network
from likewise.inference.model import OnnxModel
from likewise.types import Tensor

BATCH = 64
SOFTNESS = 2.0
RATE, FRESH_RATE = 5e-4, 3e-3
"""The highest rate for a network that works already, and for one that does not."""
VIEWS = 2
"""Times that each picture is shown otherwise."""
MOST_VIEWED = 8000
FISHER_INPUTS, MOST_CLASSES = 96, 6
"""Inputs, and the likeliest classes of each, that second derivatives are a mean over."""


class Trainer:
    """Trains networks for one task."""

    def __init__(self, task: Task, seconds: float, seed: int = 0) -> None:
        """Set up. seconds: of processor time for each network."""
        self.task, self.seconds, self._seed = task, seconds, seed
        self._shown: tuple[Any, Any] | None = None
        self._derivatives: dict[int, tuple[Network, dict[str, Floats]]] = {}

    def train(
        self,
        network: Network,
        *,
        fresh: bool = False,
        frozen: Collection[str] = (),
        share: float = 1.0,
        rate: float = 0.0,
        steps: int = 0,
    ) -> Network:
        """Return the network trained. fresh: it has random weights. frozen: weights that stay as they are.

        share: of the time that it may take. rate: the highest; 0: what is usual. steps: in place of the time.
        """
        inputs, wanted = self.shown()
        module = Module(network, frozen).train()
        highest = rate or (FRESH_RATE if fresh else RATE)
        for drawn in self.descend(list(module.parameters()), highest, share * self.seconds, steps):
            self.learn(module, inputs[drawn], wanted[drawn])
        module.eval()
        found: Network = module.result()
        return found

    def descend(self, parameters: Sequence[Any], highest: float, seconds: float, steps: int = 0) -> Iterator[Any]:
        """Yield the places of the inputs of each step, which is taken by the gradients that are there afterwards.

        highest: the rate, which rises quickly and falls along a cosine. seconds: of processor time; steps: in place of
        those.
        """
        count = len(self.shown()[0])
        torch.manual_seed(self._seed)
        torch.set_num_threads(1)
        torch.set_flush_denormal(True)
        optimizer = torch.optim.AdamW(
            [
                {"params": [each for each in parameters if each.ndim > 1], "weight_decay": 0.02},
                {"params": [each for each in parameters if each.ndim <= 1], "weight_decay": 0.0},
            ],
            fused=True,
        )
        began, taken = thread_time(), 0
        while (done := taken / steps if steps else (thread_time() - began) / seconds) < 1:
            for group in optimizer.param_groups:
                group["lr"] = highest * min(1.0, 0.1 + done / 0.05) * (0.5 + 0.5 * math.cos(math.pi * done))
            optimizer.zero_grad(set_to_none=True)
            yield torch.randint(count, (BATCH,))
            torch.nn.utils.clip_grad_norm_(parameters, 5.0)
            optimizer.step()
            taken += 1

    def learn(self, module: Any, inputs: Any, wanted: Any) -> None:
        """Add the gradients of the loss to what a module has. wanted: what the full model says of the inputs."""
        with torch.autocast("cpu", torch.bfloat16, enabled=inputs.ndim == 4):
            said = module(inputs)
        self.loss(said.float(), wanted).backward()

    def loss(self, said: Any, wanted: Any) -> Any:
        """Return how far outputs are from what the full model says."""
        said = said.reshape(len(said), -1)
        if not self.task.labelled:
            return functional.mse_loss(said, wanted) / wanted.var().clamp_min(1e-12)
        return functional.kl_div(
            functional.log_softmax(said / SOFTNESS, 1), functional.softmax(wanted / SOFTNESS, 1), reduction="batchmean"
        ) * (SOFTNESS**2)

    def shown(self) -> tuple[Any, Any]:
        """Return what is trained on, and what the full model says of it; made once."""
        if self._shown is None:
            fitted = self.task.fitted
            tensors, outputs = [fitted.tensors], [fitted.outputs[0]]
            if fitted.tensors.ndim == 4 and fitted.tensors.dtype == np.float32:
                full = OnnxModel(self.task.path, outputs=())
                torch.manual_seed(self._seed)
                for _ in range(min(VIEWS, MOST_VIEWED // len(fitted))):
                    tensors.append(varied(torch.from_numpy(fitted.tensors)).numpy())
                    outputs.append(outputs_of(full, tensors[-1])[0])
            inputs = torch.from_numpy(np.concatenate(tensors))
            if inputs.ndim == 4:
                inputs = inputs.contiguous(memory_format=torch.channels_last)
            self._shown = inputs, self._wanted(np.concatenate(outputs))
        return self._shown

    def _wanted(self, outputs: Tensor) -> Any:
        wanted = scores(outputs) if self.task.labelled else outputs.reshape(len(outputs), -1)
        return torch.from_numpy(wanted.astype(np.float32))

    def distance(self, network: Network) -> float:
        """Return the loss over the inputs that settings are chosen by."""
        chosen = self.task.chosen
        said = torch.from_numpy(run(network, chosen.tensors))
        return float(self.loss(said, self._wanted(chosen.outputs[0])))

    def second_derivatives(self, network: Network) -> dict[str, Floats]:
        """Return for each weight of the layers ½·h·w²: what the loss gains where it is zero, to the second order."""
        known = self._derivatives.get(id(network))
        if known is not None and known[0] is network:
            return known[1]
        module = Module(network).eval()
        torch.manual_seed(self._seed)
        inputs, _ = self.shown()
        names = [layer.weight for layer in network.layers()]
        weights = {name: module.weight(name) for name in names}
        totals = {name: torch.zeros_like(value) for name, value in weights.items()}
        places = torch.linspace(0, len(self.task.fitted) - 1, min(FISHER_INPUTS, len(self.task.fitted))).long()
        parameters = [module.trained[module.key(name)] for name in names]
        for at in places:
            said = module(inputs[at][None]).float().reshape(1, -1)
            for weight, value in self._informed(said):
                grads = torch.autograd.grad(value, parameters, retain_graph=True)
                for name, grad in zip(names, grads, strict=True):
                    if grad.shape == totals[name].shape:
                        totals[name] += weight * grad.square()
        with torch.no_grad():
            found = {
                name: (0.5 * totals[name] / len(places) * weights[name].square()).numpy().astype(np.float32)
                for name in names
            }
        self._derivatives = {id(network): (network, found)}
        return found

    def _informed(self, said: Any) -> list[tuple[float, Any]]:
        """Return what the squared gradients of one output are a mean of, with the weight of each."""
        if not self.task.labelled:
            return [(1.0, (said * torch.randn_like(said)).sum())]
        logs = functional.log_softmax(said, 1)[0]
        likely = logs.detach().exp().topk(min(MOST_CLASSES, len(logs)))
        return [(float(share), logs[at]) for share, at in zip(likely.values, likely.indices, strict=True)]


def varied(pictures: Tensor | Any) -> Any:
    """Return pictures a moment later: turned, zoomed and moved a little, in other light; shape (n, c, h, w)."""
    count = len(pictures)

    def spread(low: float, high: float) -> Any:
        return torch.empty(count).uniform_(low, high)

    angle, wide, high = spread(-0.15, 0.15), 1 + spread(-0.12, 0.12), 1 + spread(-0.12, 0.12)
    cos, sin = torch.cos(angle), torch.sin(angle)
    rows = [cos * wide, -sin * high, spread(-0.14, 0.14), sin * wide, cos * high, spread(-0.14, 0.14)]
    grid = functional.affine_grid(torch.stack(rows, 1).view(count, 2, 3), list(pictures.shape), align_corners=False)
    moved = functional.grid_sample(pictures, grid, padding_mode="reflection", align_corners=False)
    low = moved.amin((1, 2, 3), keepdim=True)
    return low + (moved - low) * torch.exp(spread(-0.4, 0.3)).view(-1, 1, 1, 1)
