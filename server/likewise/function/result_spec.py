"""What comes back, and what makes two results equal, as a spec says it: `[result]`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from likewise.function.spec_table import FILE_NAME, FileName, NotNegative, Share, Table
from likewise.results.box_rows import FORMS, Corners, RowOptions, Rows
from likewise.results.boxes import MAX_BOXES, Unit
from likewise.results.clusters import Tolerance
from likewise.results.encode import Scores
from likewise.results.make import KINDS, ResultOptions
from likewise.results.sequences import Blank
from likewise.results.windows import Merge

Name = Annotated[str, Field(min_length=1, max_length=256)]


class ResultSpec(Table):
    """What comes back, and what makes two results equal."""

    kind: Literal["label", "multi-label", "tensors", "boxes", "text", "embedding"] = "label"
    outputs: Annotated[tuple[Name, ...], Field(max_length=64)] = ()
    """Names of the model's outputs that count, in this order; default: the first, for tensors and boxes all."""
    labels: FileName | tuple[str, ...] | None = None
    """Names of the classes: a file in the version's folder, one per line, or a list. Default: their numbers."""
    top: Annotated[int, Field(ge=1, le=100)] = 1
    """label: how many of the best classes are listed."""
    scores: Scores = "auto"
    """label, multi-label, text: what the output holds; logits go through a softmax, or for multi-label a sigmoid."""
    threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    """multi-label, boxes: the least score of what is listed; default 0.5, for boxes 0.25."""
    alphabet: FileName | None = None
    """text: a file in the version's folder with one character per line, in the order of the scores."""
    blank: Blank = "first"
    """text: which of the scores is that of the blank."""
    rows: Rows = "score-class"
    """boxes: the form of the outputs."""
    corners: Corners = "xyxy"
    """boxes: what the four numbers of a box are."""
    unit: Unit = "pixels"
    """boxes: whether they are pixels of the model's input, or fractions of it."""
    nms: Annotated[float, Field(gt=0, le=1)] | None = None
    """boxes: overlap from which on the worse of two boxes of one class goes; default: the model did it already."""
    max_boxes: Annotated[int, Field(ge=1, le=MAX_BOXES)] = 100
    """boxes: how many are listed at most, the best."""
    pixel: Annotated[float, Field(ge=0, lt=1)] = 0.3
    """boxes, rows `map`: from which value on a pixel belongs to something."""
    grow: Annotated[float, Field(ge=0, le=10)] = 0.0
    """boxes, rows `map`: how far a box is grown on each side, in units of its area by its circumference."""
    normalize: bool = True
    """embedding: brought to norm 1."""
    decimals: Annotated[int, Field(ge=0, le=15)] | None = None
    """tensors, embedding: floats are rounded to so many decimals; default: as they are."""
    windows: Merge | None = None
    """Audio with `overlap`: how the outputs for windows come together; default: by kind."""
    equality: Literal["label", "labels", "text", "bytes", "close", "boxes", "cosine"] = "label"
    """Default: by kind."""
    tolerance: NotNegative | tuple[NotNegative, Share] | dict[str, NotNegative | tuple[NotNegative, Share]] = 0.01
    """With equality `close`: how far two numbers may differ and still count as equal.

    One number: absolute. Two: absolute, and relative to the first result of a group. A table: such by output.
    """
    iou: Annotated[float, Field(gt=0, le=1)] = 0.5
    """With equality `boxes`: the overlap (intersection over union) from which on two boxes are the same."""
    similarity: Annotated[float, Field(gt=0, le=1)] = 0.95
    """With equality `cosine`: the cosine from which on two embeddings are the same."""

    @model_validator(mode="before")
    @classmethod
    def _fitting(cls, data: Any) -> Any:
        kind = KINDS.get(str(data.get("kind"))) if isinstance(data, Mapping) else None
        if kind is not None and "equality" not in data:
            return {**data, "equality": kind.equalities[0]}
        return data

    @field_validator("labels", mode="before")
    @classmethod
    def _one_form(cls, value: Any) -> Any:
        if value is None or (isinstance(value, str) and FILE_NAME.fullmatch(value)):
            return value
        if isinstance(value, str):
            raise ValueError(f"needs the plain name of a file in the version's folder, not `{value[:64]}`")
        if not isinstance(value, list | tuple) or not all(isinstance(name, str) for name in value):
            raise ValueError("needs the name of a file, or a list of names")
        check_labels(tuple(value), least=1)
        return value

    @field_validator("tolerance", mode="before")
    @classmethod
    def _numbers(cls, value: Any) -> Any:
        for each in value.values() if isinstance(value, dict) else [value]:
            if not _is_tolerance(each):
                raise ValueError(
                    "needs an absolute number from 0 up, or two, `[absolute, relative]` with relative below 1, "
                    "or a table of such by output, [result.tolerance]"
                )
        if not isinstance(value, dict) and not any(value if isinstance(value, list | tuple) else [value]):
            raise ValueError("needs a number above 0; for exact equality take equality `bytes`")
        return value

    @model_validator(mode="after")
    def _sensible(self) -> ResultSpec:
        given, kind = self.model_fields_set, KINDS[self.kind]
        if "kind" in given:
            self._check_fields(given)
        if self.kind == "label" and isinstance(self.labels, tuple):
            check_labels(self.labels)
        if "kind" in given and self.equality not in kind.equalities:
            allowed = " or ".join(f"`{each}`" for each in kind.equalities)
            raise ValueError(f"kind `{self.kind}` has nothing to compare by `{self.equality}`: take equality {allowed}")
        for field, equality in (("tolerance", "close"), ("iou", "boxes"), ("similarity", "cosine")):
            if field in given and self.equality != equality:
                raise ValueError(f"`{field}` is for equality `{equality}`; remove it, or take that equality")
        if kind.most_outputs is not None and len(self.outputs) > kind.most_outputs:
            raise ValueError(f"kind `{self.kind}` takes at most {kind.most_outputs} of `outputs`; name fewer")
        if len(set(self.outputs)) != len(self.outputs):
            raise ValueError("`outputs` names one twice; name each once")
        if self.kind == "text" and self.alphabet is None:
            raise ValueError("kind `text` needs `alphabet`, a file with one character per line")
        return self

    def _check_fields(self, given: set[str]) -> None:
        """Raise ValueError for a field that the kind has no use for."""
        common = {"kind", "equality", "outputs", "windows", "iou", "similarity", "tolerance"}
        strange = sorted(given - common - KINDS[self.kind].fields)
        if strange:
            takers = [f"`{name}`" for name, each in KINDS.items() if strange[0] in each.fields]
            raise ValueError(f"`{strange[0]}` is for kind {' or '.join(takers)}; remove it, or take that kind")
        of_forms = {field for form in FORMS.values() for field in form.fields}
        useless = sorted((given & of_forms) - FORMS[self.rows].fields)
        if useless and self.kind == "boxes":
            raise ValueError(f"`{useless[0]}` is of no use to rows `{self.rows}`; remove it, or take other rows")

    @property
    def tolerances(self) -> tuple[Tolerance, Mapping[str, Tolerance]]:
        """The common tolerance, and those of single outputs by name."""
        if isinstance(self.tolerance, dict):
            return Tolerance(), {name: _tolerance(each) for name, each in self.tolerance.items()}
        return _tolerance(self.tolerance), {}

    @property
    def least(self) -> float:
        """How alike two results have to be, where equality is a matter of degree."""
        return self.iou if self.equality == "boxes" else self.similarity

    @property
    def names_file(self) -> str | None:
        """The file with the names of classes, or with the characters of the alphabet."""
        return self.alphabet or (self.labels if isinstance(self.labels, str) else None)

    def options(self, names: tuple[str, ...]) -> ResultOptions:
        """Return it as encoders take it; names: of classes, or characters."""
        return ResultOptions(
            labels=names,
            top=self.top,
            scores=self.scores,
            threshold=self.threshold,
            blank=self.blank,
            normalize=self.normalize,
            decimals=self.decimals,
            rows=self.rows,
            row_options=RowOptions(
                corners=self.corners,
                classes=len(names) or None,
                threshold=0.25 if self.threshold is None else self.threshold,
                pixel=self.pixel,
                grow=self.grow,
            ),
            unit=self.unit,
            nms=self.nms,
            max_boxes=self.max_boxes,
        )


def check_labels(names: tuple[str, ...], least: int = 2) -> None:
    """Raise ValueError, saying what is needed, for names of classes that could not tell results apart."""
    if len(names) < least:
        raise ValueError(f"needs two names at least, for two classes; it has {len(names)}")
    if not all(name.strip() for name in names):
        raise ValueError("needs a name for each class, and has a blank one")
    if len(set(names)) != len(names):
        twice = next(name for at, name in enumerate(names) if name in names[:at])
        raise ValueError(f"needs names that differ, and has `{twice[:64]}` twice")


def _is_tolerance(value: Any) -> bool:
    numbers = value if isinstance(value, list | tuple) else [value]
    if len(numbers) > 2 or (isinstance(value, list | tuple) and len(value) != 2):
        return False
    if not all(isinstance(number, int | float) and not isinstance(number, bool) for number in numbers):
        return False
    return all(0 <= number < math.inf for number in numbers) and (len(numbers) < 2 or numbers[1] < 1)


def _tolerance(value: float | tuple[float, float]) -> Tolerance:
    return Tolerance(*value) if isinstance(value, tuple) else Tolerance(value)
