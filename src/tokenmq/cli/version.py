"""`tokenmq version`."""

from __future__ import annotations

import platform

from tokenmq import __version__
from tokenmq.cli.management import Json
from tokenmq.cli.output import print_json, print_lines


def version(*, json: Json = False) -> None:
    """Show the version.

    Args:
        json: The output.
    """
    if json:
        print_json({"version": __version__, "python": platform.python_version()})
    else:
        print_lines(f"tokenmq {__version__}")
