"""The links of a graph out to a file while the graph goes on, and back in, checked number by number.

A node's links stand in one array, those of the ground level first: `2m` there, `m` on each level above. A list that is
not full ends with -1.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.errors import InvalidValue
from likewise.index.graph import Graph
from likewise.index.saved import SavedIndex

NODES = 4096
"""Nodes that are copied at once."""


def levels_out(graph: Graph, count: int) -> Iterator[NDArray[np.uint8]]:
    """Yield the number of levels of the first `count` nodes, 1 and up."""
    for start in range(0, count, NODES):
        yield graph.levels(start, min(start + NODES, count)).astype(np.uint8)


def links_out(graph: Graph, count: int) -> Iterator[NDArray[np.int32]]:
    """Yield the links of the first `count` nodes, without those to nodes that came later."""
    for start in range(0, count, NODES):
        end = min(start + NODES, count)
        offsets, links = graph.links(start, end)
        later = np.flatnonzero(links >= count)
        if later.size:
            _drop_later(links, offsets - offsets[0], later, count, graph.m)
        yield links


def _drop_later(links: NDArray[np.int32], offsets: NDArray[np.int64], later: NDArray[Any], count: int, m: int) -> None:
    nodes = np.searchsorted(offsets, later, side="right") - 1
    for node, place in zip(nodes.tolist(), later.tolist(), strict=True):
        begin = int(offsets[node])
        level = max(0, (place - begin - m) // m)
        first = begin + (level + 1) * m if level else begin
        part = links[first : first + (m if level else 2 * m)]
        kept = part[(part >= 0) & (part < count)]
        part[: len(kept)] = kept
        part[len(kept) :] = -1


def restore_links(graph: Graph, saved: SavedIndex, count: int) -> None:
    """Give an empty graph the nodes and links of a saved one; their keys are still to come.

    Raises InvalidValue where a link leads out of the graph, or to a node that is not on its level.
    """
    levels = saved.column("levels", "|u1", count)
    if not 1 <= int(levels.min()) <= int(levels.max()) <= graph.max_levels:
        raise InvalidValue("a node has no level, or too many")
    entry = saved.number("entry")
    if entry >= count or levels[entry] != levels.max():
        raise InvalidValue("the graph is not entered on its highest level")
    m = graph.m
    total = count * m + int(levels.sum(dtype=np.int64)) * m
    if saved.length("links") != total:
        raise InvalidValue("there are more links than nodes have room for, or fewer")
    graph.allocate(levels.astype(np.int32), entry)
    upper, level = _upper(levels.astype(np.int64), m)
    at = 0
    for part in saved.chunks("links", "<i4"):
        if int(part.min()) < -1 or int(part.max()) >= count:
            raise InvalidValue("a link leads out of the graph")
        first, last = np.searchsorted(upper, [at, at + len(part)])
        to = part[upper[first:last] - at]
        if (levels[to][to >= 0] <= level[first:last][to >= 0]).any():
            raise InvalidValue("a link leads to a node that is not on its level")
        graph.put_links(at, part)
        at += len(part)


def _upper(levels: NDArray[np.int64], m: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the places of all links above the ground, ascending, and on which level each is."""
    high = np.flatnonzero(levels > 1)
    counts = (levels[high] - 1) * m
    starts = np.cumsum((levels + 1) * m)[high] - counts
    within = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.repeat(starts, counts) + within, within // m + 1
