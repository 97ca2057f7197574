"""Registered functions are kept whole, checked when they are read, and one in folder, registry and journal."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from models import scores

from likewise.errors import Conflict, InvalidFunction, StorageUnavailable, UnknownFunction
from likewise.function.assembly import Assembler, Defaults
from likewise.function.registration_folder import RegistrationFolder, function_folders
from likewise.function.registrations import Registrations
from likewise.function.registry import Registry
from likewise.inference.workers import Workers
from likewise.records import Registered, Unregistered

SPEC = """
[input]
kind = "array"
[model]
[result]
labels = "labels.txt"
[[keys]]
extractor = "vector"
dimension = 2
"""
FILES = {"model.onnx": scores(), "labels.txt": b"a\nb\nc\n"}
TOML = "application/toml"


@pytest.fixture
def start(tmp_path):
    """Start a node over a folder, as often as one likes."""
    with ThreadPoolExecutor(1) as executor:

        def make(name="functions", at=100.0, allowed=True, prove=lambda folder: None):
            now = [at]
            assembler = Assembler(Defaults(), Workers(executor, 1), executor, lambda: now[0], random.Random(1).random)
            records, withdrawn, registry, degraded = [], [], Registry(), {}
            journal = SimpleNamespace(append=records.append, expect=lambda _: None)
            made = Registrations(
                RegistrationFolder(tmp_path / name, assembler, prove),
                registry,
                journal,
                lambda fn: withdrawn.append((fn.journal_id, fn.retired)),
                degraded,
                lambda: now[0],
                allowed=allowed,
            )
            made.load()
            node = SimpleNamespace(
                registrations=made, registry=registry, records=records, degraded=degraded, withdrawn=withdrawn, now=now
            )
            node.put = lambda files=FILES, spec=SPEC, name="f": made.register(name, files, spec.encode(), TOML)
            return node

        yield make


def identity(node, name="f"):
    return node.registry.get(name).journal_id


async def test_what_was_registered_is_there_at_the_next_start(start):
    """With its identity, and told to others with its files."""
    node = start()
    function, replaced = await node.put()
    assert not replaced
    assert function is node.registry.get("f@1")
    (record,) = node.records
    assert (record.function, record.files) == ("f@1", FILES)
    again = start()
    assert identity(again) == function.journal_id
    assert again.registrations.kept() == node.registrations.kept()


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param(SPEC.replace("dimension = 2", 'dimension = 2\nmetric = "l2"'), id="metric"),
        pytest.param(SPEC.replace("[[keys]]", '[[keys]]\nname = "k"'), id="name of the key"),
        pytest.param(SPEC.replace('"labels.txt"', '["a", "b", "d"]'), id="labels"),
        pytest.param(SPEC.replace("[result]", '[result]\nequality = "bytes"'), id="equality"),
        pytest.param(SPEC.replace('labels = "labels.txt"', 'kind = "tensors"'), id="kind"),
        pytest.param(
            SPEC.replace('labels = "labels.txt"', 'kind = "tensors"\n[result.tolerance]\ny = 0.1'), id="tolerance"
        ),
    ],
)
async def test_a_spec_that_makes_other_results_is_another_function(start, spec):
    """It is refused under the version that is served, and has an identity of its own under another."""
    node = start()
    before = (await node.put())[0]
    files = {name: content for name, content in FILES.items() if name in spec or name == "model.onnx"}
    with pytest.raises(Conflict, match="version 2"):
        await node.put(files, spec)
    assert node.registry.get("f") is before
    after = (await node.put(files, f"version = 2\n{spec}"))[0]
    assert after.fingerprint != before.fingerprint
    assert before.retired
    assert node.registry.of_journal(before.journal_id) is None


@pytest.mark.parametrize("files", [{"labels.txt": b"x\ny\nz\n"}, {"model.onnx": scores(seed=1)}])
async def test_other_files_are_another_function(start, files):
    """Labels count as much as the model."""
    node = start()
    await node.put()
    with pytest.raises(Conflict):
        await node.put({**FILES, **files})


@pytest.mark.parametrize(
    ("spec", "files"),
    [
        pytest.param(SPEC + "[reuse]\naccuracy_target = 0.9\n[capacity]\nttl_s = 5\nentries = 7\n", FILES, id="target"),
        pytest.param('description = "other"\n' + SPEC, FILES, id="description"),
        pytest.param(SPEC.replace("dimension = 2", 'dimension = 2\nindex = "exact"'), FILES, id="index"),
        pytest.param(SPEC, {**FILES, "labels.txt": b"\xef\xbb\xbfa\r\nb\r\nc"}, id="newlines"),
        pytest.param(SPEC.replace('"labels.txt"', '["a", "b", "c"]'), {"model.onnx": scores()}, id="labels inside"),
        pytest.param(
            SPEC.replace("[model]", '[model]\nfile = "m.onnx"\ndeterministic = false'),
            {"m.onnx": scores(), "labels.txt": FILES["labels.txt"]},
            id="name of the file",
        ),
    ],
)
async def test_what_does_not_change_results_keeps_the_identity(start, spec, files):
    """What was computed stays right."""
    node = start()
    before = (await node.put())[0].journal_id
    assert (await node.put(files, spec))[0].journal_id == before


async def test_a_function_registered_anew_after_its_removal_begins_anew(start):
    """The same files, but nothing of what was kept; a request still in flight finds its function retired."""
    node = start()
    first = (await node.put())[0]
    await node.registrations.unregister("f@1")
    assert node.withdrawn == [(first.journal_id, True)]
    second = (await node.put())[0]
    assert second.fingerprint == first.fingerprint
    assert second.journal_id != first.journal_id
    assert first.retired
    assert not second.retired
    assert identity(start()) == second.journal_id


async def test_only_what_is_there_is_removed(start):
    """By name or version; another version is not there."""
    node = start()
    await node.put()
    for address in ("f@2", "g", "f@"):
        with pytest.raises(UnknownFunction):
            await node.registrations.unregister(address)
    assert node.registry.get("f")
    await node.registrations.unregister("f")
    with pytest.raises(UnknownFunction):
        await node.registrations.unregister("f")
    assert len(start().registry) == 0


@pytest.mark.parametrize(
    ("path", "damage"),
    [
        pytest.param("function.toml", lambda path: path.write_text(""), id="empty spec"),
        pytest.param("function.toml", lambda path: path.unlink(), id="no spec"),
        pytest.param("1/model.onnx", lambda path: path.write_bytes(b""), id="empty model"),
        pytest.param("1/model.onnx", lambda path: path.write_bytes(scores()[:-9]), id="cut off"),
        pytest.param("1/model.onnx", lambda path: path.write_bytes(scores(seed=1)), id="another model"),
        pytest.param("1/labels.txt", lambda path: path.write_bytes(b"a\nb\nd\n"), id="another label"),
        pytest.param("1/labels.txt", lambda path: (path.unlink(), path.mkdir()), id="a folder for a file"),
        pytest.param("1/labels.txt", lambda path: (path.unlink(), os.mkfifo(path)), id="a pipe for a file"),
        pytest.param("1", shutil.rmtree, id="no files"),
        pytest.param("", lambda path: (shutil.rmtree(path), path.symlink_to("absent")), id="a link to nowhere"),
        pytest.param("", lambda path: (shutil.rmtree(path), path.symlink_to(path)), id="a link to itself"),
        pytest.param("", lambda path: (shutil.rmtree(path), path.write_text("")), id="a file for all of it"),
        pytest.param(".registered", lambda path: path.write_text("{"), id="no manifest"),
    ],
)
async def test_a_damaged_registration_costs_itself_alone(start, tmp_path, path, damage):
    """It is left out and reported with file and remedy, until it is registered again, or removed."""
    node = start()
    await node.put()
    await node.put(name="whole")
    damage(tmp_path / "functions" / "f" / path)
    again = start()
    assert [each.name for each in again.registry] == ["whole"]
    assert set(again.degraded) == {"function f"}
    assert path.split("/")[0] in again.degraded["function f"]
    assert "register it again" in again.degraded["function f"]
    await again.put()
    assert again.degraded == {}
    assert len(start().registry) == 2
    damage(tmp_path / "functions" / "f" / path)
    last = start()
    await last.registrations.unregister("f")
    assert last.degraded == {}
    assert [each.name for each in (tmp_path / "functions").iterdir() if each.name[0] != "."] == ["whole"]


async def test_another_node_mends_what_is_damaged_here(start, tmp_path):
    """The very same registration comes back whole."""
    node = start()
    await node.put()
    (tmp_path / "functions" / "f" / "1" / "labels.txt").write_bytes(b"")
    again = start()
    await again.registrations.follow(node.records[0])
    assert identity(again) == identity(node)
    assert again.degraded == {}
    assert len(start().registry) == 1


@pytest.mark.parametrize("moved", [False, True], ids=["before", "between"])
async def test_a_crash_while_replacing_loses_nothing(start, tmp_path, moved):
    """The old one or the new one is there, never none."""
    node = start()
    await node.put()
    await node.put(name="g", spec='description = "new"\n' + SPEC)
    folder = tmp_path / "functions"
    staging = folder / ".staging-x"
    staging.mkdir()
    shutil.copytree(folder / "g", staging / "f")
    if moved:
        (folder / "f").rename(staging / ".old")
    again = start()
    assert again.registry.get("f").spec.description == ("new" if moved else "")
    assert not staging.exists()
    assert again.degraded == {}


async def test_what_is_left_of_a_removal_does_not_come_back(start, tmp_path):
    """A crash while files were deleted."""
    node = start()
    await node.put()
    folder = tmp_path / "functions"
    (folder / ".removed-x").mkdir()
    (folder / "f").rename(folder / ".removed-x" / "f")
    assert len(start().registry) == 0
    assert not (folder / ".removed-x").exists()


async def test_nodes_agree_on_the_newest_change(start):
    """In whatever order they hear of it: two registrations and a removal, with clocks that differ."""
    one, two = start("one"), start("two", at=50.0)
    await one.put()
    await two.registrations.follow(one.records[-1])
    assert identity(two) == identity(one)
    await two.put(spec='description = "second"\n' + SPEC)
    assert two.records[-1].at > one.records[-1].at
    assert identity(two) == identity(one)
    await one.registrations.follow(two.records[-1])
    assert one.registry.get("f").spec.description == "second"
    await one.registrations.follow(Registered("f@1", 1.0, SPEC, FILES))
    await one.registrations.follow(Unregistered("f@1", 2.0))
    assert one.registry.get("f").spec.description == "second"
    await one.registrations.unregister("f")
    await two.registrations.follow(one.records[-1])
    assert len(one.registry) == len(two.registry) == 0


async def test_a_registration_that_cannot_be_served_here_stops_nothing(start):
    """It is told where an operator looks, until a newer one can."""
    node = start()
    await node.registrations.follow(Registered("f@1", 1.0, SPEC, {**FILES, "model.onnx": b"none"}))
    assert "model.onnx" in node.degraded["function f"]
    await node.registrations.follow(Registered("../f@1", 1.0, SPEC, FILES))
    await node.registrations.follow(Registered("f@1", 2.0, SPEC, FILES))
    assert node.registry.get("f")
    assert "function f" not in node.degraded


async def test_changes_come_one_after_another(start):
    """Of many at once on one name, what is served is what is kept."""
    node = start()

    async def change(i):
        if i % 3 == 2:
            try:
                await node.registrations.unregister("f")
            except UnknownFunction:
                return
        else:
            await node.put(spec=f'description = "{i}"\n' + SPEC)

    await asyncio.gather(*(change(i) for i in range(12)))
    again = start()
    assert [each.spec.description for each in again.registry] == [each.spec.description for each in node.registry]
    assert [each.journal_id for each in again.registry] == [each.journal_id for each in node.registry]


async def test_data_of_a_model_come_as_parts(start, tmp_path):
    """By the names that the model calls them, and count for the identity."""
    import onnx
    from models import with_external
    from onnx import numpy_helper

    weights = numpy_helper.to_array(onnx.ModelProto.FromString(scores()).graph.initializer[0])
    files = {**FILES, "model.onnx": with_external("w.bin")}
    node = start()
    with pytest.raises(InvalidFunction, match=r"`w\.bin`"):
        await node.put(files)
    with pytest.raises(InvalidFunction, match="plain file name"):
        await node.put({**files, "model.onnx": with_external("../f.toml")})
    function = (await node.put({**files, "w.bin": weights.tobytes()}))[0]
    other = (await node.put({**files, "w.bin": (2 * weights).tobytes()}, name="g"))[0]
    assert function.fingerprint != other.fingerprint
    assert node.records[0].files["w.bin"] == weights.tobytes()
    peer = start("peer")
    await peer.registrations.follow(node.records[0])
    assert identity(peer) == identity(node)


def test_folders_that_hold_a_function_are_found(tmp_path, monkeypatch):
    """Others beside them, hidden ones and a folder that is not there do not matter; one that may not be read does."""
    for name in ("b", "a", ".hidden"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "function.toml").touch()
    (tmp_path / "empty").mkdir()
    assert [each.name for each in function_folders(tmp_path)] == ["a", "b"]
    assert function_folders(tmp_path / "absent") == []

    def refuse(self):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(InvalidFunction, match="Permission denied"):
        function_folders(tmp_path)


async def test_a_folder_that_cannot_be_written_is_no_fault_of_the_request(start, tmp_path):
    """It is told what to do, and what is served stays; once the folder can be written all goes on."""
    node = start()
    await node.put()
    (tmp_path / "functions").rename(tmp_path / "away")
    (tmp_path / "functions").touch()
    with pytest.raises(StorageUnavailable, match=r"Not a directory.*Free some space"):
        await node.put(name="g")
    assert [each.name for each in node.registry] == ["f"]
    assert len(node.records) == 1
    (tmp_path / "functions").unlink()
    (tmp_path / "away").rename(tmp_path / "functions")
    await node.put(name="g")
    assert sorted(each.name for each in start().registry) == ["f", "g"]


async def test_a_folder_that_does_not_tell_what_it_holds_removes_nothing(start, tmp_path):
    """As without permission: the function would be back at the next start."""
    node = start()
    await node.put()
    (tmp_path / "functions").rename(tmp_path / "away")
    (tmp_path / "functions").symlink_to("functions")
    with pytest.raises(StorageUnavailable):
        await node.registrations.unregister("f")
    assert node.registry.get("f")


async def test_a_kept_file_that_cannot_even_be_looked_for_stops_no_start(start, tmp_path):
    """It is reported like other damage."""
    await start().put()
    manifest = tmp_path / "functions" / "f" / ".registered"
    said = json.loads(manifest.read_bytes())
    manifest.write_text(json.dumps({**said, "sha256": {"x" * 300: "0"}}))
    assert "cannot be read" in start().degraded["function f"]
