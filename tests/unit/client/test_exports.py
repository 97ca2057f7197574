"""The public names are all there, and no others."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import pydoc
import re
from pathlib import Path

import pytest

import likewise_client
from likewise_client import AsyncClient, Client, LikewiseClientError
from likewise_client._operations import Operations

ROOT = Path(__file__).parents[3]

# What modules share with each other but apps never see.
INTERNAL = {
    "Background",
    "BaseClient",
    "Batching",
    "Body",
    "Budget",
    "CacheStatus",
    "Call",
    "Compute",
    "Exchange",
    "FakeFunction",
    "KeyFirst",
    "Latencies",
    "Local",
    "Lookup",
    "Method",
    "Methods",
    "Nodes",
    "Operations",
    "Picture",
    "Race",
    "RefusedError",
    "Reply",
    "Reuse",
    "ReuseOptions",
    "Send",
    "Settings",
    "Sleep",
    "Sockets",
    "StoredEntry",
    "Tally",
    "Trail",
    "Waiting",
}


def test_all_is_complete() -> None:
    """Every public class of every module is exported, or internal on purpose; every exported name exists."""
    found = set()
    for module in pkgutil.iter_modules(likewise_client.__path__):
        if module.name.startswith("_"):
            loaded = importlib.import_module(f"likewise_client.{module.name}")
            for name, value in vars(loaded).items():
                if inspect.isclass(value) and value.__module__ == loaded.__name__ and not name.startswith("_"):
                    found.add(name)
    aliases = {
        "CacheControl",
        "DeviceCache",
        "DeviceCacheInfo",
        "Input",
        "KeyFunction",
        "OnDevice",
        "OnDeviceInfo",
        "Outcome",
        "__version__",
    }
    assert set(likewise_client.__all__) == (found - INTERNAL) | aliases
    assert all(hasattr(likewise_client, name) for name in likewise_client.__all__)
    assert likewise_client.__all__ == sorted(likewise_client.__all__)


def test_every_module_is_underscored_but_testing() -> None:
    """What is not in `__all__` is nobody's to import."""
    public = [m.name for m in pkgutil.iter_modules(likewise_client.__path__) if not m.name.startswith("_")]
    assert public == ["testing"]


def test_every_error_has_one_base() -> None:
    """One except clause catches them all."""
    errors = [getattr(likewise_client, name) for name in likewise_client.__all__]
    errors = [one for one in errors if inspect.isclass(one) and issubclass(one, Exception)]
    assert len(errors) > 15
    assert all(issubclass(one, LikewiseClientError) for one in errors)


def test_both_clients_have_the_same_methods() -> None:
    """Same names, same parameters; the asynchronous ones are awaited."""
    methods = {name for name in vars(Client) if not name.startswith("_")} - {"close"}
    assert methods == {name for name in vars(AsyncClient) if not name.startswith("_")} - {"aclose"}
    for name in methods:
        one, other = getattr(Client, name), getattr(AsyncClient, name)
        assert inspect.signature(one).parameters.keys() == inspect.signature(other).parameters.keys()
        assert inspect.iscoroutinefunction(other) == (name not in ("reuse", "entries", "stream"))
        assert inspect.isasyncgenfunction(other) == inspect.isgeneratorfunction(one)
        assert one.__doc__
        assert other.__doc__


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_help_and_completion_know_every_method(kind: type) -> None:
    """Each is a plain function of the class with the signature and documentation of its one declaration."""
    shown = pydoc.plain(pydoc.render_doc(kind))
    for name, operation in vars(Operations).items():
        if name.startswith("_"):
            continue
        method = vars(kind)[name]
        assert inspect.isfunction(method)
        assert method.__doc__ == operation.__doc__
        parameters = inspect.signature(operation).parameters
        assert list(inspect.signature(method).parameters) == list(parameters)
        assert re.search(rf" {name}\([\s|]*self\b", shown)  # newer Pythons break long signatures
        assert "Steps" not in str(inspect.signature(method).return_annotation)


def test_an_app_may_override_a_method() -> None:
    """What a subclass defines stays."""

    class Mine(Client):
        def stats(self) -> dict[str, int]:  # type: ignore[override]
            return {"mine": 1}

    assert Mine().stats() == {"mine": 1}
    assert Mine.infer is Client.infer


def test_the_oldest_python_is_the_one_that_is_checked() -> None:
    """What the package says it needs is what its code is held to; `.ci/run` runs these tests on it."""
    project = (ROOT / "client_sdk" / "pyproject.toml").read_text()
    assert 'requires-python = ">=3.9"' in project
    for file in (ROOT / "client_sdk" / "likewise_client").rglob("*.py"):
        ast.parse(file.read_text(), feature_version=(3, 9))
