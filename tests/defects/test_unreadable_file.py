"""A file that cannot be read is told in words, not as an errno and a repr."""

from __future__ import annotations

from pathlib import Path

import pytest

from tokenmq.cli import main


@pytest.mark.parametrize("words", [("sub", "a"), ("pub", "a", "b"), ("token", "inspect")], ids=" ".join)
def test_it_is_named_with_the_reason(
    words: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*words, "--token-file", "nope"]) == 1
    assert capsys.readouterr().err == "tokenmq: nope: No such file or directory\n"
