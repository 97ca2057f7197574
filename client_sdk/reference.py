"""Writes docs/sdk-reference.md from the docstrings and signatures of likewise_client.

python client_sdk/reference.py            writes it
python client_sdk/reference.py --check    says whether it is what would be written
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import likewise_client
from likewise_client import testing
from likewise_client._base import Settings

PAGE = Path(__file__).resolve().parents[1] / "docs" / "sdk-reference.md"
INTRODUCTION = """# SDK reference

Everything that `likewise_client` exports, written by `python client_sdk/reference.py` from its docstrings. The
[guide](sdk.md) says what it is for. `AsyncClient` has the methods of `Client`, awaited.
"""
NAMED = re.compile(r"([a-z_]+(?:(?:, | or )[a-z_]+)*): ")


def page() -> str:
    """Return the whole page."""
    sections: dict[str, list[str]] = {"Clients": [], "Types": [], "Errors": [], "Aliases": []}
    for name in likewise_client.__all__:
        value = getattr(likewise_client, name)
        if name in ("Client", "AsyncClient"):
            sections["Clients"] += of_class(name, value)
        elif inspect.isclass(value):
            sections["Errors" if issubclass(value, Exception) else "Types"] += of_class(name, value)
        elif not name.startswith("_"):
            sections["Aliases"] += of_alias(name)
    sections["`likewise_client.testing`"] = [
        line for name in testing.__all__ for line in of_class(name, getattr(testing, name))
    ]
    lines = [INTRODUCTION]
    for title, section in sections.items():
        lines += [f"## {title}\n", *section]
    return "\n".join(lines).rstrip() + "\n"


def of_class(name: str, kind: type) -> Iterator[str]:
    """Yield the lines of a class."""
    bases = ", ".join(f"`{base.__name__}`" for base in kind.__bases__ if base.__name__ in likewise_client.__all__)
    yield f"### `{name}`" + (f" (a {bases})" if bases else "") + "\n"
    if name in ("Client", "AsyncClient"):
        first = inspect.signature(kind).parameters["nodes"].default
        settings = textwrap.fill(", ".join(["transport", *Settings.__annotations__]), 100)
        yield f"```text\n{name}(\n    nodes={first!r},\n    *,\n{textwrap.indent(settings, '    ')},\n)\n```\n"
    elif "__init__" in vars(kind) and not hasattr(kind, "__dataclass_fields__"):
        yield f"```text\n{name}{_signature(vars(kind)['__init__'])}\n```\n"
    yield _said(kind.__doc__) + "\n"
    fields = [
        f"- `{field}: {annotation}`" + (f": {said}" if said else "") for field, annotation, said in fields_of(kind)
    ]
    if fields:
        yield "\n".join(fields) + "\n"
    inherited = dir(kind) if name == "Client" else vars(kind)
    for member in sorted(inherited):
        if member.startswith("_") or (name == "AsyncClient" and member != "aclose"):
            continue
        value = inspect.getattr_static(kind, member)
        if isinstance(value, property):
            yield f"#### `{name}.{member}`\n\n{_said(value.__doc__)}\n"
        elif inspect.isfunction(value):
            yield f"#### `{name}.{member}`\n\n```text\n{member}{_signature(value)}\n```\n\n{_said(value.__doc__)}\n"


def fields_of(kind: type) -> Iterator[tuple[str, str, str]]:
    """Yield the annotated fields of a class: name, type, and what is said below it."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    assert isinstance(tree, ast.ClassDef)
    for here, following in zip(tree.body, [*tree.body[1:], None]):
        if (
            not isinstance(here, ast.AnnAssign)
            or not isinstance(here.target, ast.Name)
            or here.target.id.startswith("_")
        ):
            continue
        yield here.target.id, _written(here), _docstring(following)


def of_alias(name: str) -> Iterator[str]:
    """Yield the lines of a name for a type, from where it is assigned."""
    for file in sorted(Path(likewise_client.__file__).parent.glob("*.py")):
        body = ast.parse(file.read_text(encoding="utf-8")).body
        for here, following in zip(body, body[1:]):
            if isinstance(here, ast.Assign) and [getattr(target, "id", "") for target in here.targets] == [name]:
                yield f"### `{name}`\n\n```text\n{ast.unparse(here)}\n```\n\n{_docstring(following)}\n"
                return


def _written(field: ast.AnnAssign) -> str:
    value = "" if field.value is None else f" = {ast.unparse(field.value)}"
    return ast.unparse(field.annotation) + ("" if value.startswith(" = field(") else value)


def _docstring(node: ast.stmt | None) -> str:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return " ".join(node.value.value.split())
    return ""


def _signature(function: Any) -> str:
    """Return a signature without `self`, each parameter on a line of its own where it is long."""
    signature = inspect.signature(function)
    parameters = list(signature.parameters.values())[1:]
    text = str(signature.replace(parameters=parameters)).replace("'", "")
    if len(text) < 100:
        return text
    returned = text.rpartition(" -> ")[2]
    lines = [str(parameter).replace("'", "") for parameter in parameters]
    named = [each.kind is inspect.Parameter.KEYWORD_ONLY for each in parameters]
    if True in named:
        lines.insert(named.index(True), "*")
    return "(\n" + "".join(f"    {line},\n" for line in lines) + f") -> {returned}"


def _said(text: str | None) -> str:
    """Return a docstring as Markdown: what is said of parameters becomes a list."""
    lines: list[str] = []
    for line in inspect.cleandoc(text or "").replace("\n    ", " ").split("\n"):
        said = NAMED.match(line)
        lines.append(f"- `{said[1]}`: {line[said.end() :]}" if said else line)
        if said and len(lines) > 1 and lines[-2] and not lines[-2].startswith("- "):
            lines.insert(-1, "")
    return "\n".join(lines)


def main() -> int:
    """Write the page, or compare it; return the exit code."""
    text = page()
    if "--check" not in sys.argv:
        PAGE.write_text(text, encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
        print(f"{PAGE.name} is not what the docstrings say: run python client_sdk/reference.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
