"""The index kinds by name."""

from __future__ import annotations

from typing import Any

from likewise.errors import InvalidValue
from likewise.index.alsh import AlshIndex
from likewise.index.auto import AutoIndex
from likewise.index.exact import ExactIndex
from likewise.index.hnsw import HnswIndex
from likewise.index.ivf import CodedIvfIndex, IvfIndex
from likewise.index.keyed import KeyedIndex

KINDS = ("auto", "exact", "hnsw", "ivf", "ivf-sq8", "alsh")


def make_index(kind: str, dimension: int, **options: Any) -> KeyedIndex:
    """Return an empty index for keys of `dimension` numbers; options are those of the kind's class.

    Raises InvalidValue for an unknown kind, an option that it does not have, or a dimension below 1.
    """
    if dimension < 1:
        raise InvalidValue(f"A key of {dimension} numbers cannot be indexed; the dimension is at least 1.")
    makers: dict[str, Any] = {
        "auto": AutoIndex,
        "exact": ExactIndex,
        "hnsw": HnswIndex,
        "ivf": IvfIndex,
        "ivf-sq8": CodedIvfIndex,
        "alsh": AlshIndex,
    }
    if kind not in makers:
        raise InvalidValue(f"No index kind `{kind}`; there are {', '.join(KINDS)}.")
    try:
        index: KeyedIndex = makers[kind](dimension, **options)
    except TypeError as error:
        raise InvalidValue(f"Index kind `{kind}` cannot be made with {sorted(options)}: {error}.") from error
    return index
