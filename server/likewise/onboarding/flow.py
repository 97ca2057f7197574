"""From an ONNX file to a function's folder, step by step; what was there before stays as it was until the end."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from likewise.errors import Conflict, InvalidFunction
from likewise.features.decode import Kind
from likewise.files import sync_folder
from likewise.function.parts import Limits
from likewise.function.spec import SPEC_FILE
from likewise.function.spec_table import FILE_NAME, NAME
from likewise.function.spec_text import parse_spec, parse_toml
from likewise.inference.onnx_file import external_paths
from likewise.inference.onnx_graph import Graph, Value, describe, foreign_operators
from likewise.onboarding import choices, outcomes, preparations
from likewise.onboarding.draft import Draft, Origin, given
from likewise.processes import ask
from likewise.workloads.folder import InputFile, files_in, of_kind, spread

MODEL_FILE = "model.onnx"
TRIALS = "likewise.onboarding.trials"
_STAGED = ".adding-"
_SAYS_NOTHING = ("model", "net", "network", "saved_model")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a person said."""

    model: Path
    functions: Path
    name: str | None = None
    labels: Path | None = None
    inputs: Path | None = None
    kind: Kind | None = None
    result: str | None = None
    settings: Sequence[str] = ()
    """`TABLE.FIELD=VALUE` of the spec."""
    most: int = 64
    """Inputs that are tried."""
    max_memory: int = 4 << 30
    """Bytes that trying the model may take."""
    timeout_s: float = 300.0
    limits: Limits = field(default_factory=Limits)
    max_body_bytes: int = 16 << 20
    max_result_bytes: int = 1 << 20


@dataclass(slots=True)
class Added:
    """What was found, chosen and tried."""

    folder: Path
    graph: Graph
    size_bytes: int
    """Of the file and its external data."""
    draft: Draft
    text: str
    """The spec as it is written."""
    attempt: Mapping[str, Any]
    """What `trials` found on the inputs."""
    notes: Sequence[str]


def add(wanted: Wanted, *, write: bool = True) -> Added:
    """Make a function of a model, and try it. write: False leaves nothing behind.

    Raises InvalidFunction, InvalidValue or Conflict, naming file, field and remedy; then nothing was written.
    """
    path, folder = wanted.model, _free_folder(wanted)
    if not path.is_file():
        raise InvalidFunction(f"{path}: is no file; name an ONNX file")
    external = external_paths(path, path.parent)
    graph = describe(path)
    _check_operators(graph, path)
    draft = Draft()
    for table, name, value in _given(wanted):
        draft.choose(table, name, value, "", Origin.GIVEN)
    draft.choices["model"].pop("file", None)
    draft.choose("model", "file", MODEL_FILE, "")
    files = files_in(wanted.inputs) if wanted.inputs else []
    kind, main = choices.choose_input(draft, graph, files, str(path))
    inputs = spread(of_kind(files, kind, wanted.inputs), wanted.most) if wanted.inputs else []
    names, to_file = choices.known_names(draft, graph, wanted.labels)
    probe = _probe(draft, graph, kind, main, inputs, wanted)
    notes = choices.choose_preparation(draft, probe, inputs, names)
    choices.choose_result(draft, graph, probe, names, to_file, str(path))
    choices.choose_key(draft, kind, main)
    parse_spec(draft.document(), f"the spec for {path.name}")
    head = _head(path, graph, external)
    with _staged(wanted.functions, keep=write) as place:
        made = place / folder.name
        _write(made, draft.text(head), path, external, draft, names)
        request = {"do": "attempt", "folder": str(made), **_common(wanted, kind, inputs)}
        try:
            attempt = _asked(request, path, wanted)
        except InvalidFunction as error:  # what is staged is gone when somebody reads of it
            raise InvalidFunction(error.detail.replace(str(made), str(folder))) from error
        if not attempt["steady"]:
            notes.append("the same input came to two results, so repeats are decided like others")
            draft.choose("model", "deterministic", False, "the same input came to two results", Origin.TRIED)
            (made / SPEC_FILE).write_text(draft.text(head), encoding="utf-8")
        if write:
            made.rename(folder)
            sync_folder(wanted.functions)
    size = sum(each.stat().st_size for each in (path, *external))
    return Added(folder, graph, size, draft, draft.text(head), attempt, notes)


def name_of(path: Path) -> str:
    """Return a function's name made of a file's; of its folder's where the file's says nothing."""
    stem = path.resolve().parent.name if path.stem.lower() in _SAYS_NOTHING else path.stem
    return re.sub(r"[^a-z0-9._-]+", "-", stem.lower()).strip("._-")[:64] or "model"


def _free_folder(wanted: Wanted) -> Path:
    """Return the folder that the function is going to have. Raises InvalidFunction or Conflict."""
    name = wanted.name or name_of(wanted.model)
    if not NAME.fullmatch(name):
        raise InvalidFunction(f"--name {name[:80]}: has to be 1 to 64 lower-case letters, digits, `.`, `_` or `-`")
    folder = wanted.functions / name
    if folder.exists() or folder.is_symlink():
        raise Conflict(f"{folder}: is there already; take another --name, or: likewise functions remove {name}")
    return folder


def _check_operators(graph: Graph, path: Path) -> None:
    strange = foreign_operators(graph)
    if strange:
        raise InvalidFunction(
            f"{path}: uses the operator `{strange[0]}`, which ONNX Runtime does not have by itself; export it with "
            "standard operators, or with the operator as a function in the model"
        )


def _given(wanted: Wanted) -> list[tuple[str, str, Any]]:
    said = list(given(wanted.settings))
    if wanted.kind is not None:
        said.append(("input", "kind", wanted.kind))
    if wanted.result is not None:
        said.append(("result", "kind", wanted.result))
    return said


def _common(wanted: Wanted, kind: Kind, inputs: Sequence[InputFile]) -> dict[str, Any]:
    return {
        "kind": kind,
        "inputs": [(str(each.path), each.media_type) for each in inputs],
        "limits": asdict(wanted.limits),
        "max_bytes": wanted.max_body_bytes,
        "max_result_bytes": wanted.max_result_bytes,
        "max_memory": wanted.max_memory,
    }


def _probe(
    draft: Draft, graph: Graph, kind: Kind, main: Value, inputs: Sequence[InputFile], wanted: Wanted
) -> dict[str, Any]:
    """Run the model as each preparation has it that may be right."""
    found = preparations.candidates(draft, kind, main)
    base = draft.document()["model"]
    tables = [{**base, **fields} for _, fields in found or [("", {})]]
    key = {"extractor": "pool" if kind == "array" else choices.KEYS[kind]}
    for table in tables:
        parse_spec({"input": {"kind": kind}, "model": table, "keys": [key]}, f"the spec for {wanted.model.name}")
    outputs = draft.get("result", "outputs")
    if outputs is None:
        outputs = [each.name for each in outcomes.without_states(graph.outputs, list(draft.choices["model.fixed"]))]
    request = {
        "do": "probe",
        "model": str(wanted.model),
        "preparations": tables,
        "sizes": preparations.other_sizes(draft, kind),
        "outputs": outputs,
        **_common(wanted, kind, inputs),
    }
    return {**_asked(request, wanted.model, wanted), "candidates": found}


def _asked(request: Mapping[str, Any], path: Path, wanted: Wanted) -> dict[str, Any]:
    late = "raise --timeout, or give fewer inputs with --most"
    return ask(TRIALS, request, str(path), wanted.timeout_s, late=late, memory="--max-memory")


def _head(path: Path, graph: Graph, external: Sequence[Path]) -> str:
    name = "".join(letter if letter.isprintable() else "?" for letter in path.name)
    return (
        f"Made by `likewise add` from {name}: {graph.parameters:,} parameters, opset {graph.opsets.get('', '?')}"
        f"{', with external data' if external else ''}.\n"
        "What is marked `assumed` is worth a look; every field is described in docs/functions.md."
    )


@contextmanager
def _staged(functions: Path, *, keep: bool) -> Iterator[Path]:
    """Lend a folder beside the functions, from which one can be put in place in one step."""
    new = [each for each in (functions, *functions.parents) if not each.exists()]
    functions.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(prefix=_STAGED, dir=functions))
    done = False
    try:
        yield place
        done = True
    finally:
        shutil.rmtree(place, ignore_errors=True)
        for each in new if not (done and keep) else ():
            each.rmdir()


def _write(made: Path, text: str, path: Path, external: Sequence[Path], draft: Draft, names: Sequence[str]) -> None:
    """Write a function's folder."""
    version = made / str(draft.get("", "version", 1))
    version.mkdir(parents=True)
    parse_toml(text, SPEC_FILE)
    (made / SPEC_FILE).write_text(text, encoding="utf-8")
    shutil.copyfile(path, version / MODEL_FILE)
    for each in external:
        relative = each.relative_to(path.parent)
        if not FILE_NAME.fullmatch(relative.as_posix()):
            raise InvalidFunction(
                f"{path}: keeps data in `{relative}`; save model and data in one folder, with a plain file name as "
                "`location`"
            )
        shutil.copyfile(each, version / relative)
    for kind in ("labels", "alphabet"):
        if draft.get("result", kind) in (choices.LABELS_FILE, choices.ALPHABET_FILE):
            lines = "".join(f"{name}\n" for name in names)
            (version / draft.get("result", kind)).write_text(lines, encoding="utf-8")
