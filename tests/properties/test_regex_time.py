"""No regular expression of the project takes longer than linear time, whatever text it meets.

Every pattern is found in the sources, and hostile texts are made from its own structure: each repeat is driven by what
it repeats, and then the text ends so that nothing matches.
"""

from __future__ import annotations

import ast
import contextlib
import itertools
import re
import re._constants as codes  # type: ignore[import-untyped]  # how `re` itself reads patterns; it has no public name
import re._parser as parser  # type: ignore[import-untyped]
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(path for folder in ("server", "client_sdk") for path in (ROOT / folder).rglob("*.py"))
DIRECT = ("match", "fullmatch", "search", "sub", "subn", "split", "findall", "finditer")
SEARCHING = frozenset(DIRECT[2:])
# Small steps first: an exponential pattern is caught before it takes for ever, a quadratic one at the end.
LENGTHS = (*range(2, 32), 64, 256, 1024, 4096, 16_384)
MAX_SECONDS = 0.1
"""Of this thread's own time. At the greatest length linear patterns take a fiftieth, quadratic ones five times it."""
ALPHABET = "0a A_-.:,;=/\\'\"#\n\t\x0b\x0c\x00(){}[]<>|?*+!x9Z\u00e9"


def calls_of_re(tree: ast.AST) -> Iterator[tuple[ast.Call, str]]:
    """Yield every call of the module `re` that takes a pattern, with its name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value
            if isinstance(owner, ast.Name) and owner.id == "re" and node.func.attr in ("compile", *DIRECT):
                yield node, node.func.attr


def constants(tree: ast.Module) -> dict[str, Any]:
    """Return what a module's names stand for, where literals and names before them say so."""
    found: dict[str, Any] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            with contextlib.suppress(Exception):
                found[node.targets[0].id] = eval(ast.unparse(node.value), {"__builtins__": {}}, found)
    return found


def patterns() -> dict[str, tuple[re.Pattern[Any], bool]]:
    """Return every pattern of the sources by where it stands, and whether it is searched for."""
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES}
    used: dict[str, set[str]] = {}  # methods called on a name, anywhere
    for node in itertools.chain.from_iterable(map(ast.walk, trees.values())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name | ast.Attribute):
            name = node.value.id if isinstance(node.value, ast.Name) else node.value.attr
            used.setdefault(name, set()).add(node.attr)
    found = {}
    for path, tree in trees.items():
        known = constants(tree)
        names = {
            id(node.value): target.id
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for call, how in calls_of_re(tree):
            where = f"{path.relative_to(ROOT)}:{call.lineno}"
            try:
                source = eval(ast.unparse(call.args[0]), {"__builtins__": {}}, known)
            except NameError:
                pytest.fail(f"{where}: write the pattern as literals and constants, so that it can be tested here")
            flags = [eval(ast.unparse(each), {"re": re}) for each in call.args[1:] if how == "compile"]
            flags += [eval(ast.unparse(each.value), {"re": re}) for each in call.keywords if each.arg == "flags"]
            methods = used.get(names.get(id(call), ""), set(DIRECT)) if how == "compile" else {how}
            found[where] = re.compile(source, *flags), bool(methods & SEARCHING)
    return found


CATEGORIES = {"DIGIT": r"\d", "SPACE": r"\s", "WORD": r"\w", "NOT_DIGIT": r"\D", "NOT_SPACE": r"\S", "NOT_WORD": r"\W"}


def within(each: str, code: Any, argument: Any) -> bool:
    """Return whether one item of a class has a character."""
    if code is codes.LITERAL:
        return bool(ord(each) == argument)
    if code is codes.RANGE:
        return bool(argument[0] <= ord(each) <= argument[1])
    return re.match(CATEGORIES[str(argument).removeprefix("CATEGORY_")], each) is not None


def character(items: Any) -> str:
    """Return a character of a class."""
    negated = items[0][0] is codes.NEGATE
    items = items[negated:]
    known = [
        chr(argument if code is codes.LITERAL else argument[0])
        for code, argument in items
        if code is not codes.CATEGORY
    ]
    return next(each for each in (*ALPHABET, *known) if any(within(each, *item) for item in items) != negated)


def example(tree: Any, least: int, branch: int) -> str:
    """Return a text that a part of a pattern matches: repeats at least so often, that branch where there are some."""
    text = ""
    for code, argument in tree:
        if code is codes.LITERAL:
            text += chr(argument)
        elif code is codes.NOT_LITERAL:
            text += next(each for each in ALPHABET if ord(each) != argument)
        elif code is codes.ANY:
            text += "a"
        elif code is codes.IN:
            text += character(argument)
        elif code is codes.BRANCH:
            text += example(argument[1][branch % len(argument[1])], least, branch)
        elif code is codes.SUBPATTERN:
            text += example(argument[3], least, branch)
        elif code is codes.ATOMIC_GROUP:
            text += example(argument, least, branch)
        elif code in REPEATS:
            low, high, body = argument
            text += example(body, least, branch) * min(max(low, least), high)
    return text


REPEATS = (codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT)


def drives(tree: Any, before: str) -> Iterator[tuple[str, str]]:
    """Yield (what comes before, what is repeated) for every repeat of a pattern, nested ones too."""
    for part in tree:
        code, argument = part
        if code in REPEATS:
            bodies = {example(argument[2], least, branch) for least in (0, 1, 2) for branch in range(4)}
            yield from ((before, body) for body in bodies if body)
            yield from drives(argument[2], before)
        elif code is codes.SUBPATTERN:
            yield from drives(argument[3], before)
        elif code is codes.ATOMIC_GROUP:
            yield from drives(argument, before)
        elif code is codes.BRANCH:
            for branch in argument[1]:
                yield from drives(branch, before)
        before += example([part], 0, 0)


def slowest(pattern: re.Pattern[Any], searched: bool) -> tuple[float, str]:
    """Return the longest time that a hostile text took, in seconds, and how it is made; stops at the first too long."""
    tree = parser.parse(pattern.pattern, pattern.flags)
    pairs = dict.fromkeys(drives(tree, ""))
    beginnings = dict.fromkeys(before for before, _ in pairs)
    pairs |= dict.fromkeys((before, each) for before in beginnings for each in ALPHABET)
    worst = (0.0, "")
    methods = [pattern.match, pattern.fullmatch, *([pattern.search] if searched else [])]
    for (before, driven), end, method in itertools.product(pairs, ("", "\x01", "!\n"), methods):
        for length in LENGTHS:
            text = before + driven * length + end
            hostile: Any = text.encode("latin-1") if isinstance(pattern.pattern, bytes) else text
            begin = time.thread_time()
            method(hostile)
            seconds = time.thread_time() - begin
            worst = max(worst, (seconds, f"{before!r} + {driven!r} * {length} + {end!r}"))
            if seconds > MAX_SECONDS:
                return worst
    return worst


@pytest.mark.parametrize(
    "source",
    [
        r"(a+)+b",
        r"(a|a)*b",
        r"(?:\s*\d{1,12}L?\s*,?)*\)",
        r"\{\s*'shape'\s*:\s*\(((?:\s*\d{1,12}L?\s*,?)*)\s*\)\s*,?\s*\}",
        rb"x(\w*)*\.",
        r"<(\d+,?\d*)*>",
        r"\s*\s*\s*x",
    ],
)
def test_slow_patterns_are_caught(source: str) -> None:
    """Exponential, cubic: the test below would see them."""
    assert slowest(re.compile(source), searched=False)[0] > MAX_SECONDS


def test_slow_searches_are_caught() -> None:
    """Linear where it begins, quadratic where it is looked for."""
    assert slowest(re.compile(r"\d+x"), searched=False)[0] < MAX_SECONDS
    assert slowest(re.compile(r"\d+x"), searched=True)[0] > MAX_SECONDS


PATTERNS = patterns()


def test_patterns_are_found() -> None:
    """Some that must be there."""
    files = {where.partition(":")[0] for where in PATTERNS}
    assert {"server/likewise/features/array_formats.py", "server/likewise/features/pnm.py"} <= files


@pytest.mark.parametrize("where", PATTERNS)
def test_every_pattern_takes_linear_time(where: str) -> None:
    """Whatever text it meets, at every length up to thousands."""
    pattern, searched = PATTERNS[where]
    seconds, text = slowest(pattern, searched)
    assert seconds < MAX_SECONDS, f"{pattern.pattern!r} took {seconds:.2f} s on {text}"
