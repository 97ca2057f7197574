"""DeepCache: blocks found again elsewhere in the last frame, moved in every layer.

Source: Xu et al., MobiCom 2018.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from likewise.video.incremental import WRITE_ALL
from likewise.video.layers import Conv, Floats, Ints, Layer, Pool, Resize
from likewise.video.methods.base import Fixed
from likewise.video.model import VideoModel
from likewise.video.state import State

BLOCK = 10
MATCH = 10.0
"""Mean absolute difference in gray levels below which two blocks match (the paper: a peak signal-to-noise ratio)."""
REACH = 16
"""Pixels that a block is looked for around where it is, by diamond search."""
REFRESH_EVERY = 30
"""Frames after which the paper's cache expires, about."""
_LARGE = ((0, 0), (0, 2), (0, -2), (2, 0), (-2, 0), (1, 1), (1, -1), (-1, 1), (-1, -1))
_SMALL = ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0))
_CODE = 1024
_NONE = -1.0
"""Code of a place that is computed anew; others stand for where it came from."""


class DeepCache(Fixed):
    """Blocks are matched by diamond search; what lies whole within blocks that moved together is copied."""

    def __init__(self, model: VideoModel, epsilon: float = 0.05) -> None:
        super().__init__(model, epsilon, block=BLOCK, refresh_every=REFRESH_EVERY)

    def advance(self, state: State, given: Floats) -> int:
        """See `Fixed.advance`."""
        gray = (given / self.model.unit[:, None, None]).mean(0)
        before = (state.frame / self.model.unit[:, None, None]).mean(0)
        codes = {self.model.plan.input: self._match(gray, before)}
        state.frame[...] = given
        self.model.network.interior(state, self.model.plan.input)[...] = given.transpose(1, 2, 0)

        def moved(layer: Layer, _: Ints) -> Ints:
            code = codes[layer.output] = self._through(layer, [codes[name] for name in layer.inputs])
            return self._copy(state, layer, code)

        return self.model.network.step(state, np.zeros(0, np.int32), WRITE_ALL, moved)

    def _match(self, gray: Floats, before: Floats) -> Floats:
        """Return the code of each pixel, by block."""
        height, width = gray.shape
        rows, columns = self.change.shape
        code = np.full((height, width), _NONE, np.float32)
        last = (0, 0)  # neighbors tend to move together
        for row in range(rows):
            for column in range(columns):
                top, left = row * BLOCK, column * BLOCK
                block = gray[top : top + BLOCK, left : left + BLOCK]

                def miss(dy: int, dx: int, top: int = top, left: int = left, block: Any = block) -> float:
                    y, x = top + dy, left + dx
                    high, wide = block.shape
                    if max(abs(dy), abs(dx)) > REACH or min(y, x) < 0 or y + high > height or x + wide > width:
                        return float("inf")
                    return float(np.abs(block - before[y : y + high, x : x + wide]).mean())

                found, least = (0, 0), miss(0, 0)
                if least > MATCH:
                    found, least = self._search(miss, last)
                self.change.blocks[row * columns + column] = least > MATCH or found != (0, 0)
                if least <= MATCH:
                    last = found
                    code[top : top + BLOCK, left : left + BLOCK] = _code(*found)
        return code

    @staticmethod
    def _search(miss: Any, start: tuple[int, int]) -> tuple[tuple[int, int], float]:
        at = start if miss(*start) < miss(0, 0) else (0, 0)
        for pattern in (_LARGE, _SMALL):
            while True:
                least, best = min((miss(at[0] + dy, at[1] + dx), (at[0] + dy, at[1] + dx)) for dy, dx in pattern)
                if best == at or least >= miss(*at):
                    break
                at = best
        return at, miss(*at)

    def _through(self, layer: Layer, codes: list[Floats]) -> Floats:
        """Return the codes of a layer's outputs: one that all their inputs share."""
        size = self.model.plan.sizes[layer.output]
        code = codes[0]
        for other in codes[1:]:
            code = np.where(code == other, code, np.float32(_NONE))
        if isinstance(layer, Conv | Pool):
            (kh, kw), (sh, sw), (top, left), (dh, dw) = layer.reads
            high, wide = (size.height - 1) * sh + (kh - 1) * dh + 1, (size.width - 1) * sw + (kw - 1) * dw + 1
            bottom, right = max(0, high - top - code.shape[0]), max(0, wide - left - code.shape[1])
            padded = cv2.copyMakeBorder(code, top, bottom, left, right, cv2.BORDER_REPLICATE)
            shape = np.ones(((kh - 1) * dh + 1, (kw - 1) * dw + 1), np.uint8)
            least = cv2.erode(padded, shape, anchor=(0, 0))[: size.height * sh : sh, : size.width * sw : sw]
            most = cv2.dilate(padded, shape, anchor=(0, 0))[: size.height * sh : sh, : size.width * sw : sw]
            same = np.where(least == most, least, np.float32(_NONE))
            return _scaled(same[: size.height, : size.width], 1.0 / sh, 1.0 / sw)
        if isinstance(layer, Resize):
            fy, fx = size.height // code.shape[0], size.width // code.shape[1]
            return _scaled(np.repeat(np.repeat(code, fy, 0), fx, 1), fy, fx)
        return code

    def _copy(self, state: State, layer: Layer, code: Floats) -> Ints:
        """Move what moved, in the stored activation; return the places that have to be computed."""
        kept = self.model.network.interior(state, layer.output)
        height, width = code.shape
        y, x = np.nonzero((code >= 0) & (code != _code(0, 0)))
        dy, dx = _vector(code[y, x])
        inside = (y + dy >= 0) & (y + dy < height) & (x + dx >= 0) & (x + dx < width)
        code[y[~inside], x[~inside]] = _NONE
        y, x, dy, dx = y[inside], x[inside], dy[inside], dx[inside]
        kept[y, x] = kept[y + dy, x + dx]  # the right side is a copy
        return np.flatnonzero(code < 0).astype(np.int32)


def _code(dy: int, dx: int) -> float:
    return float((dy + _CODE // 2) * _CODE + dx + _CODE // 2)


def _vector(code: Any) -> tuple[Any, Any]:
    whole = code.astype(np.int64)
    return whole // _CODE - _CODE // 2, whole % _CODE - _CODE // 2


def _scaled(code: Floats, fy: float, fx: float) -> Floats:
    """Return codes of vectors in another resolution; what does not come out whole is computed anew."""
    dy, dx = _vector(code)
    sy, sx = dy * fy, dx * fx
    whole = (code >= 0) & (sy == np.rint(sy)) & (sx == np.rint(sx))
    scaled = (sy + _CODE // 2) * _CODE + sx + _CODE // 2
    return np.where(whole, scaled, _NONE).astype(np.float32)
