"""Hold the clause tags of this tree against the list of normative statements.

Usage: python scripts/clauses.py [root]
    Exit code 0 when every statement that a server must obey is tagged in src and in
    tests or has a reason; 1 otherwise, with one line a problem on standard error.

What is read: `docs/clauses.txt` (the statements), `docs/conformance.md` (the rows
`| version | number | reason |` of what is not tagged), and the text files of `src` and
`tests`. A tag is `[MQTT-x.y.z-n]` for MQTT 5.0 and `[MQTT311-x.y.z-n]` for 3.1.1,
always written in full, so that a search for one finds every place.
"""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
VERSIONS: Final = {"MQTT": "5.0", "MQTT311": "3.1.1"}
WHO: Final = ("server", "client", "both")
_NUMBER: Final = r"\d+\.\d+\.\d+-\d+"
_STATEMENT: Final = re.compile(rf"(5\.0|3\.1\.1) +({_NUMBER}) +(\w+) +(\S.*)")
_ROW: Final = re.compile(rf"^\| (5\.0|3\.1\.1) \| ({_NUMBER}) \|([^|]*)\|$", re.MULTILINE)
# Whatever begins like a tag: what is not one then is a slip.
_LOOSE: Final = re.compile(r"\[(MQTT[^\]\n-]*)-?([^\]\n]*)\]?")
_TEXTS: Final = {".py", ".json", ".cjs"}
_MADE: Final = {"__pycache__", "node_modules"}

Key = tuple[str, str]


@dataclasses.dataclass(frozen=True, slots=True)
class Statement:
    """One normative statement: who must obey it, and what it is about."""

    who: str
    words: str


@dataclasses.dataclass(slots=True)
class Findings:
    """What was found wrong, and what the tree holds.

    Attributes:
        problems: one sentence each.
        statements: by version and number.
        reasons: why a statement is not tagged.
        tagged: folder -> the statements that are tagged in it.
    """

    problems: list[str] = dataclasses.field(default_factory=list)
    statements: dict[Key, Statement] = dataclasses.field(default_factory=dict)
    reasons: dict[Key, str] = dataclasses.field(default_factory=dict)
    tagged: dict[str, set[Key]] = dataclasses.field(default_factory=lambda: {"src": set(), "tests": set()})

    def held(self) -> set[Key]:
        """Return what is tagged on both sides."""
        return self.tagged["src"] & self.tagged["tests"]


def name(key: Key) -> str:
    """Write a statement as a tag."""
    version, number = key
    word = next(word for word, known in VERSIONS.items() if known == version)
    return f"[{word}-{number}]"


def examine(root: Path) -> Findings:
    """Read a tree and find what is wrong with its tags."""
    found = Findings()
    _read_statements(root / "docs" / "clauses.txt", found)
    _read_reasons(root / "docs" / "conformance.md", found)
    for folder in found.tagged:
        for path in _texts(root / folder):
            _read_tags(path, path.relative_to(root).as_posix(), folder, found)
    _compare(found)
    return found


def _read_statements(path: Path, found: Findings) -> None:
    for at, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _STATEMENT.fullmatch(line)
        if match is None or match[3] not in WHO:
            found.problems.append(f"{path.name}:{at}: not 'version number who words': {line}")
            continue
        key = (match[1], match[2])
        if key in found.statements:
            found.problems.append(f"{path.name}:{at}: {name(key)} stands there twice")
        found.statements[key] = Statement(match[3], match[4])


def _read_reasons(path: Path, found: Findings) -> None:
    for version, number, reason in _ROW.findall(path.read_text(encoding="utf-8")):
        key = (version, number)
        if key not in found.statements:
            found.problems.append(f"{path.name}: {name(key)} is no statement of the list")
        elif key in found.reasons:
            found.problems.append(f"{path.name}: {name(key)} has two reasons")
        if not reason.strip():
            found.problems.append(f"{path.name}: {name(key)} has an empty reason")
        found.reasons[key] = reason.strip()


def _texts(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.suffix in _TEXTS and _MADE.isdisjoint(path.parts) and path.is_file():
            yield path


def _read_tags(path: Path, shown: str, folder: str, found: Findings) -> None:
    for at, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        for match in _LOOSE.finditer(line):
            version = VERSIONS.get(match[1])
            if version is None or not re.fullmatch(_NUMBER, match[2]) or match[0][-1] != "]":
                found.problems.append(
                    f"{shown}:{at}: {match[0]} is no tag: [MQTT-x.y.z-n], [MQTT311-x.y.z-n]"
                )
            elif (version, match[2]) not in found.statements:
                found.problems.append(f"{shown}:{at}: {match[0]} is no statement of the list")
            else:
                found.tagged[folder].add((version, match[2]))


def _compare(found: Findings) -> None:
    """Note what is neither tagged nor explained, and what is both."""
    held = found.held()
    for key, statement in found.statements.items():
        explained = key in found.reasons
        if key in held:
            if explained:
                found.problems.append(f"{name(key)} is tagged in src and tests, and still has a reason")
        elif statement.who != "client" and not explained:
            lacking = " and ".join(folder for folder, keys in found.tagged.items() if key not in keys)
            found.problems.append(f"{name(key)} has no tag in {lacking} and no reason: {statement.words}")


def _summary(found: Findings) -> str:
    held, counts = found.held(), []
    for version in VERSIONS.values():
        keys = {key for key in found.statements if key[0] == version}
        reasons = len(keys & found.reasons.keys())
        rest = len(keys) - len(keys & held) - reasons
        counts.append(
            f"{version}: {len(keys)} statements, {len(keys & held)} held by code and test, "
            f"{reasons} with a reason, {rest} left to clients"
        )
    return "\n".join(counts)


def main(arguments: list[str]) -> int:
    """Examine a tree, this one by default, and say what is wrong; return the exit code."""
    found = examine(Path(arguments[0]) if arguments else ROOT)
    for problem in found.problems:
        sys.stderr.write(f"{problem}\n")
    if not found.problems:
        sys.stdout.write(f"{_summary(found)}\n")
    return 1 if found.problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
