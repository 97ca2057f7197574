"""Model outputs as results."""

from __future__ import annotations

import json

import numpy as np
import pytest

from likewise.errors import ModelFailed
from likewise.results.encode import label_encoder, read_labels, tensor_encoder


def test_logits_become_a_label_with_its_softmax():
    """The top class, and how sure the model is."""
    result = json.loads(label_encoder(["a", "b", "c"])([np.array([0.0, 2.0, 0.0], np.float32)]).body)
    assert result["label"] == "b"
    assert result["confidence"] == pytest.approx(np.e**2 / (np.e**2 + 2), abs=1e-5)


def test_a_distribution_keeps_its_own_confidence():
    """A model that ends in a softmax is not softmaxed twice."""
    result = json.loads(label_encoder(())([np.array([0.9, 0.1])]).body)
    assert result == {"label": "0", "confidence": 0.9}


@pytest.mark.parametrize("classes", [2, 256, 257, 1000])
def test_any_number_of_classes_is_judged_alike(classes):
    """Few or many, logits or a distribution: the top class, and the share of it in the softmax."""
    for seed in range(20):
        logits = np.random.default_rng(seed).normal(0, 4, classes).astype(np.float32)
        softmax = np.exp(logits.astype(np.float64) - logits.max())
        softmax /= softmax.sum()
        for scores in (logits, softmax):
            result = json.loads(label_encoder(())([scores]).body)
            assert result["label"] == str(logits.argmax())
            assert result["confidence"] == pytest.approx(softmax.max(), abs=2e-6)


@pytest.mark.parametrize("scores", [[np.nan, 1.0], [np.inf, 0.0], []])
def test_outputs_that_are_no_numbers_are_a_failed_model(scores):
    """NaN never becomes a label that others reuse."""
    with pytest.raises(ModelFailed):
        label_encoder(())([np.array(scores)])


def test_the_number_of_classes_has_to_fit():
    """A label that has no name is a failed model, not a guess."""
    with pytest.raises(ModelFailed, match="3 classes"):
        label_encoder(["a", "b"])([np.zeros(3)])


def test_tensors_keep_shape_and_order():
    """All outputs, flat in C order."""
    outputs = [np.arange(6, dtype=np.float32).reshape(2, 3), np.array([1, 2], np.int64), np.ones(1, np.float16)]
    document = json.loads(tensor_encoder(["x", "y", "z"])(outputs).body)["outputs"]
    assert document["x"] == {"shape": [2, 3], "data": [0, 1, 2, 3, 4, 5]}
    assert document["y"] == {"shape": [2], "data": [1, 2]}
    assert document["z"]["data"] == [1]
    with pytest.raises(ModelFailed, match="`x`"):
        tensor_encoder(["x"])([np.array([np.nan])])


def test_labels_are_one_name_per_line():
    """A trailing newline is fine, and so is any kind of newline; nothing else ends a name."""
    assert read_labels("a\nb c\n\n") == ("a", "b c")
    assert read_labels("a\r\n b\rc\x0bd\u2028e\n\nf") == ("a", "b", "c\x0bd\u2028e", "", "f")
    assert read_labels("") == ()


def test_an_output_with_several_lists_of_scores_is_no_label():
    """Whatever is flattened means nothing; axes of one element do not matter."""
    with pytest.raises(ModelFailed, match=r"\[2, 3\]"):
        label_encoder(())([np.zeros((2, 3))])
    assert json.loads(label_encoder(())([np.array([[[0.0], [3.0]]])]).body)["label"] == "1"
