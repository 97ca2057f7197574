"""The layers that the incremental executor knows, as a plan has them."""

from __future__ import annotations

from dataclasses import dataclass, replace
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
    """What is applied to each number; see `compiled_rows.activate`."""

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
    pool: int = 1
    """Side of the squares of its results of which the largest is the output; see `Conv.pooled`."""

    @property
    def reads(self) -> Window:
        """Which inputs an output reads, pooling included."""
        (kh, kw), (sh, sw), pads, dilation = self.window
        more = self.pool - 1
        return Window((kh + more * sh, kw + more * sw), (self.pool * sh, self.pool * sw), pads, dilation)

    def pooled(self, pool: Pool, given: Size, size: Size) -> Conv | None:
        """Return this with a pool at its end, so that what is pooled need not be kept; None where that does not go.

        It goes for squares of 2 × 2 side by side, without padding, and for activations that keep the order of numbers.
        given, size: before and after the pool.
        """
        function, low, _ = self.activation
        rising = function in (Function.NONE, Function.RELU, Function.CLIP) or (function is Function.LEAKY and low >= 0)
        whole = 2 * size.height <= given.height and 2 * size.width <= given.width
        if not (rising and whole and pool.biggest and pool.window == Window((2, 2), (2, 2))):
            return None
        if len(self.weights) > 1 or self.window.dilation != (1, 1) or self.pool > 1:
            return None
        return replace(self, output=pool.output, work=4 * self.work + pool.work, pool=2)

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

    @property
    def reads(self) -> Window:
        """Which inputs an output reads."""
        return self.window


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
