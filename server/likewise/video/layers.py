"""The layers that the incremental executor knows, as a plan has them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]
Pair = tuple[int, int]


class Size(NamedTuple):
    """Of an activation."""

    height: int
    width: int
    channels: int


class Function(IntEnum):
    """What is applied to each number; see `compiled._activate`."""

    NONE = 0
    RELU = 1
    LEAKY = 2
    CLIP = 3
    SIGMOID = 4
    SILU = 5
    HARD_SIGMOID = 6
    HARD_SWISH = 7
    TANH = 8
    ELU = 9


class Activation(NamedTuple):
    """A function with its two numbers: slope; least and most; or factor and offset."""

    function: Function = Function.NONE
    low: float = 0.0
    high: float = 0.0


LINEAR = Activation()


class Window(NamedTuple):
    """Which inputs an output reads: (y, x) each; pads: (top, left)."""

    kernel: Pair
    stride: Pair = (1, 1)
    pads: Pair = (0, 0)
    dilation: Pair = (1, 1)


POINT = Window((1, 1))


@dataclass(frozen=True, eq=False)
class Layer:
    """One step. inputs, output: names of tensors."""

    inputs: tuple[str, ...]
    output: str
    activation: Activation
    work: int
    """Multiply-adds for one output pixel, or what takes about as long."""


@dataclass(frozen=True, eq=False)
class Conv(Layer):
    """A convolution: weights of shape (groups, kh·kw·channels, filters), bias of groups · filters."""

    window: Window
    weights: Floats
    bias: Floats

    @property
    def depthwise(self) -> bool:
        """Whether each channel is convolved by itself."""
        groups, taps, filters = self.weights.shape
        kh, kw = self.window.kernel
        return bool(groups > 1 and taps == kh * kw and filters == 1)


@dataclass(frozen=True, eq=False)
class Pool(Layer):
    """The largest or the mean of a window; padded: the mean counts the padding."""

    window: Window
    biggest: bool
    padded: bool


@dataclass(frozen=True, eq=False)
class Join(Layer):
    """Two or more tensors of one shape, added or multiplied."""

    how: Literal["add", "multiply"]


@dataclass(frozen=True, eq=False)
class Scale(Layer):
    """Each channel times a factor plus a bias; factor: empty for 1."""

    factor: Floats
    bias: Floats


@dataclass(frozen=True, eq=False)
class Concat(Layer):
    """Channels one after another."""


@dataclass(frozen=True, eq=False)
class Resize(Layer):
    """Nearest or linear; rows, share: see `compiled.resize`; spans: see `compiled.stretch`."""

    rows: tuple[Ints, Ints]
    share: tuple[Floats, Floats]
    spans: tuple[Ints, Ints]
