"""Profiles: what layers cost on a machine, measured here, or taken from published figures of a device; kept as JSON."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson

from likewise.errors import UNFIT, InvalidValue, SettingsError
from likewise.estimation.cost import Costs
from likewise.files import write_out

FORMAT = 1
FOLDER = "profiles"
"""Below the data folder."""
MAX_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Profile:
    """A machine."""

    name: str
    processor: str
    runtime: str
    """Version of ONNX Runtime; "" where none ran."""
    threads: int
    costs: Costs
    run_us: float
    """µs of a run beside its layers."""
    session_bytes: float
    """Bytes of a loaded model beside its weights and tensors."""
    layer_bytes: float
    """The same for each layer."""
    estimated: bool = False
    """Whether it comes from published figures, and nothing was measured."""
    about: str = ""
    sources: list[str] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "format": FORMAT, "name": self.name, "about": self.about, "processor": self.processor,
            "runtime": self.runtime, "threads": self.threads, "estimated": self.estimated, "sources": self.sources,
            "run_us": self.run_us,
            "memory": {"session_bytes": self.session_bytes, "layer_bytes": self.layer_bytes},
            "costs": self.costs.document(),
        }  # fmt: skip

    def write(self, path: Path) -> None:
        """Write it. Raises SettingsError where that cannot be."""
        try:
            write_out(path, orjson.dumps(self.document(), option=orjson.OPT_INDENT_2))
        except OSError as error:
            raise SettingsError(f"{path}: cannot be written ({error.strerror}).") from error

    def fits(self, threads: int) -> bool:
        """Say whether it was measured on this machine as it is now."""
        here = (processor(), version("onnxruntime"), threads)
        return (self.processor, self.runtime, self.threads) == here and not self.estimated


def processor() -> str:
    """Return the name of the processor, with what tells two of one name apart."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").partition("\n\n")[0]
    except OSError:
        text = ""
    lines = (line.partition(":") for line in text.splitlines())
    said = {name.strip(): value.strip() for name, _, value in lines}
    name = said.get("model name") or platform.processor() or platform.machine()
    parts = [said[key] for key in ("cpu family", "model", "stepping", "CPU part") if said.get(key)]
    return f"{name} ({platform.machine()}{', ' + '-'.join(parts) if parts else ''})"


def read_profile(path: Path) -> Profile:
    """Return the profile of a file. Raises InvalidValue where it holds none, or cannot be read."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InvalidValue(f"{path}: is no profile: it has more than {MAX_BYTES} bytes.")
        content = path.read_bytes()
    except OSError as error:
        raise InvalidValue(f"{path}: cannot be read ({error.strerror}); make one with --save-profile.") from error
    return parsed(content, str(path))


def parsed(content: bytes, name: str) -> Profile:
    """Return the profile of a JSON text. Raises InvalidValue. name: how errors call it."""
    try:
        found = orjson.loads(content)
        if found["format"] != FORMAT:
            raise ValueError(f"its format is {found['format']}, not {FORMAT}")
        memory: Mapping[str, Any] = found["memory"]
        numbers = [float(found["run_us"]), float(memory["session_bytes"]), float(memory["layer_bytes"])]
        if not all(0 <= each < 1e12 for each in numbers):
            raise ValueError("numbers are out of range")
        return Profile(
            str(found["name"])[:200], str(found["processor"])[:300], str(found["runtime"])[:40],
            int(found["threads"]), Costs.read(found["costs"]), numbers[0], numbers[1], numbers[2],
            bool(found["estimated"]),
            str(found.get("about", ""))[:300], [str(each)[:500] for each in found.get("sources", [])][:50],
        )  # fmt: skip
    except UNFIT as error:
        raise InvalidValue(
            f"{name}: is no profile ({type(error).__name__}: {error}); make one with --save-profile."
        ) from error


def devices() -> list[str]:
    """Return the names of the devices whose profiles come with likewise."""
    folder = resources.files("likewise.estimation") / "devices"
    return sorted(each.name.removesuffix(".json") for each in folder.iterdir() if each.name.endswith(".json"))


def device(name: str) -> Profile:
    """Return a device's profile: one that comes with likewise, or a file. Raises InvalidValue."""
    if name in devices():
        content = (resources.files("likewise.estimation") / "devices" / f"{name}.json").read_bytes()
        return parsed(content, name)
    if Path(name).is_file():
        return read_profile(Path(name))
    raise InvalidValue(
        f"--device {name[:200]}: no such device or file; there are {', '.join(devices())}, and files of --save-profile."
    )


def stored(data: Path, threads: int) -> Path:
    """Return where this machine's own profile is kept."""
    return data / FOLDER / f"this-machine-{threads}.json"
