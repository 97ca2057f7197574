"""Kinds of results by the names that functions use: what each says, its fields, its equality, its encoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from likewise.results.box_rows import FORMS, RowOptions, Rows
from likewise.results.boxes import Place, Unit, boxes_encoder
from likewise.results.encode import Encode, Scores, label_encoder, multi_label_encoder, tensor_encoder
from likewise.results.sequences import Blank, embedding_encoder, text_encoder
from likewise.results.windows import Merge
from likewise.types import Input

Placing = Callable[[Input | None], Place]
"""Returns what the model's input shows of a picture; of None, of one that is unknown."""


def whole(value: Input | None) -> Place:
    """Return a place that shows the whole picture, in fractions."""
    return Place((1, 1), (0.0, 0.0, 1.0, 1.0))


@dataclass(frozen=True, slots=True)
class ResultOptions:
    """What a spec says of results, as encoders take it."""

    labels: Sequence[str] = ()
    """Names of classes, or the characters of an alphabet."""
    top: int = 1
    scores: Scores = "auto"
    threshold: float | None = None
    blank: Blank = "first"
    normalize: bool = True
    decimals: int | None = None
    rows: Rows = "score-class"
    row_options: RowOptions = field(default_factory=RowOptions)
    unit: Unit = "pixels"
    nms: float | None = None
    max_boxes: int = 100


Make = Callable[[ResultOptions, Sequence[str], Placing], Encode]


@dataclass(frozen=True, slots=True)
class ResultKind:
    """One kind of result."""

    make: Make
    """Returns its encoder from the options, the names of the outputs, and where a picture stands."""
    equalities: tuple[str, ...]
    """What may make two of it equal, the default first."""
    fields: frozenset[str]
    """Fields of `[result]` that it has a use for, beside `kind`, `equality` and `outputs`."""
    first_output: bool
    """Whether it takes the first output alone where the spec names none."""
    most_outputs: int | None
    """How many outputs it takes at most; None: all."""
    windows: Merge
    """How the outputs for windows of a sound are brought together by default."""
    says: str
    """What a client gets."""


KINDS: Mapping[str, ResultKind] = {
    "label": ResultKind(
        lambda options, _, __: label_encoder(options.labels, top=options.top, scores=options.scores),
        ("label", "bytes"),
        frozenset({"labels", "top", "scores"}),
        True,
        1,
        "mean",
        "the best class",
    ),
    "multi-label": ResultKind(
        lambda options, _, __: multi_label_encoder(
            options.labels, threshold=0.5 if options.threshold is None else options.threshold, scores=options.scores
        ),
        ("labels", "bytes"),
        frozenset({"labels", "threshold", "scores"}),
        True,
        1,
        "mean",
        "all classes whose score is enough",
    ),
    "tensors": ResultKind(
        lambda options, names, _: tensor_encoder(names, decimals=options.decimals),
        ("close", "bytes"),
        frozenset({"tolerance", "decimals"}),
        False,
        None,
        "join",
        "the outputs as they are",
    ),
    "boxes": ResultKind(
        lambda options, _, place: boxes_encoder(
            options.rows,
            place,
            options.labels,
            options=options.row_options,
            unit=options.unit,
            nms=options.nms,
            most=options.max_boxes,
        ),
        ("boxes", "bytes"),
        frozenset(
            {"labels", "threshold", "rows", "nms", "max_boxes", "iou"}
            | {name for form in FORMS.values() for name in form.fields}
        ),
        False,
        3,
        "each",
        "boxes with score and label",
    ),
    "text": ResultKind(
        lambda options, _, __: text_encoder(options.labels, blank=options.blank, scores=options.scores),
        ("text", "bytes"),
        frozenset({"alphabet", "blank", "scores"}),
        True,
        1,
        "join",
        "text, from scores of characters by step (CTC)",
    ),
    "embedding": ResultKind(
        lambda options, _, __: embedding_encoder(normalize=options.normalize, decimals=options.decimals),
        ("cosine", "close", "bytes"),
        frozenset({"normalize", "similarity", "tolerance", "decimals"}),
        True,
        1,
        "mean",
        "a vector",
    ),
}
"""All kinds by name."""
EQUALITIES = tuple(dict.fromkeys(name for kind in KINDS.values() for name in kind.equalities))
