"""The script that holds clause tags: what it lets pass, and each thing that it names."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
LIST = """# a comment

5.0    1.1.1-1   both    one
5.0    1.1.1-2   client  two
5.0    1.1.1-10  server  ten
3.1.1  1.1.1-1   server  another one
"""
PAGE = "| version | number | reason |\n| --- | --- | --- |\n| 5.0 | 1.1.1-10 | not built yet |\n"


def tag(number: str, word: str = "") -> str:
    """Write a tag in two parts: this file is examined, too."""
    return "[" + f"MQTT{word}-{number}]"


BOTH = f"x = 1  # {tag('1.1.1-1')} {tag('1.1.1-1', '311')}\n"


@pytest.fixture(scope="module")
def clauses() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("clauses", ROOT / "scripts" / "clauses.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where its dataclasses look it up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture
def problems(clauses: ModuleType, tmp_path: Path) -> Callable[..., Any]:
    """Make a tree that is as it should be but for what is given, and return what is wrong with it."""

    def problems(
        *, statements: str = LIST, page: str = PAGE, src: str = BOTH, tests: str = BOTH
    ) -> list[str]:
        files = {
            "docs/clauses.txt": statements,
            "docs/conformance.md": page,
            "src/a/one.py": src,
            "tests/a/test_one.py": tests,
        }
        for where, text in files.items():
            path = tmp_path / where
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return clauses.examine(tmp_path).problems

    return problems


def test_a_tree_that_is_as_it_should_be_has_no_problems(problems: Callable[..., Any]) -> None:
    assert problems() == []


def test_what_only_clients_obey_may_be_tagged_or_not(problems: Callable[..., Any]) -> None:
    assert problems(src=BOTH + f"# {tag('1.1.1-2')}\n") == []


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (
            {"src": "", "tests": BOTH},
            [
                f"{tag('1.1.1-1')} has no tag in src and no reason: one",
                f"{tag('1.1.1-1', '311')} has no tag in src and no reason: another one",
            ],
        ),
        (
            {"tests": f"# {tag('1.1.1-1')}\n"},
            [f"{tag('1.1.1-1', '311')} has no tag in tests and no reason: another one"],
        ),
        (
            {"page": ""},
            [f"{tag('1.1.1-10')} has no tag in src and tests and no reason: ten"],
        ),
        (
            {"page": PAGE + "| 5.0 | 1.1.1-1 | why |\n"},
            [f"{tag('1.1.1-1')} is tagged in src and tests, and still has a reason"],
        ),
        (
            {"page": PAGE + PAGE},
            [f"conformance.md: {tag('1.1.1-10')} has two reasons"],
        ),
        (
            {"page": PAGE + "| 3.1.1 | 1.1.1-10 | why |\n"},
            [f"conformance.md: {tag('1.1.1-10', '311')} is no statement of the list"],
        ),
        (
            {"page": PAGE.replace("not built yet", "")},
            [f"conformance.md: {tag('1.1.1-10')} has an empty reason"],
        ),
        (
            {"tests": BOTH + f"# {tag('1.1.1-3')}\n"},
            [f"tests/a/test_one.py:2: {tag('1.1.1-3')} is no statement of the list"],
        ),
        (
            {"statements": LIST + "5.0  1.1.1-1  server  again\n"},
            [f"clauses.txt:7: {tag('1.1.1-1')} stands there twice"],
        ),
        (
            {"statements": LIST + "5.0  1.1.1-4  nobody  x\n"},
            ["clauses.txt:7: not 'version number who words': 5.0  1.1.1-4  nobody  x"],
        ),
        (
            {"statements": LIST + "4.0  1.1.1-4  both  x\n"},
            ["clauses.txt:7: not 'version number who words': 4.0  1.1.1-4  both  x"],
        ),
    ],
    ids=[
        "no tag in src",
        "no tag in tests",
        "neither tags nor reason",
        "a reason too many",
        "two reasons",
        "a reason for nothing",
        "an empty reason",
        "an unknown number",
        "listed twice",
        "nobody's",
        "another version",
    ],
)
def test_what_is_wrong_is_named(
    problems: Callable[..., Any], changed: dict[str, str], told: list[str]
) -> None:
    assert problems(**changed) == told


@pytest.mark.parametrize(
    "slip",
    [
        tag("1.1.1-1, -2"),
        tag("1.1.1-1..3"),
        tag("1.1.1"),
        tag("1.1.1-1", "5"),
        tag("1.1.1-1")[:-1],
        tag(" 1.1.1-1"),
        tag("")[:-2] + " 1.1.1-1]",
    ],
)
def test_what_only_looks_like_a_tag_is_named(problems: Callable[..., Any], slip: str) -> None:
    (problem,) = problems(src=BOTH + f"# {slip}\n")
    assert problem.startswith(f"src/a/one.py:2: {slip} is no tag")


def test_this_tree_holds_its_tags(clauses: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert clauses.main([]) == 0, capsys.readouterr().err
    assert "5.0: 251 statements" in capsys.readouterr().out
