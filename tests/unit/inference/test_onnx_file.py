"""What ONNX files name and claim is known before they are loaded."""

from __future__ import annotations

import contextlib
from time import process_time

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models import FLOAT, onnx_model, scores, with_external
from onnx import TensorProto, helper, numpy_helper

from likewise.errors import InvalidFunction
from likewise.inference.model import OnnxModel
from likewise.inference.onnx_file import external_files, external_paths


def external(name):
    tensor = TensorProto(name=name, data_type=FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", f"{name}.bin"
    return tensor


def test_a_model_of_one_file_names_no_other():
    """Also one with nodes, attributes and strings of all kinds."""
    assert external_files(scores(), "m") == {}


def test_every_place_where_a_tensor_may_be_is_looked_at():
    """Initializers, constants, branches in branches, sparse tensors, functions and training."""
    inner = helper.make_graph([helper.make_node("Constant", [], ["c"], value=external("inner"))], "i", [], [])
    outer = helper.make_graph([helper.make_node("If", ["b"], ["d"], then_branch=inner, else_branch=inner)], "o", [], [])
    sparse = onnx.SparseTensorProto(values=external("values"), indices=external("indices"), dims=[4])
    nodes = [
        helper.make_node("Loop", ["n"], ["e"], body=outer),
        helper.make_node("Constant", [], ["f"], sparse_value=sparse),
        helper.make_node("Odd", [], ["g"], several=[external("several"), external("more")]),
        helper.make_node("Odd", [], ["h"], graphs=[helper.make_graph([], "x", [], [], [external("graphs")])]),
    ]
    graph = helper.make_graph(nodes, "g", [], [], [external("top")], sparse_initializer=[sparse])
    model = helper.make_model(graph)
    model.functions.append(
        helper.make_function(
            "d", "F", [], [], [helper.make_node("Constant", [], ["k"], value=external("function"))], []
        )
    )
    model.training_info.add().initialization.initializer.append(external("training"))
    names = {"inner", "values", "indices", "several", "more", "graphs", "top", "function", "training"}
    assert set(external_files(model.SerializeToString(), "m")) == {f"{name}.bin" for name in names}


def test_a_tensor_that_is_split_over_two_fields_hides_nothing():
    """Protobuf merges what is written twice; one half names the file, the other turns it on."""
    first = TensorProto()
    entry = first.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"
    second = TensorProto(data_location=TensorProto.EXTERNAL, data_type=FLOAT)

    def field(number, content):
        return bytes([number << 3 | 2, len(content)]) + content

    attribute = field(5, first.SerializeToString()) + field(5, second.SerializeToString())
    graph = field(1, field(5, attribute))
    assert tuple(external_files(field(7, graph), "m")) == ("/etc/passwd",)


@pytest.mark.parametrize(
    "location",
    [
        "/etc/hostname",
        "../secret",
        "a/../../secret",
        "",
        "a\\b",
        "link",
        "sub/link",
        "*/_ORT_MEM_ADDR_/*",
        "absent",
        ".",
    ],
)
def test_data_outside_the_folder_or_missing_are_refused(tmp_path, location):
    """Absolute, by dots, by a link, or not there at all: before ONNX Runtime opens anything."""
    (tmp_path / "secret").write_bytes(bytes(24))
    folder = tmp_path / "1"
    (folder / "sub").mkdir(parents=True)
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "sub" / "link").symlink_to("../../secret")
    (folder / "m.onnx").write_bytes(with_external(location))
    with pytest.raises(InvalidFunction, match=r"m\.onnx"):
        OnnxModel(folder / "m.onnx")


@pytest.mark.parametrize("location", ["w.bin", "sub/w.bin", "link"])
def test_data_beside_the_model_are_read(tmp_path, location):
    """In the folder, below it, or by a link that stays in it."""
    (tmp_path / "sub").mkdir()
    content = numpy_helper.to_array(onnx.ModelProto.FromString(scores()).graph.initializer[0])
    for name in ("w.bin", "sub/w.bin"):
        (tmp_path / name).write_bytes(content.tobytes())
    (tmp_path / "link").symlink_to("w.bin")
    (tmp_path / "m.onnx").write_bytes(with_external(location))
    assert external_paths(tmp_path / "m.onnx", tmp_path) == (tmp_path / location,)
    x = np.ones((1, 2), np.float32)
    np.testing.assert_allclose(OnnxModel(tmp_path / "m.onnx").run(x)[0], x @ content, rtol=1e-6)


@pytest.mark.parametrize("dims", [[1 << 30, 4], [1 << 62, 1 << 62], [-1], [1 << 63]])
def test_a_tensor_that_claims_more_than_it_has_is_refused(dims):
    """Before anybody allocates it."""
    model = onnx.ModelProto.FromString(scores())
    model.graph.initializer[0].ClearField("dims")
    content = model.SerializeToString()

    def varint(number):
        number &= 2**64 - 1
        parts = []
        while number > 0x7F:
            parts.append(number & 0x7F | 0x80)
            number >>= 7
        return bytes([*parts, number])

    for packed in (False, True):
        raw = b"".join(map(varint, dims))
        tensor = bytes([1 << 3 | 2, len(raw)]) + raw if packed else b"".join(b"\x08" + varint(dim) for dim in dims)
        graph = bytes([5 << 3 | 2, len(tensor)]) + tensor
        with pytest.raises(InvalidFunction, match="claims"):
            external_files(content + bytes([7 << 3 | 2, len(graph)]) + graph, "m")


def field(number, content):
    """Return a field of bytes, encoded."""
    size, length = len(content), b""
    while size > 0x7F:
        length, size = length + bytes([size & 0x7F | 0x80]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


MANY = b"\x0a\x00" * 3_000_000


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param(field(7, MANY), "fields", id="nodes"),
        pytest.param(field(7, field(1, MANY)), "fields", id="inputs of a node"),
        pytest.param(field(7, field(11, field(2, field(1, field(2, MANY))))), "fields", id="axes of an input"),
        pytest.param(b"\x72\x00" * 3_000_000, "fields", id="metadata"),
        pytest.param(field(7, field(5, b"\x6a\x00" * 3_000_000)), "fields", id="external data"),
        pytest.param(field(7, field(5, b"\x08\x01" * 3_000_000)), "over 64 axes", id="axes"),
        pytest.param(field(7, field(5, field(1, b"\x7f" * 6_000_000))), "over 64 axes", id="packed axes"),
        pytest.param(field(7, field(15, field(3, b"\x7f" * 6_000_000))), "over 64 axes", id="axes of a sparse tensor"),
    ],
)
def test_a_file_of_very_many_fields_is_refused(content, says):
    """Reading each takes time, while nobody else is answered."""
    started = process_time()
    with pytest.raises(InvalidFunction, match=says):
        external_files(content, "m")
    assert process_time() - started < 30


def test_a_sparse_tensor_that_is_large_written_out_is_refused():
    """It takes few bytes and claims many."""
    values = numpy_helper.from_array(np.ones(1, np.float32))
    sparse = onnx.SparseTensorProto(values=values, indices=numpy_helper.from_array(np.zeros(1, np.int64)))
    sparse.dims.extend([1 << 20, 1 << 20])
    graph = helper.make_graph([], "g", [], [], sparse_initializer=[sparse])
    with pytest.raises(InvalidFunction, match="too many"):
        external_files(helper.make_model(graph).SerializeToString(), "m")


def test_every_cut_is_refused_or_holds_no_more_than_the_whole():
    """A file cut off anywhere raises what it should and nothing else."""
    content = with_external("w.bin")
    for end in range(len(content)):
        with contextlib.suppress(InvalidFunction):
            assert external_files(content[:end], "m") in ({}, {"w.bin": 24})
    with pytest.raises(InvalidFunction, match="m: is no whole ONNX file"):
        external_files(content[:-1], "m")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 150))
def test_any_bytes_are_read_or_refused(garbage, at):
    """Alone, or written over a model."""
    content = bytearray(scores())
    content[at : at + len(garbage)] = garbage
    for each in (garbage, bytes(content)):
        with contextlib.suppress(InvalidFunction):
            external_files(each, "m")


def test_files_that_are_no_models_are_named(tmp_path):
    """Empty, missing, a folder, or of another format."""
    (tmp_path / "empty.onnx").write_bytes(b"")
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "m.ort").write_bytes(scores())
    for name in ("empty.onnx", "absent.onnx", "folder.onnx", "m.ort"):
        with pytest.raises(InvalidFunction, match=name):
            OnnxModel(tmp_path / name)


def test_outputs_that_are_no_tensors_of_numbers_are_refused(tmp_path):
    """Sequences of maps, as scikit-learn makes them, unless they are not asked for; and text."""
    zipmap = helper.make_node("ZipMap", ["y"], ["maps"], domain="ai.onnx.ml", classlabels_int64s=[0, 1])
    double = helper.make_node("Add", ["x", "x"], ["y"])
    maps = ("maps", FLOAT, None)
    model = onnx.ModelProto.FromString(onnx_model([("y", FLOAT, [2]), maps], [2], [double, zipmap]))
    kind = helper.make_sequence_type_proto(
        helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(FLOAT, []))
    )
    model.graph.output[1].type.CopyFrom(kind)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(InvalidFunction, match=r"`maps` is seq.*zipmap"):
        OnnxModel(tmp_path / "m.onnx")
    only = OnnxModel(tmp_path / "m.onnx", first_output=True)
    assert only.outputs == ("y",)
    assert [each.tolist() for each in only.run(np.ones((1, 2)))] == [[[2, 2]]]


def test_channels_last_is_told_what_to_do(tmp_path):
    """The remedy can be followed."""
    content = onnx_model([("y", FLOAT, [8, 8, 3])], [8, 8, 3], [helper.make_node("Add", ["x", "x"], ["y"])])
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(InvalidFunction, match='layout = "nhwc"'):
        OnnxModel(tmp_path / "m.onnx").check((3, 8, 8), "spec")


def test_data_beside_the_model_are_as_long_as_it_says(tmp_path):
    """A file that was cut off is found before anything is loaded."""
    (tmp_path / "m.onnx").write_bytes(with_external("w.bin"))
    (tmp_path / "w.bin").write_bytes(bytes(23))
    with pytest.raises(InvalidFunction, match="24 bytes in `w\\.bin`, which has 23"):
        OnnxModel(tmp_path / "m.onnx")
    (tmp_path / "w.bin").write_bytes(bytes(24))
    assert OnnxModel(tmp_path / "m.onnx").run(np.ones((1, 2)))[0].tolist() == [[0, 0, 0]]
