"""Write the pages of docs/ that are made from the code."""

from pathlib import Path

from tokenmq import cli, config

DOCS = Path(__file__).parents[1] / "docs"

if __name__ == "__main__":
    (DOCS / "settings.md").write_text(config.document(), encoding="utf-8")
    (DOCS / "cli.md").write_text(cli.document(), encoding="utf-8")
