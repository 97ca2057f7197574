"""Several capacities of a network in one file, each a part of the next larger one.

Channels are put in the order of what they are worth, so that a smaller capacity's filters are the first of a larger
one's. The file is the largest capacity, an ONNX model like any other; the metadata `likewise.capacities` says how many
channels of each group the others have, and a scale and an offset of each of their filters are weights of their own
beside it, which replace what normalization would do for each. Sources: Fang, Zeng, Zhang, NestDNN, MobiCom 2018; Yu et
al., Slimmable Neural Networks, ICLR 2019.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import orjson
from numpy.typing import NDArray

from likewise.compression.channels import Channels, Group, without
from likewise.compression.network import Network
from likewise.compression.saliency import moments, worth
from likewise.errors import InvalidFunction
from likewise.types import Tensor

METADATA = "likewise.capacities"
PREFIX = "likewise_capacity_"
MOST_CAPACITIES = 16


@dataclass(frozen=True, slots=True)
class Plan:
    """The capacities of one network, smallest first; the last is the network itself."""

    kept: tuple[tuple[int, ...], ...]
    """By capacity the channels of each group, as `Channels.groups` lists them."""


def ordered(network: Network, inputs: Tensor) -> Network:
    """Return the network with the channels of each group in the order of what they are worth, the most first.

    What it computes stays the same. inputs: shape (n, ...), by which channels are weighed.
    """
    groups = _groups(network)
    _, squares = moments(network, [use.layer.input for group in groups for use in group.used_by], inputs)
    orders = [(group, np.argsort(-worth(network, group, squares), kind="stable")) for group in groups]
    return without(network, orders)


def plan(network: Network, shares: Sequence[float]) -> Plan:
    """Return the capacities with these shares of the channels of each group; shares: ascending, the last is 1."""
    groups = _groups(network)
    return Plan(tuple(tuple(max(1, round(share * group.size)) for group in groups) for share in shares))


def capacity(network: Network, counts: Sequence[int]) -> Network:
    """Return a network with the first channels of each group."""
    groups = _groups(network)
    if len(counts) != len(groups) or any(not 1 <= n <= group.size for n, group in zip(counts, groups, strict=True)):
        raise InvalidFunction(f"{network.name}: its {METADATA} do not fit its channels; make it anew")
    return without(network, [(group, np.arange(n)) for n, group in zip(counts, groups, strict=True)])


def places(network: Network, counts: Sequence[int]) -> dict[str, NDArray[np.int64]]:
    """Return where the weights of a capacity stand in those of the network, by weight, in the capacity's shapes."""
    numbered = network.copy()
    names = {name for layer in network.layers() for name in (layer.weight, layer.bias) if name}
    for name in names:  # exact up to 2 ** 24 numbers, so high and low parts are told apart
        size = network.weights[name].size
        numbered.weights[name] = (np.arange(size) >> 12).astype(np.float32).reshape(network.weights[name].shape)
    high = capacity(numbered, counts)
    for name in names:
        size = network.weights[name].size
        numbered.weights[name] = (np.arange(size) & 4095).astype(np.float32).reshape(network.weights[name].shape)
    low = capacity(numbered, counts)
    return {name: (high.weights[name].astype(np.int64) << 12) + low.weights[name].astype(np.int64) for name in names}


def write(network: Network, found: Plan, own: Sequence[dict[str, Tensor]]) -> bytes:
    """Return the file. own: by capacity but the last, the scale and the offset of the filters of its layers.

    A layer's scale is under the name of its weight, its offset under that of its bias.
    """
    whole = network.copy()
    extra = {f"{PREFIX}{at}/{name}": value for at, each in enumerate(own) for name, value in each.items()}
    entry = whole.model.metadata_props.add()
    entry.key, entry.value = METADATA, orjson.dumps({"kept": found.kept}).decode()
    return whole.to_bytes(extra)


def read(content: bytes, name: str) -> list[Network]:
    """Return the capacities that a file holds, smallest first. Raises InvalidFunction for one without."""
    network = Network.parse(content, name)
    text = next((each.value for each in network.model.metadata_props if each.key == METADATA), None)
    try:
        kept = orjson.loads(text or "")["kept"]
        if not 1 <= len(kept) <= MOST_CAPACITIES or any(type(n) is not int for each in kept for n in each):
            raise ValueError
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidFunction(f"{name}: holds no capacities; make it with `likewise compress --nested`") from error
    extra = {each: network.weights.pop(each) for each in list(network.weights) if each.startswith(PREFIX)}
    found = []
    for at, counts in enumerate(kept[:-1]):
        made = capacity(network, counts)
        own = {each.partition("/")[2]: value for each, value in extra.items() if each.startswith(f"{PREFIX}{at}/")}
        apply(made, own)
        found.append(made)
    return [*found, network]


def apply(network: Network, own: dict[str, Tensor]) -> None:
    """Scale the filters of a capacity, and replace their offsets. Raises InvalidFunction for what does not fit."""
    for layer in network.layers():
        if layer.weight in own:
            matrix = network.matrix(layer)
            scale = own[layer.weight]
            if scale.shape != (len(matrix),):
                raise InvalidFunction(f"{network.name}: `{layer.weight}` has a scale that does not fit; make it anew")
            network.set_matrix(layer, matrix * scale[:, None])
        if layer.bias and layer.bias in own:
            if own[layer.bias].shape != network.weights[layer.bias].shape:
                raise InvalidFunction(f"{network.name}: `{layer.bias}` has offsets that do not fit; make it anew")
            network.weights[layer.bias] = own[layer.bias]


def _groups(network: Network) -> list[Group]:
    return [group for group in Channels(network).groups() if group.used_by]
