"""When two answers of a demonstration are the same."""

from __future__ import annotations

from typing import Any

from likewise.results.boxes import read_boxes, same_boxes
from likewise.results.labels import Labels
from likewise.types import Result
from likewise_client import Answer


class Comparison:
    """By the label that an answer carries, or its whole result."""

    def label(self, answer: Answer) -> Any:
        """Return what answers have in common that are the same; hashable."""
        return answer.result["label"] if isinstance(answer.result, dict) and "label" in answer.result else answer.body

    def same(self, answer: Answer, model: Answer) -> bool:
        """Say whether an answer is what the model says."""
        return bool(self.label(answer) == self.label(model))


class Boxes(Comparison):
    """By boxes that overlap by half or more (intersection over union), as the detector's spec has it."""

    LEAST = 0.5

    def __init__(self) -> None:
        self._labels = Labels("boxes", least=self.LEAST)

    def label(self, answer: Answer) -> Any:
        """See `Comparison.label`: the group of alike answers that it belongs to."""
        return self._labels.label(_result(answer))

    def same(self, answer: Answer, model: Answer) -> bool:
        """See `Comparison.same`: these two, whatever group they belong to."""
        ours, theirs = read_boxes(_result(answer)), read_boxes(_result(model))
        if ours is None or theirs is None or ours.labels != theirs.labels:
            return answer.body == model.body
        return same_boxes(ours, theirs, self.LEAST)


def _result(answer: Answer) -> Result:
    return Result(answer.body, answer.media_type)
