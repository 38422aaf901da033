"""Commands that are printed to be pasted."""

import sys
from pathlib import Path

import pytest

from tokenmq.cli.pasting import command, example_of, program


def test_a_command_begins_with_the_path_it_was_started_as() -> None:
    assert command("sub", "chat/#") == ".venv/bin/tokenmq sub 'chat/#'"


def test_a_program_found_on_the_path_is_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = tmp_path / "tokenmq"
    found.write_text("#!/bin/sh\n")
    found.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "argv", [str(found)])
    assert program() == "tokenmq"


def test_a_path_with_a_space_is_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/my tools/tokenmq"])
    assert program() == "'/my tools/tokenmq'"


def test_a_module_is_run_by_its_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/x/tokenmq/__main__.py"])
    monkeypatch.setattr(sys, "executable", "/usr/bin/python3")
    assert program() == "/usr/bin/python3 -m tokenmq"


@pytest.mark.parametrize(
    ("topic_filter", "topic"),
    [("chat/#", "chat/room1"), ("#", "room1"), ("a/+/b", "a/room1/b"), ("a/b", "a/b")],
)
def test_an_example_is_a_topic_that_the_filter_matches(topic_filter: str, topic: str) -> None:
    assert example_of(topic_filter) == topic
