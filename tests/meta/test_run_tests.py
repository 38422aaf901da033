"""The suite in parts: every test is in exactly one, and no failure or skip is lost."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# pytest without its plugins, which take seconds to load.
ALONE = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
SKIPPING = """
import pytest


@pytest.mark.interop
def test_with_a_program():
    pytest.skip("it is missing")


def test_of_ours():
    pytest.skip("not here")
"""


@pytest.fixture
def run_tests():
    spec = importlib.util.spec_from_file_location("run_tests", ROOT / "scripts" / "run_tests.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["run_tests"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["run_tests"]


def lies_in(path: Path, folder: str) -> bool:
    return (ROOT / folder) in path.parents


def test_every_file_of_tests_is_in_one_part(run_tests):
    parts = run_tests.parts()
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    for file in files:
        takers = []
        for name, told in parts.items():
            left_out = [word.removeprefix("--ignore=") for word in told if word.startswith("--ignore=")]
            folders = [word for word in told if not word.startswith("--")]
            if any(lies_in(file, one) for one in folders) and not any(lies_in(file, one) for one in left_out):
                takers.append(name)
        assert len(takers) == 1, (file, takers)


def test_folders_of_parts_are_there(run_tests):
    assert [
        one for folders in run_tests.FOLDERS.values() for one in folders if not (ROOT / one).is_dir()
    ] == []


@pytest.mark.parametrize(
    ("codes", "code"),
    [([0, 0], 0), ([0, 1], 1), ([2, 0, 1], 2), ([0, 5], 0), ([5, 5], 5), ([5, 1], 1), ([0, -9], 1)],
)
def test_exit_code_is_that_of_the_first_failure(run_tests, codes, code):
    assert run_tests.exit_code(codes) == code


def test_parts_run_and_are_shown_whole(run_tests, monkeypatch, tmp_path, capfdbinary):
    for folder, line in (("one", "assert 1 == 2"), ("two", "pass")):
        (tmp_path / "tests" / folder).mkdir(parents=True)
        (tmp_path / "tests" / folder / f"test_{folder}.py").write_text(f"def test_{folder}():\n    {line}\n")
    for name, value in ALONE.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(run_tests, "ROOT", tmp_path)
    monkeypatch.setattr(run_tests, "FOLDERS", {"first": ("tests/one",)})
    assert run_tests.run(["-q"]) == 1
    shown = capfdbinary.readouterr().out.decode()
    assert "FAILED tests/one/test_one.py::test_one" in shown and "1 passed" in shown
    assert "first: exit code 1" in shown and "others: exit code 0" in shown


def test_what_is_required_is_not_skipped(tmp_path):
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path)
    (tmp_path / "test_skipping.py").write_text(SKIPPING)
    command = [sys.executable, "-m", "pytest", "-q", "--rootdir", tmp_path, tmp_path]
    ended = subprocess.run(
        command,
        env={**os.environ, "TOKENMQ_REQUIRE_INTEROP": "1", **ALONE},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 failed, 1 skipped" in ended.stdout, ended.stdout + ended.stderr
    assert ended.returncode == 1
