"""Models that ship inside packages: found without importing those, added by the command line, really served."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest
from gallery_models import MODELS, documented

from likewise.__main__ import main
from likewise.function.spec_text import parse_toml

SUFFIX = {"image": ".png", "audio": ".wav", "bytes": ".bin"}
MEDIA = {"image": "image/png", "audio": "audio/wav", "bytes": "application/octet-stream"}


@pytest.fixture
def gallery(tmp_path: Path, live: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Add one of the models with inputs at hand, serve it, and return what asks for results."""

    def added(name: str, kind: str, inputs: list[bytes], *more: str) -> SimpleNamespace:
        model = MODELS[name]
        found = importlib.util.find_spec(model.package)
        if found is None or not found.submodule_search_locations:
            pytest.skip(f"{model.package} is not installed; see docs/gallery.md")
        path = Path(next(iter(found.submodule_search_locations))) / model.file
        folder = tmp_path / "inputs"
        folder.mkdir()
        for at, body in enumerate(inputs):
            (folder / f"{at:02}{SUFFIX[kind]}").write_bytes(body)
        functions = tmp_path / "functions"
        arguments = ["add", str(path), "--name", name, "--functions", str(functions), "--inputs", str(folder)]
        code = main([*arguments, *model.arguments, *more])
        said = capsys.readouterr()
        assert code == 0, said.err
        spec = (functions / name / "function.toml").read_text()
        assert parse_toml(spec, "written") == parse_toml(documented()[name][1], "documented")
        server = live(functions=functions)

        def ask(body: bytes) -> dict[str, Any]:
            headers = {"content-type": MEDIA[kind], "cache-control": "no-store"}
            answer = server.http.post(f"/v1/functions/{name}/infer", content=body, headers=headers)
            assert answer.status_code == 200, answer.text
            return dict(answer.json())

        return SimpleNamespace(path=path, said=said.out, ask=ask)

    return added


@pytest.fixture
def direct() -> Callable[..., list[np.ndarray]]:
    """Run a model by ONNX Runtime alone."""

    def run(path: Path, **inputs: Any) -> list[np.ndarray]:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        return list(onnxruntime.InferenceSession(str(path), options).run(None, inputs))

    return run


@pytest.fixture(scope="session")
def photographs() -> list[np.ndarray]:
    """Two photographs, RGB, 427 high and 640 wide."""
    return list(pytest.importorskip("sklearn.datasets").load_sample_images().images)
