"""A key is written into a spec as its author left it."""

from __future__ import annotations

from pathlib import Path

import networks
import pytest

from likewise.errors import InvalidFunction
from likewise.function.spec_text import parse_toml
from likewise.tuning.spec_edit import with_key, with_variants, write_key, write_variants

HOG = {"name": "edges", "extractor": "hog"}


def test_comments_and_all_else_stay() -> None:
    """The first key type is another one now, with its comment."""
    text = with_key(networks.TOML, HOG, "measured", "f")
    assert "# what the little network says" in text
    assert "# from the door's camera" in text
    assert "# measured" in text
    assert "gray" not in text
    spec = parse_toml(text, "f")
    assert [key.label for key in spec.keys] == ["edges"]
    assert spec.reuse.accuracy_target == 0.9


def test_other_key_types_stay_behind_it() -> None:
    """But for one of the same name."""
    text = networks.TOML + '[[keys]]\nextractor = "dct"\n[[keys]]\nname = "edges"\nextractor = "color"\n'
    assert [key.label for key in parse_toml(with_key(text, HOG, "", "f"), "f").keys] == ["edges", "dct"]


def test_a_list_in_one_line_becomes_tables() -> None:
    """It is the same to TOML."""
    text = 'keys = [{extractor = "gray"}, {extractor = "dct"}]\n[input]\nkind = "image"\n'
    assert [key.label for key in parse_toml(with_key(text, HOG, "m", "f"), "f").keys] == ["edges", "dct"]


def test_what_would_not_be_valid_is_not_written(tmp_path: Path) -> None:
    """The file stays as it was."""
    path = tmp_path / "function.toml"
    path.write_text(networks.TOML)
    with pytest.raises(InvalidFunction, match="mfcc"):
        write_key(path, {"extractor": "mfcc"}, "")
    assert path.read_text() == networks.TOML


VARIANT = {
    "name": "small", "file": "small.onnx", "cost": 0.3, "size_bytes": 1000, "memory_bytes": 2000, "agreement": 0.98,
}  # fmt: skip
LABELS = '\n[result]\nkind = "label"\n'


def test_variants_stand_behind_those_that_are_there() -> None:
    """In place of one of the same name, and with every comment left as it was."""
    text = with_variants(networks.TOML + LABELS, [VARIANT, {**VARIANT, "name": "other"}], "made", "f")
    text = with_variants(text, [{**VARIANT, "cost": 0.2}], "made", "f")
    spec = parse_toml(text, "f")
    assert [(each.name, each.cost) for each in spec.variants] == [("other", 0.3), ("small", 0.2)]
    assert "# from the door's camera" in text


def test_variants_that_would_not_be_valid_are_refused(tmp_path: Path) -> None:
    """And the file stays as it was."""
    path = tmp_path / "function.toml"
    path.write_text(networks.TOML + LABELS)
    with pytest.raises(InvalidFunction, match="cost"):
        write_variants(path, [{**VARIANT, "cost": 1.5}], "made")
    assert path.read_text() == networks.TOML + LABELS
