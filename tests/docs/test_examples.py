"""Every script in examples/ runs and prints what it promises; the code in docs/sdk.md runs too."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cameras import write_video

from likewise_watch.command import main as watch

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
SHARED = {
    "share_results.py": r"computed (?P<computed>\d+) of 400, (?P<right>\d+) right\ninvalidated [1-9]",
    "many_devices.py": r"(?P<found>\d+) of 500 found by noisy keys, (?P<right>\d+) right",
}
TESTED = {*SHARED, "camera_app.py", "changes.py", "infer_file.py", "offline.py", "testing_an_app.py", "voice_app.py"}


def run(script: str, *arguments: str, given: str | None = None) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / script), *arguments],
        capture_output=True,
        input=given,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_no_example_is_left_out() -> None:
    """A new script must come with a test."""
    assert {path.name for path in EXAMPLES.glob("*.py")} == TESTED


@pytest.mark.parametrize("script", sorted(SHARED))
def test_devices_share_results(script: str, live: Any) -> None:
    """Against a real server that serves examples/functions."""
    found = re.search(SHARED[script], run(script, live(functions=EXAMPLES / "functions").url))
    assert found is not None
    numbers = {name: int(number) for name, number in found.groupdict().items()}
    reused = numbers.get("found", 400 - numbers.get("computed", 400))
    assert reused > 100
    wrong = numbers["found"] - numbers["right"] if "found" in numbers else 400 - numbers["right"]
    assert wrong <= 25


def test_files_are_inferred(server: Any, toys: Any, tmp_path: Path) -> None:
    """Against a real server with a model."""
    for quadrant in (0, 3):
        (tmp_path / f"{quadrant}.png").write_bytes(toys.picture(quadrant))
    output = run("infer_file.py", server.url, "quadrants", str(tmp_path / "0.png"), str(tmp_path / "3.png"))
    assert re.search(r"0\.png: .*north-west.*\n3\.png: .*south-east", output)


def test_a_device_goes_on_without_a_server(live: Any, toys: Any, tmp_path: Path) -> None:
    """The model comes with the first run; the second has no server; the third shares what the second computed."""
    pytest.importorskip("PIL")  # reads pictures in files on the device
    folder = toys.write_quadrants(tmp_path / "functions")
    spec = folder / "function.toml"
    spec.write_text("share_model = true\n" + spec.read_text())
    url = live(functions=tmp_path / "functions").url
    files = [str(tmp_path / f"{quadrant}.png") for quadrant in range(4)]
    for quadrant, file in enumerate(files):
        Path(file).write_bytes(toys.picture(quadrant))

    def go(url: str, *files: str) -> str:
        return run("offline.py", url, "quadrants", str(tmp_path / "phone"), *files)

    assert "0.png: north-west (server)" in go(url, files[0])
    alone = go("http://127.0.0.1:9", *files)
    assert alone.count("(device)") == 4
    assert "0 results shared, 4 wait" in alone
    assert "4 results shared, 0 wait" in go(url)


def test_a_camera_and_a_microphone_share_results(live: Any) -> None:
    """Against a real server with the bundled functions; without either, frames and words are made up."""
    url = live(functions=ROOT / "functions").url
    seen = run("camera_app.py", url, "--frames", "180")
    found = re.search(r"(\d+) frames in .* s, (\d+) reused, (\d+) late\n(\d+) kB sent", seen)
    assert found is not None, seen
    frames, reused, late, sent_kb = map(int, found.groups())
    assert frames + late == 180
    assert reused > 15
    assert sent_kb > 180
    heard = run("voice_app.py", url, "--commands", "60")
    said = re.search(r"(\d+) commands, (\d+) reused; (\d+) seconds of silence", heard)
    assert said is not None, heard
    assert int(said[1]) == 60
    assert int(said[2]) > 2
    assert int(said[3]) > 0


def test_changes_of_a_watched_video_are_told(server: Any, tmp_path: Path) -> None:
    """From the lines that `likewise watch` writes."""
    film, out = write_video(tmp_path / "film.mp4", [0, 0, 3, 3, 3, 1]), tmp_path / "out.jsonl"
    assert watch([str(film), "--function", "quadrants", "--url", server.url, "--output", str(out)]) == 0
    told = run("changes.py", given=out.read_text()).splitlines()
    assert [line.split(" ", 1)[1] for line in told] == ["film: north-west", "film: south-east", "film: north-east"]


def test_the_testing_example_passes() -> None:
    """Without any server."""
    assert run("testing_an_app.py") == "both tests passed\n"


def test_the_code_in_the_sdk_guide_runs() -> None:
    """All Python blocks of docs/sdk.md, one after another, on the fake server that the guide itself sets up."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "sdk.md").read_text(), flags=re.S)
    assert len(blocks) > 5
    program = "\n".join(blocks)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_sdk_guide_names_every_public_name() -> None:
    """What is exported is documented, and every setting and option too."""
    import likewise_client
    from likewise_client._base import Settings
    from likewise_client._reuse import ReuseOptions

    guide = (ROOT / "docs" / "sdk.md").read_text()
    names = {*likewise_client.__all__, *Settings.__annotations__, *ReuseOptions.__annotations__} - {"__version__"}
    assert [name for name in sorted(names) if f"`{name}" not in guide] == []
