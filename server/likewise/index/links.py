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
    ends = np.cumsum((levels.astype(np.int64) + 1) * m)
    at = 0
    for part in saved.chunks("links", "<i4"):
        if int(part.min()) < -1 or int(part.max()) >= count:
            raise InvalidValue("a link leads out of the graph")
        places = np.arange(at, at + len(part))
        nodes = np.searchsorted(ends, places, side="right")
        first = ends[nodes] - (levels[nodes].astype(np.int64) + 1) * m
        upper = np.flatnonzero((places - first >= 2 * m) & (part >= 0))
        level = (places[upper] - first[upper]) // m - 1
        if (levels[part[upper]] <= level).any():
            raise InvalidValue("a link leads to a node that is not on its level")
        graph.put_links(at, part)
        at += len(part)
