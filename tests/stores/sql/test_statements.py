"""No SQL is built out of strings (SECURITY, V-111)."""

import ast
from pathlib import Path

import pytest

import tokenmq

SOURCES = sorted(Path(tokenmq.__file__).parent.rglob("*.py"))
# What takes SQL as text.
LITERAL_TAKERS = {"text", "exec_driver_sql", "executescript", "literal_column", "fetchval", "fetchrow"}
TAKERS = {*LITERAL_TAKERS, "execute", "executemany"}
WORDS = ("SELECT ", "INSERT ", "UPDATE ", "DELETE ", "PRAGMA ", "BEGIN ", "CREATE TABLE")
DIALECTS = {"dialect.py", "holding.py", "postgresql.py"}
# Passes on, by its attribute `string`, what SQLAlchemy has written.
BULK = "bulk.py"


def called(node: ast.Call) -> str:
    function = node.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def is_built(node: ast.AST) -> bool:
    """Tell whether a string is put together: f"…", "…" + x, "…" % x, "…".format(x)."""
    if isinstance(node, ast.JoinedStr):
        return True
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mod):
        return any(
            isinstance(side, ast.JoinedStr)
            or (isinstance(side, ast.Constant) and isinstance(side.value, str))
            for side in (node.left, node.right)
        )
    return isinstance(node, ast.Call) and called(node) in {"format", "join", "replace"}


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_v111_no_sql_is_built_out_of_strings(source):
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and called(node) in TAKERS:
            assert not any(map(is_built, node.args)), f"{source}:{node.lineno}"


@pytest.mark.parametrize(
    "source", [path for path in SOURCES if "/stores/" in str(path)], ids=lambda p: p.stem
)
def test_v111_sql_as_text_is_a_literal(source):
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and called(node) in LITERAL_TAKERS:
            compiled = source.name == BULK and getattr(node.args[0], "attr", None) == "string"
            assert compiled or isinstance(node.args[0], ast.Constant), f"{source}:{node.lineno}"


@pytest.mark.parametrize(
    "source",
    [path for path in SOURCES if path.name not in DIALECTS and "/stores/" in str(path)],
    ids=lambda p: p.stem,
)
def test_sql_of_one_database_stands_in_the_dialects_alone(source):
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            assert not node.value.startswith(WORDS), f"{source}:{node.lineno}"
