"""The part of docs/conformance.md that is made from tests/interop/matrix/matrix.json.

It stands between `<!-- clients -->` and `<!-- end -->`: the scenarios, and which client was
run through which of them. The versions are those that are pinned; of programs that the
system brings, the one that matrix.json names.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
_MATRIX: Final = ROOT / "tests" / "interop" / "matrix" / "matrix.json"
_MARKED: Final = re.compile(r"(<!-- clients -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(page: str) -> str:
    """Return the page with what stands between its marks made anew."""
    matrix = json.loads(_MATRIX.read_bytes())
    scenarios = [f"| {name} | {what} |" for name, what in matrix["scenarios"].items()]
    parts = [
        "| client | version of MQTT | what was run | result |",
        "| --- | --- | --- | --- |",
        *(_row(name, client, matrix) for name, client in matrix["clients"].items()),
        "",
        "| what was run | what must be seen |",
        "| --- | --- |",
        *scenarios,
    ]
    made = "\n".join(parts)
    return _MARKED.sub(lambda marked: f"{marked[1]}\n{made}\n\n{marked[2]}", page)


def _row(name: str, client: dict[str, str], matrix: dict[str, Any]) -> str:
    versions = " and ".join(matrix["versions"].values())
    run, result = "all", "passes"
    for missing in matrix["not_offered"]:
        if missing["client"] == name:
            without = ", ".join(missing["scenarios"])
            run, result = f"all but {without}", f"passes; not offered by the client: {missing['reason']}"
    return f"| {name} {_version(name, client)} | {versions} | {run} | {result} |"


def _version(name: str, client: dict[str, str]) -> str:
    if "version" in client:
        return client["version"]
    text = (ROOT / client["pinned_in"]).read_text(encoding="utf-8")
    package = client.get("package", name)
    pinned = re.search(rf'^\s*"?{re.escape(package)}"?(?:==|: ")([\d.]+)', text, re.MULTILINE)
    if pinned is None:
        message = f"{package} is not pinned in {client['pinned_in']}"
        raise LookupError(message)
    return pinned[1]
