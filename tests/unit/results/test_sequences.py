"""Text by CTC, embeddings, several labels, the best classes, and windows brought together."""

from __future__ import annotations

import json
from typing import Any, get_args

import numpy as np
import pytest

from likewise.errors import ModelFailed
from likewise.function.result_spec import ResultSpec
from likewise.results.encode import label_encoder, multi_label_encoder, tensor_encoder
from likewise.results.labels import Labels
from likewise.results.make import EQUALITIES, KINDS
from likewise.results.sequences import embedding_encoder, read_alphabet, text_encoder
from likewise.results.windows import over_windows
from likewise.types import Result


def read(result: Result) -> dict[str, Any]:
    """Return a result's document."""
    return dict(json.loads(result.body))


def steps(*best: int, width: int = 4) -> Any:
    """Return scores in which these are the best, with probability .7."""
    rows = np.full((len(best), width), 0.3 / (width - 1), np.float32)
    rows[np.arange(len(best)), best] = 0.7
    return rows


def test_the_table_has_every_kind_and_equality() -> None:
    """What a spec may say is what can be made."""
    fields = ResultSpec.model_fields
    assert set(KINDS) == set(get_args(fields["kind"].annotation))
    assert set(EQUALITIES) == set(get_args(fields["equality"].annotation))
    assert set().union(*(kind.fields for kind in KINDS.values())) <= set(fields)


@pytest.mark.parametrize(
    ("best", "text"),
    [((1, 1, 0, 1, 2, 0, 0, 3), "aabc"), ((0, 0), ""), ((1, 1, 1), "a"), ((1, 2, 1), "aba"), ((1, 0, 1), "aa")],
)
def test_repeats_count_once_and_blanks_never(best: tuple[int, ...], text: str) -> None:
    """Best path decoding, by hand; the same with the blank last and with logits."""
    found = read(text_encoder("abc")([steps(*best)]))
    assert found == {"text": text, "confidence": pytest.approx(0.7 if text else 0.0, abs=1e-6)}
    turned = [(each - 1) % 4 for each in best]
    assert read(text_encoder("abc", blank="last")([steps(*turned)])) == found
    logits = read(text_encoder("abc", scores="logits")([np.log(steps(*best))[None]]))
    assert logits == found


def test_a_character_more_is_a_space() -> None:
    """As text recognizers have it; other widths do not fit."""
    assert read(text_encoder("ab")([steps(1, 3, 2)]))["text"] == "a b"
    with pytest.raises(ModelFailed, match="3 without the blank, or 2"):
        text_encoder("abcdefg")([steps(1)])
    with pytest.raises(ModelFailed, match="scores by step"):
        text_encoder("abc")([np.zeros(4, np.float32)])
    assert read_alphabet("a\n \n'\n\n") == ("a", " ", "'")


def test_embeddings_point_the_same_way_or_not() -> None:
    """At norm 1, rounded; equal from a cosine on."""
    found = read(embedding_encoder(decimals=4)([np.array([[3.0, 4.0]])]))
    assert found == {"embedding": [0.6, 0.8]}
    assert read(embedding_encoder(normalize=False)([np.array([3.0, 4.0])])) == {"embedding": [3.0, 4.0]}
    assert read(embedding_encoder()([np.zeros(2)])) == {"embedding": [0.0, 0.0]}
    labels = Labels("cosine", least=0.95)
    one = labels.label(embedding_encoder()([np.array([1.0, 0.0])]))
    assert labels.label(Result(b'{"embedding": [2, 0.1]}')) == one
    assert labels.label(Result(b"[5, 0]")) == one
    assert labels.label(Result(b'{"embedding": [1, 1]}')) != one
    assert labels.label(Result(b'{"embedding": [1, 0, 0]}')) != one
    zero = labels.label(Result(b'{"embedding": [0, 0]}'))
    assert labels.label(Result(b'{"embedding": [0.0, 0]}')) == zero != one
    for strange in (b'{"embedding": []}', b'{"embedding": ["a"]}', b'{"embedding": null}', b"{"):
        assert labels.label(Result(strange)) not in (one, zero)


def test_several_labels_are_a_set() -> None:
    """Those whose score is enough; equal whatever their scores."""
    encode = multi_label_encoder(("cat", "dog", "owl"))
    first = encode([np.array([[0.9, 0.1, 0.6]], np.float32)])
    assert read(first) == {"labels": ["cat", "owl"], "scores": {"cat": 0.9, "dog": 0.1, "owl": 0.6}}
    logits = read(multi_label_encoder((), threshold=0.6)([np.array([3.0, -3.0, 0.0])]))
    assert logits["labels"] == ["0"]
    labels = Labels("labels")
    assert labels.label(first) == labels.label(encode([np.array([0.6, 0.2, 0.8])]))
    assert labels.label(first) == labels.label(Result(b'{"labels": ["owl", "cat"]}'))
    assert labels.label(first) != labels.label(encode([np.array([0.6, 0.6, 0.8])]))
    with pytest.raises(ModelFailed, match="2 scores, the labels name 3"):
        encode([np.zeros(2)])


@pytest.mark.parametrize("classes", [3, 1000])
def test_the_best_classes_are_listed(classes: int) -> None:
    """With their confidences, the best twice: as the label, too."""
    scores = np.full(classes, -9.0)
    scores[[2, 0]] = [3.0, 2.0]
    names = [f"c{at}" for at in range(classes)]
    found = read(label_encoder(names, top=2)([scores]))
    assert [each["label"] for each in found["top"]] == ["c2", "c0"]
    assert found["label"] == "c2"
    assert found["confidence"] == found["top"][0]["confidence"] == pytest.approx(0.731, abs=0.01)
    assert read(label_encoder(names)([scores]))["confidence"] == pytest.approx(found["confidence"], abs=1e-5)


@pytest.mark.parametrize("classes", [2, 1000])
def test_scores_are_what_the_spec_says(classes: int) -> None:
    """Numbers that look like a distribution may be logits, and the other way round."""
    scores = np.zeros(classes)
    scores[1] = 1.0
    assert read(label_encoder(())([scores]))["confidence"] == 1.0
    softmax = np.e / (np.e + classes - 1)
    assert read(label_encoder((), scores="logits")([scores]))["confidence"] == pytest.approx(softmax, abs=1e-6)
    assert read(label_encoder((), scores="probabilities")([scores * 0.4]))["confidence"] == pytest.approx(0.4)


def test_text_is_compared_by_itself() -> None:
    """Not by its confidence."""
    labels = Labels("text")
    assert labels.label(Result(b'{"text":"a","confidence":0.5}')) == labels.label(Result(b'{"text":"a"}'))
    assert labels.label(Result(b'{"text":"a"}')) != labels.label(Result(b'{"text":"b"}'))


def test_windows_come_together_by_mean_or_one_behind_the_other() -> None:
    """Of 10 frames each, of which 4 overlap: two go at both ends."""
    encode = tensor_encoder(["y"])
    rows = np.arange(40, dtype=np.float32).reshape(2, 10, 2)
    joined = read(over_windows(encode, "join", 0.4)([rows]))["outputs"]["y"]
    assert joined["shape"] == [12, 2]
    assert joined["data"] == [*range(4, 16), *range(24, 36)]
    mean = read(over_windows(encode, "mean", 0.4)([rows]))["outputs"]["y"]
    assert mean["data"] == [each + 10.0 for each in range(20)]
    assert read(over_windows(encode, "each", 0.4)([rows]))["outputs"]["y"]["shape"] == [2, 10, 2]
    for how, output in (("mean", np.zeros((2, 3), np.int64)), ("join", np.zeros(2))):
        with pytest.raises(ModelFailed):
            over_windows(encode, how, 0.4)([output])  # type: ignore[arg-type]


def test_numbers_are_rounded_where_that_is_asked_for() -> None:
    """Floats alone."""
    outputs = [np.array([0.123456], np.float32), np.array([123456])]
    assert b"0.123," not in tensor_encoder(["x", "y"])(outputs).body
    found = read(tensor_encoder(["x", "y"], decimals=3)(outputs))["outputs"]
    assert (found["x"]["data"], found["y"]["data"]) == ([0.123], [123456])
