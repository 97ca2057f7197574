"""What many tests share: small functions with real ONNX models, and real servers to ask."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import cv2
import httpx
import numpy as np
import onnx
import pytest
import uvicorn
from onnx import TensorProto, helper, numpy_helper

from likewise.http.protocol import HotProtocol
from likewise.settings import Settings
from likewise_demo.process import ServerProcess

pytest_plugins = ["redis_server", "redis_nodes"]  # tests/support: a real redis-server, and nodes that share it

LABELS = ("north-west", "north-east", "south-west", "south-east")


QUADRANTS = """
[input]
kind = "image"
[model]
file = "model.onnx"
size = [8, 8]
channels = 1
[result]
kind = "label"
labels = "labels.txt"
"""
"""What a spec says of the model that `write_quadrants` writes."""
GRAY = """
[[keys]]
name = "gray"
extractor = "gray"
metric = "cosine"
"""


def _save(path: Path, nodes: list, weights: dict[str, np.ndarray], shape: list, classes: int, name: str) -> None:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", *shape])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", classes])],
        [numpy_helper.from_array(value, key) for key, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)


def write_quadrants(root: Path, name: str = "quadrants", toml: str = "") -> Path:
    """Write a function that says which quadrant of an 8×8 gray picture is bright; return its folder."""
    weights = np.zeros((64, 4), np.float32)
    for i in range(4):
        mask = np.zeros((8, 8), np.float32)
        mask[4 * (i // 2) : 4 * (i // 2) + 4, 4 * (i % 2) : 4 * (i % 2) + 4] = 1
        weights[:, i] = mask.ravel()
    folder = root / name
    _save(
        folder / "1" / "model.onnx",
        [
            helper.make_node("Flatten", ["input"], ["flat"]),
            helper.make_node("MatMul", ["flat", "w"], ["logits"]),
        ],
        {"w": weights},
        [1, 8, 8],
        4,
        "logits",
    )
    (folder / "1" / "labels.txt").write_text("\n".join(LABELS) + "\n")
    (folder / "function.toml").write_text(toml or f'description = "Which quadrant is bright"\n{QUADRANTS}{GRAY}')
    return folder


def write_devices(root: Path) -> None:
    """Write functions without a model: 4-d vectors whose results devices compute."""
    for name, policy in (("devices", 'policy = "fixed"\n[reuse.options]\nthreshold = 0.2'), ("careful", "")):
        (root / name).mkdir(parents=True)
        (root / name / "function.toml").write_text(
            '[input]\nkind = "array"\n[[keys]]\nname = "v"\nextractor = "vector"\ndimension = 4\nmetric = "l2"\n'
            f"[reuse]\n{policy}\n"
        )


def write_fragile(root: Path) -> None:
    """Write a function whose model raises for an input out of range: it looks numbers up in a table of four."""
    _save(
        root / "fragile" / "1" / "model.onnx",
        [
            helper.make_node("Cast", ["input"], ["index"], to=TensorProto.INT64),
            helper.make_node("Gather", ["table", "index"], ["rows"]),
            helper.make_node("Flatten", ["rows"], ["outputs"]),
        ],
        {"table": np.arange(4, dtype=np.float32)},
        [1],
        1,
        "outputs",
    )
    (root / "fragile" / "function.toml").write_text(
        '[input]\nkind = "array"\n[model]\n[result]\nkind = "tensors"\nequality = "close"\n'
        '[[keys]]\nname = "v"\nextractor = "vector"\ndimension = 1\nmetric = "l2"\n'
    )


def write_heavy(root: Path) -> None:
    """Write a function whose model takes some hundredths of a second: forty products of 512×512 matrices."""
    rng = np.random.default_rng(0)
    nodes = [helper.make_node("MatMul", ["input", "first"], ["x0"])]
    nodes += [helper.make_node("MatMul", [f"x{i}", "again"], [f"x{i + 1}"]) for i in range(40)]
    nodes += [helper.make_node("ReduceMax", ["x40"], ["top"], axes=[1], keepdims=0)]
    _save(
        root / "heavy" / "1" / "model.onnx",
        nodes,
        {
            "first": rng.normal(size=(2, 512)).astype(np.float32),
            "again": (rng.normal(size=(512, 512)) / 23).astype(np.float32),
        },
        [512, 2],
        512,
        "top",
    )
    (root / "heavy" / "function.toml").write_text(
        '[input]\nkind = "array"\n[model]\n[result]\nkind = "tensors"\nequality = "bytes"\n'
        '[[keys]]\nname = "v"\nextractor = "vector"\ndimension = 1024\nmetric = "l2"\n'
    )


def picture(quadrant: int, seed: int = 0, size: int = 8) -> bytes:
    """Return a PNG with one bright quadrant, never the same twice."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 40, (size, size), dtype=np.uint8)
    half = size // 2
    row, column = half * (quadrant // 2), half * (quadrant % 2)
    pixels[row : row + half, column : column + half] += np.uint8(180)
    return cv2.imencode(".png", pixels)[1].tobytes()


@pytest.fixture
def untraced() -> Iterator[None]:
    """Let nothing trace this thread's lines meanwhile, as coverage does: that takes longer than what is bounded."""
    tracer = sys.gettrace()
    sys.settrace(None)
    yield
    sys.settrace(tracer)


@pytest.fixture(scope="session")
def toys() -> SimpleNamespace:
    """The makers of small functions and pictures, for tests that need their own."""
    return SimpleNamespace(
        labels=LABELS,
        picture=picture,
        write_quadrants=write_quadrants,
        write_devices=write_devices,
        write_fragile=write_fragile,
        write_heavy=write_heavy,
    )


@pytest.fixture(scope="session")
def functions_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all the small functions."""
    root = tmp_path_factory.mktemp("functions")
    write_quadrants(root)
    write_devices(root)
    write_fragile(root)
    write_heavy(root)
    return root


class Live:
    """A real uvicorn in a thread of this process, with the real application."""

    def __init__(self, settings: Settings) -> None:
        from likewise.app import create_app

        self.settings = settings
        self.app = create_app(settings)
        self.functions_dir = settings.functions
        config = uvicorn.Config(
            self.app,
            port=0,
            log_level="error",
            loop="uvloop",
            http=HotProtocol,
            lifespan="on",
            ws="none",
            timeout_graceful_shutdown=2,
            access_log=False,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=lambda: asyncio.run(self._server.serve()), daemon=True)

    def __enter__(self) -> Live:
        self._thread.start()
        deadline = time.monotonic() + 300
        while not self._server.started:
            assert self._thread.is_alive(), "the server ended while starting"
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.01)
        self.port = self._server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.http = httpx.Client(base_url=self.url, timeout=600)
        while self.http.get("/readyz").status_code != 200:
            assert time.monotonic() < deadline, "the server did not get ready"
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()
        self.stop()
        self._thread.join(300)

    @property
    def connections(self) -> set:
        """The protocols of the connections that are open."""
        return self._server.server_state.connections

    @property
    def total_requests(self) -> int:
        """Requests answered so far."""
        return self._server.server_state.total_requests

    def stop(self) -> None:
        """Ask for a graceful stop."""
        self._server.should_exit = True

    @property
    def stopping(self) -> bool:
        """True once no new connections are taken."""
        return not any(each.is_serving() for each in self._server.servers)


@pytest.fixture(scope="module")
def shared_server(functions_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """One server for all tests of a file, where they do not mind what others left."""
    data = tmp_path_factory.mktemp("data")
    with Live(Settings(functions=functions_dir, data_dir=data, journal="memory", max_body_bytes=1 << 16)) as server:
        yield server


@pytest.fixture
def live(functions_dir: Path, tmp_path: Path) -> Iterator[Callable[..., Live]]:
    """Start servers with settings of one's own; each ends with the test."""
    with contextlib.ExitStack() as stack:

        def start(**settings: object) -> Live:
            given = {"functions": functions_dir, "data_dir": tmp_path / "data", "journal": "memory", **settings}
            return stack.enter_context(Live(Settings(**given)))  # type: ignore[arg-type]

        yield start


@pytest.fixture
def server(live: Callable[..., Live]) -> Live:
    """One server with the small functions, in this process."""
    return live()


@pytest.fixture
def process(functions_dir: Path) -> Iterator[Callable[..., ServerProcess]]:
    """Start servers as processes of their own, as an operator would; each ends with the test."""
    with contextlib.ExitStack() as stack:

        def start(*options: str, functions: Path = functions_dir) -> ServerProcess:
            return stack.enter_context(ServerProcess(functions, 0.95, *options))

        yield start
