"""Write the pages of docs/ that are made from the code; with --check only compare them."""

import sys
from pathlib import Path

import clients
import http_api

from tokenmq import cli, config

DOCS = Path(__file__).parents[1] / "docs"


def pages() -> dict[str, str]:
    """Return every generated page, by its name in docs/."""
    return {
        "settings.md": config.document(),
        "cli.md": cli.document(),
        "http-api.md": http_api.filled(_kept("http-api.md")),
        "conformance.md": clients.filled(_kept("conformance.md")),
    }


def _kept(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def main() -> int:
    """Write or compare; return the exit code."""
    made = pages()
    old = [name for name, text in made.items() if not _is(name, text)]
    if sys.argv[1:] == ["--check"]:
        sys.stderr.write("".join(f"docs/{name} is not what the code says; run: make docs\n" for name in old))
        return 1 if old else 0
    for name in old:
        (DOCS / name).write_text(made[name], encoding="utf-8")
    return 0


def _is(name: str, text: str) -> bool:
    page = DOCS / name
    return page.exists() and page.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    sys.exit(main())
