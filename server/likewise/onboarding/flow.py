"""From an ONNX file to a function's folder, step by step; what was there before stays as it was until the end."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from likewise.errors import Conflict, InvalidFunction, InvalidValue
from likewise.features.decode import MEDIA_TYPES, Kind
from likewise.files import sync_folder
from likewise.function.parts import Limits
from likewise.function.preparation_spec import FIELDS_OF, OF_ALL
from likewise.function.spec import NAME, SPEC_FILE
from likewise.function.spec_table import FILE_NAME
from likewise.function.spec_text import decode_text, parse_spec, parse_toml
from likewise.inference.onnx_file import external_paths
from likewise.inference.onnx_graph import Graph, describe, foreign_operators
from likewise.onboarding import outcomes, preparations, shapes
from likewise.onboarding.draft import Draft, Origin, given
from likewise.onboarding.inputs import InputFile, files_in, main_kind, of_kind, spread
from likewise.onboarding.process import ask
from likewise.results.sequences import read_alphabet

CLOSE = 0.97
"""Share of the most told from which on the likelier of two preparations is taken."""
LABELS_FILE, ALPHABET_FILE = "labels.txt", "alphabet.txt"
_STAGED = ".adding-"


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


@dataclass(slots=True)
class Added:
    """What was found, chosen and tried."""

    folder: Path
    graph: Graph
    size_bytes: int
    external: Sequence[Path]
    draft: Draft
    text: str
    """The spec as it is written."""
    probe: Mapping[str, Any]
    attempt: Mapping[str, Any]
    notes: list[str]


def add(wanted: Wanted, *, write: bool = True) -> Added:
    """Make a function of a model, and try it. write: False leaves nothing behind.

    Raises InvalidFunction, InvalidValue or Conflict, naming file, field and remedy; then nothing was written.
    """
    path, name = wanted.model, wanted.name or name_of(wanted.model)
    if not NAME.fullmatch(name):
        raise InvalidFunction(f"--name {name}: has to be 1 to 64 lower-case letters, digits, `.`, `_` or `-`")
    folder = wanted.functions / name
    if folder.exists() or folder.is_symlink():
        raise Conflict(f"{folder}: is there already; take another --name, or: likewise functions remove {name}")
    if not path.is_file():
        raise InvalidFunction(f"{path}: is no file; name an ONNX file")
    external = external_paths(path, path.parent)
    graph = describe(path)
    strange = foreign_operators(graph)
    if strange:
        raise InvalidFunction(
            f"{path}: uses the operator `{strange[0]}`, which ONNX Runtime does not have by itself; export it with "
            "standard operators, or with the operator as a function in the model"
        )
    draft, notes = Draft(), list[str]()
    _take_given(draft, wanted)
    files = files_in(wanted.inputs) if wanted.inputs else []
    kind, main = _choose_input(draft, graph, files, wanted)
    inputs = spread(of_kind(files, kind, wanted.inputs), wanted.most) if files and wanted.inputs else []
    names, alphabet = _names(draft, graph, wanted)
    probe = _probe(draft, graph, kind, main, inputs, names, wanted)
    notes += _choose_preparation(draft, kind, probe, inputs, names)
    found = [
        outcomes.Output(each["name"], tuple(each["shape"]), each["dtype"], each["shares"], each["unit"])
        for each in probe["outputs"]
    ]
    _check_finite(probe, str(path))
    outcomes.choose_result(draft, graph, found, names, str(path))
    _choose_outputs(draft, graph, found)
    _name_file(draft, names, alphabet)
    _choose_key(draft, kind, main, probe)
    text = draft.text(_head(path, graph, external))
    parse_spec(draft.document(), f"the spec for {path.name}")
    wanted.functions.mkdir(parents=True, exist_ok=True)
    staged = Path(tempfile.mkdtemp(prefix=_STAGED, dir=wanted.functions))
    try:
        made = staged / name
        _write(made, text, path, external, draft, names)
        attempt = ask(
            {"do": "attempt", "folder": str(made), "kind": kind, **_common(wanted, inputs)}, str(path), wanted.timeout_s
        )
        if not attempt["steady"]:
            notes.append(
                "the same input came to two results: `deterministic` is false, so repeats are not answered outright"
            )
            draft.choose("model", "deterministic", False, "the same input came to two results", Origin.INPUTS)
            text = draft.text(_head(path, graph, external))
            (made / SPEC_FILE).write_text(text, encoding="utf-8")
        if write:
            made.rename(folder)
            sync_folder(wanted.functions)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return Added(folder, graph, path.stat().st_size, external, draft, text, probe, attempt, notes)


def name_of(path: Path) -> str:
    """Return a function's name made of a file's; of its folder's where the file's says nothing."""
    stem = (
        path.stem
        if path.stem.lower() not in ("model", "nmp", "net", "network", "saved_model")
        else path.resolve().parent.name
    )
    name = "".join(
        letter if letter.isascii() and (letter.isalnum() or letter in "._-") else "-" for letter in stem.lower()
    )
    return name.strip("._-")[:64] or "model"


def _take_given(draft: Draft, wanted: Wanted) -> None:
    for table, name, value in given(wanted.settings):
        draft.choose(table, name, value, "", Origin.GIVEN)
    if wanted.kind is not None:
        draft.choose("input", "kind", wanted.kind, "", Origin.GIVEN)
    if wanted.result is not None:
        draft.choose("result", "kind", wanted.result, "", Origin.GIVEN)


def _choose_input(draft: Draft, graph: Graph, files: Sequence[InputFile], wanted: Wanted) -> tuple[Kind, Any]:
    """Choose what the input is and how it is prepared; return its kind, and the graph's input."""
    path = str(wanted.model)
    main = shapes.main_input(graph.inputs, draft.get("model", "input"), path)
    of_files = main_kind(files) if files else None
    others = [each for each in graph.inputs if each.name != main.name]
    kind, why, origin = shapes.kind_of(main, others, of_files)
    draft.choose("input", "kind", kind, why, origin)
    kind = draft.get("input", "kind")
    if kind not in MEDIA_TYPES:
        raise InvalidValue(f"--kind {kind}: give one of {', '.join(MEDIA_TYPES)}")
    draft.choose("model", "file", "model.onnx", "", Origin.FILE)
    rate = _sample_rate([each for each in files if each.kind == "audio"]) if kind == "audio" else None
    preparations.prepare(draft, kind, main, path, rate)
    shapes.fix_others(draft, graph.inputs, main, int(draft.get("model", "sample_rate", preparations.USUAL_RATE)))
    strange = [
        each for each in draft.choices["model"] if each in set().union(*FIELDS_OF.values()) - FIELDS_OF[kind] - OF_ALL
    ]
    if strange:
        raise InvalidValue(f"--set model.{strange[0]}: is of no use to inputs of kind `{kind}`; leave it out")
    return kind, main


def _sample_rate(files: Sequence[InputFile]) -> int | None:
    """Return the sample rate of the sounds, where the first of them agree."""
    rates = set()
    for each in files[:16]:
        with each.path.open("rb") as file:
            head = file.read(64)
        at = head.find(b"fmt ")
        if at >= 0:
            rates.add(int.from_bytes(head[at + 12 : at + 16], "little"))
    return rates.pop() if len(rates) == 1 and 4000 <= min(rates) <= 192_000 else None


def _names(draft: Draft, graph: Graph, wanted: Wanted) -> tuple[tuple[str, ...], bool]:
    """Return the names of classes, or the characters of an alphabet, and whether they were given or known at all."""
    if wanted.labels is not None:
        try:
            content = wanted.labels.read_bytes()
        except OSError as error:
            raise InvalidValue(f"{wanted.labels}: cannot be read ({error.strerror}); check --labels") from error
        text = decode_text(content, str(wanted.labels))
        names = read_alphabet(text) if draft.get("result", "kind") == "text" else outcomes.read_names(text)
        if not names:
            raise InvalidValue(f"{wanted.labels}: holds no name; write one per line")
        return names, True
    given_names = draft.get("result", "labels")
    if isinstance(given_names, list) and all(isinstance(each, str) for each in given_names):
        return tuple(given_names), False
    names, key = outcomes.names_in(graph)
    return names, bool(key)


def _common(wanted: Wanted, inputs: Sequence[InputFile]) -> dict[str, Any]:
    limits = wanted.limits
    return {
        "inputs": [(str(each.path), each.media_type) for each in inputs],
        "limits": {
            "max_pixels": limits.max_pixels,
            "max_audio_s": limits.max_audio_s,
            "max_elements": limits.max_elements,
        },
        "max_bytes": wanted.max_body_bytes,
        "max_memory": wanted.max_memory,
    }


def _probe(
    draft: Draft, graph: Graph, kind: Kind, main: Any, inputs: Sequence[InputFile], names: Sequence[str], wanted: Wanted
) -> dict[str, Any]:
    """Run the model as each preparation has it that may be right."""
    found = preparations.candidates(draft, kind, main)
    base = draft.document()["model"]
    tables = []
    for _, fields in found or [("", {})]:
        tables.append({**base, **fields})
    document = {
        **draft.document(),
        "keys": [{"extractor": KEYS[kind], **({"dimension": 1} if kind == "array" else {})}],
    }
    document.pop("result", None)
    for table in tables:
        parse_spec({**document, "model": table}, f"the spec for {wanted.model.name}")
    outputs = draft.get("result", "outputs")
    if outputs is None:
        fixed = draft.choices["model.fixed"]
        outputs = [each.name for each in outcomes.without_states(graph.outputs, list(fixed))]
    answer = ask(
        {
            "do": "probe",
            "model": str(wanted.model),
            "kind": kind,
            "preparations": tables,
            "outputs": outputs,
            **_common(wanted, inputs),
        },
        str(wanted.model),
        wanted.timeout_s,
    )
    answer["candidates"] = found
    return answer


def _choose_preparation(
    draft: Draft, kind: Kind, probe: Mapping[str, Any], inputs: Sequence[InputFile], names: Sequence[str]
) -> list[str]:
    """Take one of the preparations: the likeliest, or the one by which the model tells the most of the inputs."""
    found, told = probe["candidates"], probe["told"]
    if not found:
        return []
    if not told:
        name, fields = found[0]
        preparations.adopt(draft, name, fields, "usual", Origin.ASSUMED)
        return []
    right = _accuracy(probe["by_input"], inputs, names) if not probe["count_refused"] else []
    score, by = (right, "right by sub-folder") if right else (told, "nats told")
    best = max(score)
    at = next(place for place, each in enumerate(score) if each >= CLOSE * best)
    name, fields = found[at]
    preparations.adopt(draft, name, fields, f"{score[at]:.2f} {by}, of {len(found)} tried", Origin.INPUTS)
    ranked = sorted(zip(score, [name for name, _ in found], strict=True), reverse=True)[:3]
    listed = ", ".join(f"{name} {each:.2f}" for each, name in ranked)
    return [f"pixels {name}: chosen by what the model tells of {probe['read']} inputs ({by}: {listed})"]


def _accuracy(by_input: Sequence[Sequence[int]], inputs: Sequence[InputFile], names: Sequence[str]) -> list[float]:
    """Return the share of right classes by preparation, where all inputs lie in sub-folders called like labels."""
    places = {name: at for at, name in enumerate(names)}
    truth = [places.get(each.folder, -1) for each in inputs]
    if not names or -1 in truth or len(set(truth)) < 2 or any(len(row) != len(truth) for row in by_input):
        return []
    return [sum(a == b for a, b in zip(row, truth, strict=True)) / len(truth) for row in by_input]


def _check_finite(probe: Mapping[str, Any], path: str) -> None:
    strange = [each["name"] for each in probe["outputs"] if not each["finite"]]
    if strange and not probe["on_zeros"]:
        raise InvalidFunction(
            f"{path}: its output `{strange[0]}` holds NaN or infinity for inputs that are fine; check its weights and "
            "how inputs are prepared (--set model.scale=…, mean, std)"
        )


def _choose_outputs(draft: Draft, graph: Graph, found: Sequence[outcomes.Output]) -> None:
    """Say which outputs count, where the graph has more than are taken by default."""
    kept = [each.name for each in found]
    everything = [each.name for each in graph.outputs]
    kind = draft.get("result", "kind")
    if kind in ("tensors", "boxes") and kept != everything:
        draft.choose("result", "outputs", kept, "the others are new states")
    elif kept and everything and kind not in ("tensors", "boxes") and kept[0] != everything[0]:
        draft.choose("result", "outputs", kept[:1], "the others are new states")


def _name_file(draft: Draft, names: Sequence[str], from_file: bool) -> None:
    """Say where names are, where there are any."""
    if not names or not from_file:
        return
    kind, origin = draft.get("result", "kind"), Origin.FILE
    if kind == "text":
        draft.choose("result", "alphabet", ALPHABET_FILE, f"{len(names)} characters", origin)
    elif kind in ("label", "multi-label", "boxes") and not (kind == "boxes" and draft.get("result", "rows") == "map"):
        draft.choose("result", "labels", LABELS_FILE, f"{len(names)} names", origin)


KEYS: Mapping[Kind, str] = {"image": "hog", "audio": "mfcc", "array": "vector", "bytes": "bytes"}
"""The extractor that is taken for each kind of input until something better is measured."""
MAX_VECTOR = 4096


def _choose_key(draft: Draft, kind: Kind, main: Any, probe: Mapping[str, Any]) -> None:
    axes = shapes.axes_of(main)
    size = 1
    for axis in axes:
        size *= axis or MAX_VECTOR + 1
    if kind == "array" and size > MAX_VECTOR:
        draft.choose("keys", "extractor", "pool", "means over parts of the array", Origin.ASSUMED)
        return
    draft.choose("keys", "extractor", KEYS[kind], "general; measure others with `likewise tune`", Origin.ASSUMED)
    if draft.get("keys", "extractor") == "vector":
        draft.choose("keys", "dimension", size, "all its numbers")


def _head(path: Path, graph: Graph, external: Sequence[Path]) -> str:
    name = "".join(letter if letter.isprintable() else "?" for letter in path.name)
    return (
        f"Made by `likewise add` from {name}: {graph.parameters:,} parameters, opset {graph.opsets.get('', '?')}"
        f"{', with external data' if external else ''}.\n"
        "What is marked `assumed` is worth a look; every field is described in docs/functions.md."
    )


def _write(made: Path, text: str, path: Path, external: Sequence[Path], draft: Draft, names: Sequence[str]) -> None:
    """Write a function's folder."""
    version = made / str(draft.get("", "version", 1))
    version.mkdir(parents=True)
    parse_toml(text, SPEC_FILE)
    (made / SPEC_FILE).write_text(text, encoding="utf-8")
    shutil.copyfile(path, version / "model.onnx")
    for each in external:
        relative = each.relative_to(path.parent)
        if not FILE_NAME.fullmatch(relative.as_posix()):
            raise InvalidFunction(
                f"{path}: keeps data in `{relative}`; save model and data in one folder, with a plain file name as "
                "`location`"
            )
        shutil.copyfile(each, version / relative)
    for field_name in ("labels", "alphabet"):
        if draft.get("result", field_name) in (LABELS_FILE, ALPHABET_FILE):
            lines = "".join(f"{name}\n" for name in names)
            (version / draft.get("result", field_name)).write_text(lines, encoding="utf-8")
