"""Rules of this tree that no other tool holds."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import tokenmq
from tokenmq.config import BrokerSettings, HttpSettings
from tokenmq.errors import InvalidKey
from tokenmq.tokens import secret

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "tokenmq"
MAX_LINES = 400
# What is made and never committed, as .gitignore has it.
MADE = frozenset({"build", "dist", "node_modules", "__pycache__", "tokenmq-data"})
# Tokens that are no secret.
VECTORS = ROOT / "tests" / "vectors"
# One of ours: its header begins with the type at+jwt.
OURS = re.compile(r"\beyJ0eXAiOiJhdCtqd3Qi[\w-]*\.eyJ[\w-]{16,}\.[\w-]{16,}")


def committed() -> Iterator[tuple[Path, str]]:
    """Yield every text file of the tree that is not made, with what is in it."""
    folders = [ROOT]
    while folders:
        for path in sorted(folders.pop().iterdir()):
            if path.name in MADE or path.suffix == ".egg-info":
                continue
            if path.is_dir() and not (path.name.startswith(".") and path.name != ".ci"):
                folders.append(path)
            elif path.is_file() and not path.name.startswith(".coverage"):
                try:
                    yield path, path.read_text(encoding="utf-8")
                except UnicodeDecodeError:
                    continue


TREE = list(committed())


def test_tree_was_found() -> None:
    names = {path.relative_to(ROOT).as_posix() for path, _ in TREE}
    assert {"README.md", "Makefile", ".ci/run", "src/tokenmq/py.typed", "docs/cli.md"} <= names


def test_no_file_of_code_is_longer_than_it_may_be() -> None:
    folders = ("src", "bench", "fuzz", "chaos", "scripts")
    code = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    long = {path.name: count for path in code if (count := len(path.read_bytes().splitlines())) > MAX_LINES}
    assert code and not long


def test_every_limit_of_the_broker_and_of_http_is_set_by_a_test() -> None:
    """Each is obeyed as it was set, and not only its default."""
    tests = "\n".join(text for path, text in TREE if path.is_relative_to(ROOT / "tests"))
    limits = [field for table in (BrokerSettings, HttpSettings) for field in dataclasses.fields(table)]
    names = [field.name for field in limits if type(field.default) is int]
    set_somewhere = r'\b{0}=|"{0}": \d|_{1}"?[=:]'
    assert len(names) > 30
    assert not [name for name in names if not re.search(set_somewhere.format(name, name.upper()), tests)]


def test_topics_are_matched_in_one_place() -> None:
    """Whoever compares a level with a wildcard, or matches patterns, has begun a second matcher."""
    second = re.compile(r"""[=!]= ?["'][+#]["']|["'][+#]["'] ?[=!]=|fnmatch|topic_matches_sub""")
    folders = (SOURCE, ROOT / "bench", ROOT / "fuzz", ROOT / "chaos")
    code = [path for folder in folders for path in folder.rglob("*.py")]
    assert not [
        path.relative_to(ROOT).as_posix()
        for path in code
        if path.parent != SOURCE / "topics" and second.search(path.read_text(encoding="utf-8"))
    ]


def test_no_file_names_a_host_that_packages_come_from() -> None:
    hosts = re.compile(r"pypi\.org|pythonhosted\.org|npmjs\.(?:org|com)|deb\.debian\.org")
    assert not [path.relative_to(ROOT).as_posix() for path, text in TREE if hosts.search(text)]


def test_no_file_names_a_place_on_one_machine() -> None:
    place = re.compile(r"(?<![\w.*])/(?:home|root|Users|work|tmp)/\w")
    assert not [path.relative_to(ROOT).as_posix() for path, text in TREE if place.search(text)]


def modules() -> list[str]:
    found = pkgutil.walk_packages(tokenmq.__path__, "tokenmq.")
    # Alembic's scripts run inside of Alembic only.
    return [
        module.name for module in found if ".migrations" not in module.name and module.name[-8:] != "__main__"
    ]


@pytest.mark.parametrize("name", modules())
def test_what_a_module_offers_is_there_and_once(name: str) -> None:
    module = importlib.import_module(name)
    offered = getattr(module, "__all__", [])
    assert len(offered) == len(set(offered))
    assert all(hasattr(module, one) for one in offered)


def test_package_that_offers_names_of_its_modules_says_which() -> None:
    silent = []
    for path in SOURCE.rglob("__init__.py"):
        text = path.read_text(encoding="utf-8")
        if "\nfrom tokenmq" in text and "__all__" not in text:
            silent.append(path.relative_to(ROOT).as_posix())
    assert not silent


def test_types_are_part_of_the_package() -> None:
    assert (SOURCE / "py.typed").exists()


def test_no_key_of_ours_is_in_the_tree() -> None:
    """One with a right checksum: what only looks like one is an example."""
    found = []
    for path, text in TREE:
        for shown in secret.PATTERN.finditer(text):
            try:
                secret.parse(shown[0])
            except InvalidKey:
                continue
            found.append(path.relative_to(ROOT).as_posix())
    assert not [name for name in found if not name.startswith("tests/")]


def test_no_token_of_ours_is_in_the_tree() -> None:
    assert not [
        path.relative_to(ROOT).as_posix()
        for path, text in TREE
        if VECTORS not in path.parents and OURS.search(text)
    ]
    assert OURS.search((VECTORS / "tokens.json").read_text(encoding="utf-8"))


def test_no_private_key_is_in_the_tree() -> None:
    pem = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----\s+[A-Za-z0-9+/]{40}")
    assert not [path.relative_to(ROOT).as_posix() for path, text in TREE if pem.search(text)]
