"""What an operator may write about a function, and what a mistake is told."""

from __future__ import annotations

import re
import tomllib
from time import process_time

import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from likewise.errors import InvalidFunction
from likewise.function.spec_text import decode_text, parse_json, parse_spec, parse_toml, read_spec
from likewise.results.clusters import Tolerance

BASE = {"input": {"kind": "array"}, "keys": [{"extractor": "vector", "dimension": 2}]}
LAYER = {"extractor": "layer", "file": "layer.onnx", "rest": "rest.onnx"}
IMAGE = {"input": {"kind": "image"}, "keys": [{"extractor": "gray"}]}


@pytest.mark.parametrize(
    ("result", "equality"),
    [({}, "label"), ({"kind": "tensors"}, "close"), ({"kind": "tensors", "equality": "bytes"}, "bytes")],
)
def test_equality_fits_the_kind(result, equality):
    """Tensors are compared by their numbers unless the spec says otherwise."""
    assert parse_spec({**BASE, "result": result}, "spec").result.equality == equality


def test_a_projection_is_learned_off_or_a_file():
    """A file is one of those that have to be there; any other word is none."""

    def parsed(projection):
        return parse_spec({**BASE, "keys": [{**BASE["keys"][0], "projection": projection}]}, "spec")

    assert [parsed(word).keys[0].may_be_projected for word in ("auto", "off", "key.json")] == [True, False, False]
    assert [parsed(word).files for word in ("auto", "off", "key.json")] == [(), (), ("key.json",)]
    with pytest.raises(InvalidFunction, match=r"projection is `on`; give auto, off, or the name of a .json file"):
        parsed("on")


def test_tolerance_has_one_number_two_or_some_for_each_output():
    """Absolute, absolute and relative, or such by output."""

    def tolerances(tolerance):
        return parse_spec({**BASE, "result": {"equality": "close", "tolerance": tolerance}}, "spec").result.tolerances

    assert tolerances(0.5) == (Tolerance(0.5, 0), {})
    assert tolerances([0.5, 0.1]) == (Tolerance(0.5, 0.1), {})
    assert tolerances({"boxes": [2, 0.1], "classes": 0}) == (
        Tolerance(),
        {"boxes": Tolerance(2, 0.1), "classes": Tolerance(0, 0)},
    )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param({"input": {"kind": "smell"}}, "`input.kind` has to be 'image'", id="kind"),
        pytest.param({"input": 3}, r"write \[input\]", id="no table"),
        pytest.param({"keys": {"extractor": "vector"}}, r"write \[\[keys\]\]", id="one key table"),
        pytest.param({"keys": []}, r"write \[\[keys\]\]", id="no keys"),
        pytest.param({"keys": [3]}, r"write \[\[keys\]\]", id="a key that is none"),
        pytest.param({"keys": [{**BASE["keys"][0], "name": "!!a"}]}, "letters, digits", id="name"),
        pytest.param({"keys": [{**BASE["keys"][0], "name": "a:projection"}]}, "letters, digits", id="colon"),
        pytest.param({"keys": [{"extractor": "onnx"}]}, "`file`", id="key without file"),
        pytest.param({"keys": [LAYER]}, r"with a \[model\]", id="layer of nothing"),
        pytest.param({"keys": [BASE["keys"][0], LAYER], "model": {}}, r"first of the \[\[keys", id="layer behind"),
        pytest.param({"keys": [LAYER], "model": {"fixed": {"a": 1}}}, "of one input", id="layer of two inputs"),
        pytest.param({"keys": [LAYER], "model": {"batch": "none"}}, "batch axis", id="layer without a batch"),
        pytest.param({"keys": [{**LAYER, "batch": "none"}], "model": {}}, "has `batch`", id="layer with an input"),
        pytest.param({"keys": [{**LAYER, "rest": None}], "model": {}}, "`rest`", id="half a layer"),
        pytest.param({"result": {"kind": "label", "equality": "close"}}, "equality `label`", id="close labels"),
        pytest.param({"model": {}, "result": {"equality": "close"}}, "equality `label`", id="close by default"),
        pytest.param({"result": {"kind": "tensors", "equality": "label"}}, "`close` or `bytes`", id="tensor labels"),
        pytest.param({"result": {"kind": "tensors", "labels": ["a", "b"]}}, "`labels`", id="labels of tensors"),
        pytest.param({"result": {"tolerance": 0.1}}, "equality `close`", id="tolerance of labels"),
        pytest.param({"result": {"equality": "close", "tolerance": 0}}, "above 0", id="no tolerance"),
        pytest.param({"result": {"equality": "close", "tolerance": -1}}, "0 up", id="negative"),
        pytest.param({"result": {"equality": "close", "tolerance": [1, 1]}}, "below 1", id="relative"),
        pytest.param({"result": {"equality": "close", "tolerance": [1, 0.1, 2]}}, "two", id="three numbers"),
        pytest.param({"result": {"equality": "close", "tolerance": {"a": {"b": 1}}}}, "by output", id="nested"),
        pytest.param({"result": {"labels": ["a"]}}, "two names", id="one label"),
        pytest.param({"result": {"labels": ["a", "a"]}}, "twice", id="label twice"),
        pytest.param({"result": {"labels": ["a", " "]}}, "blank", id="blank label"),
        pytest.param({"result": {"labels": {"a": 1}}}, "a list of names", id="labels by number"),
        pytest.param({"result": {"labels": "../a"}}, "plain name", id="path"),
        pytest.param({"reuse": {"accuracy_target": 1.5}}, "less than 1; it is 1.5", id="target"),
        pytest.param({"reuse": {"accuracy_of": "hits"}}, "'answers' or 'reused'", id="accuracy of"),
        pytest.param({"reuse": {"ticket_ttl_s": 0}}, "ticket_ttl_s", id="ticket"),
        pytest.param({"reuse": {"options": {"a": {"b": {}}}}}, "number, a text", id="option"),
        pytest.param({"model": {"deterministic": "maybe"}}, "model.deterministic", id="deterministic"),
        pytest.param({"model": {"size": [8, 8]}}, "`size`", id="size of an array"),
        pytest.param({"model": {"size": [8]}}, "model.size.1", id="one side"),
        pytest.param({"capacity": {"entries": 10**30}}, "capacity.entries", id="entries"),
        pytest.param({"surprise": {"x": {"y": 1}}}, "`surprise` is not known", id="unknown"),
    ],
)
def test_a_mistake_is_named_with_its_remedy(change, says):
    """The field, and what to write instead; never a Python object."""
    with pytest.raises(InvalidFunction, match=says) as error:
        parse_spec({**BASE, **change}, "spec")
    assert "{" not in error.value.detail
    assert "Input should" not in error.value.detail


def test_what_the_decision_goes_by_is_read():
    """Defaults, and other values."""
    plain = parse_spec({**BASE, "model": {}}, "spec")
    assert (plain.model.deterministic, plain.reuse.accuracy_of, plain.reuse.ticket_ttl_s) == (True, "answers", 60.0)
    other = parse_spec(
        {**BASE, "model": {"deterministic": False}, "reuse": {"accuracy_of": "reused", "ticket_ttl_s": 5}}, "spec"
    )
    assert (other.model.deterministic, other.reuse.accuracy_of, other.reuse.ticket_ttl_s) == (False, "reused", 5.0)


def test_means_fit_the_channels():
    """One number, or one for each."""
    for count in (0, 1, 3):
        parse_spec({**IMAGE, "model": {"size": [8, 8], "mean": [0.5] * count}}, "spec")
    with pytest.raises(InvalidFunction, match="mean has 2 numbers"):
        parse_spec({**IMAGE, "model": {"size": [8, 8], "mean": [0.5, 0.5]}}, "spec")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("a=" + "[" * 20_000, id="arrays"),
        pytest.param("a=" + "{a=" * 5_000, id="tables"),
        pytest.param("a." * 500_000 + "a=1", id="dotted"),
        pytest.param("x=1\n['a' . " + '"b" . ' * 150_000 + "c]\nd=1", id="dotted in quotes"),
        pytest.param("a=" + "9" * 5_000, id="digits"),
        pytest.param("x=[", id="cut off"),
        pytest.param("x" * (2 << 20), id="long"),
        pytest.param("a\x00=1", id="nul"),
    ],
)
def test_hostile_toml_is_an_invalid_function(text):
    """Whatever the parser does with it."""
    with pytest.raises(InvalidFunction) as error:
        parse_toml(text, "spec")
    assert len(error.value.detail) < 2_000


def test_a_key_with_too_many_parts_is_named_with_its_line():
    """Reading it would take memory that grows with the square of them; as many as a spec needs are read."""
    with pytest.raises(InvalidFunction, match=r"line 2: a key has over 16 parts"):
        parse_toml('description = "v. 1.2.3"\n' + "input." * 17 + "kind = 1", "spec")
    with pytest.raises(InvalidFunction, match=r"field `x\.y`|field `x`"):
        parse_toml("x.y.z.a.b.c.d = 1", "spec")


DOTS = "a." * 40 + "a"
QUOTE = "'" * 3


@pytest.mark.parametrize(
    "value",
    [
        f'"{DOTS}"',
        f"'{DOTS}'",
        f'"\\"{DOTS}\\\\"  # {DOTS}',
        f"'it.is\"' # it's {DOTS}",
        f'"""{DOTS}\n""{DOTS}\\""" {DOTS}"""""',
        f"{QUOTE}{DOTS}\n''\"{DOTS}\\{QUOTE}''",
    ],
)
def test_dots_in_texts_and_comments_are_no_parts_of_a_key(value):
    """Nor does a text hide a key that follows."""
    document = {**BASE, "description": tomllib.loads(f"x = {value}")["x"]}
    head = f"description = {value}\n"
    rest = tomli_w.dumps({name: each for name, each in document.items() if name != "description"})
    assert parse_toml(head + rest, "spec").description == document["description"]
    with pytest.raises(InvalidFunction, match=r"line \d+: a key has over 16 parts"):
        parse_toml(f"{head}{DOTS} = 1\n", "spec")
    with pytest.raises(InvalidFunction, match=r"line \d+: a key has over 16 parts"):
        parse_toml(f"x = [{value.partition('  #')[0].partition(' #')[0]}, {{{DOTS} = 1}}]\n", "spec")


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize(
    "piece", ['"', "'", '\\"', '"\\', '"""', QUOTE, '""', '"""\\', "a.", '"a".', "'a' . ", "#", '"#\n', "a'"]
)
def test_looking_for_long_keys_takes_time_in_proportion_to_the_text(piece):
    """Also where nothing ends."""
    for end in ("", "x", "=", '"'):
        started = process_time()
        with pytest.raises(InvalidFunction):
            parse_toml("x = " + piece * (900_000 // len(piece)) + end, "spec")
        assert process_time() - started < 10


@pytest.mark.parametrize("text", ['{"a":' * 900 + "1" + "}" * 900, "[" * 5_000, "[1]", "3", "{", '{"a": 1e999}'])
def test_hostile_json_is_an_invalid_function(text):
    """As TOML."""
    with pytest.raises(InvalidFunction):
        parse_json(text, "spec")


@settings(max_examples=60, deadline=None)
@given(
    st.text(max_size=40),
    st.lists(st.text(min_size=1, max_size=8).filter(str.strip), min_size=2, max_size=4, unique=True),
    st.floats(0.001, 100),
)
def test_a_json_spec_is_kept_as_toml_that_means_the_same(description, labels, threshold):
    """Any text and number survives; what is null is left out."""
    import orjson

    document = {
        **BASE,
        "description": description,
        "model": None,
        "result": {"labels": labels},
        "reuse": {"policy": "fixed", "options": {"threshold": threshold}},
    }
    spec, toml = parse_json(orjson.dumps(document).decode(), "spec")
    assert parse_toml(toml, "spec") == spec


def test_text_is_utf_8_with_or_without_a_mark():
    """What is something else is named by its line."""
    assert decode_text("\ufeffä\n".encode(), "f") == "ä\n"
    for content, line in (("a\nStraße\n".encode("latin-1"), "line 2"), ("a".encode("utf-16"), "line 1")):
        with pytest.raises(InvalidFunction, match=re.escape(line)):
            decode_text(content, "labels.txt")


def test_versions_are_plain_numbers(tmp_path):
    """Other folders beside them are no versions."""
    folder = tmp_path / "f"
    for name in ("1", "10", "02", "²", "1.5", "old"):
        (folder / name).mkdir(parents=True)
    (folder / "function.toml").write_text('\ufeff[input]\nkind="array"\n[[keys]]\nextractor="vector"\ndimension=2\n')
    assert read_spec(folder)[1] == 10


def test_a_folder_that_cannot_be_read_names_the_file(tmp_path):
    """Missing, a folder in its place, or other text."""
    folder = tmp_path / "f"
    folder.mkdir()
    with pytest.raises(InvalidFunction, match=r"function\.toml.*write one"):
        read_spec(folder)
    (folder / "function.toml").mkdir()
    with pytest.raises(InvalidFunction, match=r"function\.toml"):
        read_spec(folder)


MODELLED = {**IMAGE, "model": {"size": [8, 8]}}
VARIANT = {
    "name": "small",
    "file": "small.onnx",
    "cost": 0.1,
    "size_bytes": 1000,
    "memory_bytes": 5000,
    "agreement": 0.9,
}


def test_variants_are_in_order_of_cost_and_prepared_as_the_model_unless_they_say_otherwise():
    """The ladder names which of them may answer; without a ledger none may."""
    head = {**VARIANT, "name": "head", "takes": "key", "cost": 0.001}
    own = {**VARIANT, "name": "own", "size": [4, 4], "cost": 0.2}
    data = {**MODELLED, "variants": [own, VARIANT, head]}
    spec = parse_spec(data, "spec")
    assert [variant.name for variant in spec.rungs] == ["head", "small", "own"]
    assert [spec.prepared(variant).size for variant in spec.rungs] == [(8, 8), (8, 8), (4, 4)]
    exits = parse_spec({**data, "reuse": {"ladder": "exits"}}, "spec")
    assert [variant.name for variant in exits.rungs] == ["head"]
    assert not parse_spec({**data, "reuse": {"ladder": "off"}}, "spec").rungs
    assert not parse_spec({**data, "reuse": {"policy": "fixed"}}, "spec").rungs
    assert "small.onnx" in spec.onnx_files


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param({"cost": 1.0}, "variants.*cost", id="cost of the full model"),
        pytest.param({"cost": 0}, "variants.*cost", id="no cost"),
        pytest.param({"agreement": 1.5}, "variants.*agreement", id="agreement"),
        pytest.param({"memory_bytes": 0}, "variants.*memory_bytes", id="memory"),
        pytest.param({"file": "../up.onnx"}, "variants.*file", id="path"),
        pytest.param({"name": "model"}, "another `name`", id="the model's name"),
        pytest.param({"takes": "key", "size": [4, 4]}, "takes the key as it is", id="a key has no size"),
        pytest.param({"sample_rate": 8000}, "no use for|needs `size", id="of another kind of input"),
        pytest.param({"unknown": 1}, "unknown", id="unknown field"),
    ],
)
def test_a_variant_that_cannot_be_names_field_and_remedy(change, says):
    """Each figure has a range, and each table says what it takes."""
    with pytest.raises(InvalidFunction, match=says):
        parse_spec({**MODELLED, "variants": [{**VARIANT, **change}]}, "spec")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        pytest.param({**IMAGE, "variants": [VARIANT]}, r"add a \[model\]", id="no model"),
        pytest.param({**MODELLED, "variants": [VARIANT, VARIANT]}, "a `name` of its own", id="twice"),
        pytest.param({**MODELLED, "result": {"kind": "tensors"}, "variants": [VARIANT]}, "kind `label`", id="tensors"),
        pytest.param({**MODELLED, "variants": VARIANT}, r"write \[\[variants\]\]", id="one table"),
        pytest.param({**MODELLED, "variants": [{"name": "small"}]}, "variants.*file", id="nothing measured"),
    ],
)
def test_variants_that_a_function_cannot_have_name_the_remedy(data, says):
    """They stand in for a model that gives labels."""
    with pytest.raises(InvalidFunction, match=says):
        parse_spec(data, "spec")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"video": {"method": "x"}}, "field `video.method` has to be 'auto'"),
        ({"model": {"fixed": {"x": {"shape": [-1]}}}}, "field `model.fixed`: needs finite numbers for `x`"),
        ({"model": {"fixed": {"x": {"shape": [1], "full": 1}}}}, "field `model.fixed`: needs finite numbers for `x`"),
        ({"model": {"fixed": {"x": float("inf")}}}, "field `model.fixed`: needs finite numbers for `x`"),
        ({"model": {"fixed": {"x": None}}}, "field `model.fixed`: needs finite numbers for `x`"),
    ],
)
def test_a_field_of_several_forms_is_one_fault(change, says):
    """Not one for each form that it might have had."""
    with pytest.raises(InvalidFunction, match=re.escape(says)) as told:
        parse_spec({**BASE, **change}, "spec")
    assert told.value.detail.count("field `") == 1
