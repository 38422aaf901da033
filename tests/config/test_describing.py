"""What is set, and what could be, as people and machines read it."""

import dataclasses
import json
import re
from pathlib import Path

from tokenmq.config import Effective, Settings, document, effective, load
from tokenmq.config.declared import declarations
from tokenmq.config.settings import OTHER_VARIABLES, TABLES


def row(settings: Settings, table: str, key: str) -> Effective:
    return next(row for row in effective(settings) if (row.table, row.key) == (table, key))


def test_every_declared_setting_has_bounds_a_sentence_and_a_place() -> None:
    fields = [(table, field.name) for table, kind in TABLES.items() for field in dataclasses.fields(kind)]
    assert [(declared.table, declared.key) for declared in declarations()] == fields
    assert all(re.fullmatch(r"[A-Z].*\.", declared.sentence) for declared in declarations())
    assert set(TABLES) == {field.name for field in dataclasses.fields(Settings)} - {"origins"}


def test_variables_are_unique() -> None:
    names = [*(declared.variable for declared in declarations()), *OTHER_VARIABLES]
    assert len(set(names)) == len(names)


def test_every_default_is_one_that_could_be_set() -> None:
    set_ones = {
        declared.variable: ",".join(declared.default) if declared.is_list else str(declared.default)
        for declared in declarations()
        if declared.default is not None and declared.default != ()
    }
    assert (
        load(
            "/dev/null",
            {name: text.lower() if text in ("True", "False") else text for name, text in set_ones.items()},
        )
        == Settings()
    )


def test_a_default_says_so() -> None:
    assert row(Settings(), "http", "port") == Effective(
        table="http",
        key="port",
        variable="TOKENMQ_HTTP_PORT",
        value=8080,
        origin="default",
        sentence="Port of the token service; 0 takes any free one.",
    )


def test_what_is_set_names_where() -> None:
    settings = load("/dev/null", {"TOKENMQ_BROKER_TRUSTED_PROXIES": "::1", "TOKENMQ_DATA_FOLDER": "x/y"})
    assert row(settings, "broker", "trusted_proxies").value == ["::1"]
    assert row(settings, "data", "folder").value == "x/y"
    assert row(settings, "data", "folder").origin == "TOKENMQ_DATA_FOLDER"


def test_a_secret_is_masked_when_set_and_none_when_not() -> None:
    settings = load("/dev/null", {"TOKENMQ_DATABASE_URL": "postgresql://u:hunter2@db/x"})
    assert row(settings, "database", "url").value == "********"
    assert row(Settings(), "database", "url").value is None
    assert "hunter2" not in json.dumps([dataclasses.asdict(row) for row in effective(settings)])


def test_the_page_names_every_setting_and_variable() -> None:
    page = document()
    assert all(f"| `{declared.key}` | " in page and declared.sentence in page for declared in declarations())
    assert all(f"`{name}`" in page for name in OTHER_VARIABLES)
    assert all(f"## [{table}]" in page for table in TABLES)
    assert "Annotated" not in page


def test_the_page_in_the_docs_is_this_one() -> None:
    kept = Path(__file__).parents[2] / "docs" / "settings.md"
    assert kept.read_text(encoding="utf-8") == document()
