"""The command line: one file a command, this one puts them together.

Commands return nothing, or an exit code where it is their own; what goes wrong is
raised and told in `main`, in one sentence on stderr. The exit codes are in `exits`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError

from tokenmq import __version__
from tokenmq.cli import (
    acl,
    audit,
    config,
    history,
    init,
    key,
    org,
    provider,
    pub,
    retained,
    serve,
    session,
    signing_key,
    sub,
    token,
    user,
    version,
)
from tokenmq.cli.exits import FAILED, INTERRUPTED, OK, USAGE, status_of
from tokenmq.cli.output import printable, warn
from tokenmq.errors import TokenmqError

__all__ = ["app", "document", "main"]

EXIT_CODES = (
    "0 done, 1 failed, 2 wrong usage, 3 not authorised, 4 not found, "
    "5 token service or broker unreachable or unavailable, 130 interrupted."
)

app = App(
    name="tokenmq",
    help="Short-lived, scoped tokens for MQTT: token service, broker and client.",
    help_epilogue=f"Exit codes: {EXIT_CODES}",
    version=__version__,
    help_format="plaintext",
    suppress_keyboard_interrupt=False,
)
for command in (serve.serve, init.init, pub.pub, sub.sub, audit.audit, config.config, version.version):
    app.command(command)
for group in (
    org.app, key.app, token.app, acl.app, provider.app, user.app, session.app, retained.app, history.app,
    signing_key.app,
):  # fmt: skip
    app.command(group)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        arguments: without the program's name; None takes those of this process.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        result = app(words, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
    except CycloptsError as error:
        warn(f"tokenmq: {_one_sentence(error)}")
        return USAGE
    except TokenmqError as error:
        warn(f"tokenmq: {error}")
        return status_of(error)
    except BrokenPipeError:
        # The reader went away (`| head`); the interpreter's last flush must not fail on it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return FAILED
    except OSError as error:
        warn(f"tokenmq: {_reason(error)}")
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    return result if isinstance(result, int) else OK


def document() -> str:
    """Write the reference page of all commands, in Markdown."""
    commands = app.generate_docs(output_format="markdown").rstrip()
    return f"{commands}\n\n## Exit codes\n\n{EXIT_CODES}\n"


def _reason(error: OSError) -> str:
    """Say what the operating system said, without its number."""
    if error.strerror is None:
        return str(error)
    return error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"


def _one_sentence(error: CycloptsError) -> str:
    error.verbose = False
    chain = " ".join(error.command_chain or ())
    told = printable(" ".join(str(error).split()))
    return f"{told} (`tokenmq {chain + ' ' if chain else ''}--help` tells more)"
