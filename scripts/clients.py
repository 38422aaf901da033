"""The parts of docs/conformance.md that are made from what the interop tests run.

Between `<!-- clients -->` and `<!-- end -->` stand the scenarios of matrix.json, and which
client was run through which of them; between `<!-- renewals -->` and its end, what the
clients of revocations.json saw. The versions are those that are pinned; of programs that
the system brings, the one that the file names.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
_INTEROP: Final = ROOT / "tests" / "interop"
_MATRIX: Final = _INTEROP / "matrix" / "matrix.json"
_REVOCATIONS: Final = _INTEROP / "renewal" / "clients" / "revocations.json"


def filled(page: str) -> str:
    """Return the page with what stands between its marks made anew."""
    for mark, made in (
        ("clients", _clients(json.loads(_MATRIX.read_bytes()))),
        ("renewals", _renewals(json.loads(_REVOCATIONS.read_bytes()))),
    ):
        before, begin, rest = page.partition(f"<!-- {mark} -->\n")
        _, end, after = rest.partition("<!-- end -->")
        page = f"{before}{begin}\n{made}\n\n{end}{after}"
    return page


def _clients(matrix: dict[str, Any]) -> str:
    scenarios = [f"| {name} | {what} |" for name, what in matrix["scenarios"].items()]
    return "\n".join(
        [
            "| client | version of MQTT | what was run | result |",
            "| --- | --- | --- | --- |",
            *(_row(name, client, matrix) for name, client in matrix["clients"].items()),
            "",
            "| what was run | what must be seen |",
            "| --- | --- |",
            *scenarios,
        ]
    )


def _renewals(table: dict[str, Any]) -> str:
    rows = (
        f"| {_pinned(row)} | {row['mqtt']} | {row['renewal']} | {row['ended']} | {row['again']} |"
        for row in table["clients"].values()
    )
    revocations = (f"| {name} | {what} |" for name, what in table["revocations"].items())
    return "\n".join(
        [
            "| client | version of MQTT | renews by | its connection ends with | its next CONNECT |",
            "| --- | --- | --- | --- | --- |",
            *rows,
            "",
            "| revoked by | what the request names |",
            "| --- | --- |",
            *revocations,
        ]
    )


def _pinned(row: dict[str, str]) -> str:
    name = row["client"]
    return f"{name} {_version(name, row)}" if "pinned_in" in row else name


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
