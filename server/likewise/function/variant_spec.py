"""Variants of a function's model, as its spec lists them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from likewise.function.preparation_spec import OF_ALL, Preparation, check_preparation
from likewise.function.spec_table import NAME, Bytes, FileName


class VariantSpec(Preparation):
    """A cheaper model of the same function, answering where that is worth its risk; all figures are measured.

    Prepared as the function's own model takes its input, unless it says otherwise.
    """

    name: Annotated[str, Field(pattern=rf"^{NAME.pattern}$")]
    file: FileName
    takes: Literal["input", "key"] = "input"
    """`key`: the first of the keys, whose network is run anyway: an exit or a head on it."""
    cost: Annotated[float, Field(gt=0, lt=1)]
    """Time of one answer as a share of the full model's, on the same machine; with `key`, beyond the key's own."""
    size_bytes: Bytes
    """Of the file."""
    memory_bytes: Bytes
    """What it takes once loaded: weights and the most that is held between layers."""
    agreement: Annotated[float, Field(ge=0, le=1)]
    """Share of inputs nothing was trained on for which it answers what the full model does."""
    origin: Annotated[str, Field(max_length=200)] = ""
    """How it was made, such as `distilled` or `int8`."""

    @property
    def own_fields(self) -> list[str]:
        """What it says of how its inputs are prepared, sorted; empty: as the model's."""
        return sorted((self.model_fields_set & Preparation.model_fields.keys()) - OF_ALL)


def check_variants(variants: Sequence[VariantSpec], kind: str, model: Preparation | None, results: str) -> None:
    """Raise ValueError, naming the remedy, for variants that a function cannot have.

    kind: of its inputs; model: how its model's inputs are prepared, if it has one; results: their kind.
    """
    if not variants:
        return
    names = [variant.name for variant in variants]
    twice = next((name for at, name in enumerate(names) if name in names[:at]), None)
    if twice is not None:
        raise ValueError(f"two of the [[variants]] are called `{twice}`; give each a `name` of its own")
    if "model" in names:
        raise ValueError("one of the [[variants]] is called `model`, as the full one is; give it another `name`")
    if model is None:
        raise ValueError("[[variants]] answer in place of the model; add a [model], which checks them, or remove them")
    if results != "label":
        raise ValueError("[[variants]] are judged by their scores, for results of kind `label`; remove them")
    if model.overlap is not None or any(variant.overlap is not None for variant in variants):
        raise ValueError("[[variants]] are asked about whole inputs, not about windows; remove them, or `overlap`")
    for variant in variants:
        table, own = f"variants `{variant.name}`", variant.own_fields
        if variant.takes == "key" and own:
            raise ValueError(f"[{table}] takes the key as it is and has no use for `{own[0]}`; remove it")
        if variant.takes == "input" and own:
            check_preparation(kind, table, variant)
