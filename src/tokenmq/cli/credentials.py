"""The token (or a server's key) that a command connects with, and its username."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Annotated, Final

import msgspec
from cyclopts import Parameter

from tokenmq.cli.management import SHARED, read_dash
from tokenmq.client import unverified
from tokenmq.errors import InvalidKey, InvalidRequest, InvalidToken

TokenFile = Annotated[
    Path | None,
    Parameter(
        name="--token-file",
        group=SHARED,
        help="File with a token, or with the JSON that the token service answered; - is stdin.",
    ),
]


@Parameter(name="*")
@dataclasses.dataclass(frozen=True, slots=True)
class Credential:
    """What to connect with: a token or a key, and whose it is."""

    token: Annotated[
        str | None,
        Parameter(
            name=("--token", "--password"),
            env_var="TOKENMQ_TOKEN",
            group=SHARED,
            allow_leading_hyphen=True,
            help="Token of a user, or key of a server; - reads it from stdin. Others see what stands on a "
            "command line, so prefer the variable or a file.",
        ),
    ] = None
    token_file: TokenFile = None
    user: Annotated[
        str | None,
        Parameter(group=SHARED, help="User's id, or `server` with a key; from the token without it."),
    ] = None
    org: Annotated[
        str | None,
        Parameter(env_var="TOKENMQ_ORG", group=SHARED, help="Organization's id; from the token without it."),
    ] = None


@dataclasses.dataclass(frozen=True, slots=True)
class Login:
    """A username and the secret that goes with it."""

    username: str
    password: str = dataclasses.field(repr=False)


class _Saved(msgspec.Struct):
    """The part of a saved answer that matters: a token, or why there is none."""

    token: str = ""
    mqtt_username: str | None = None
    detail: str = "it names no token"


ANONYMOUS: Final = Credential()


def login(credential: Credential) -> Login:
    """Return what to connect with.

    Raises: InvalidKey when there is none, InvalidRequest when nothing tells the username.
    """
    saved = _saved(credential.token, credential.token_file)
    if credential.user and credential.org:
        return Login(unverified.username(credential.user, credential.org), saved.token)
    told = saved.mqtt_username or _username_in(saved.token)
    if told is None:
        raise InvalidRequest(("--user, --org", "are needed, for this is no token that names them"))
    user, _, org = told.rpartition("@")
    return Login(
        unverified.username(credential.user, org) if credential.user else f"{user}@{credential.org or org}",
        saved.token,
    )


def token_text(token: str | None, file: Path | None) -> str:
    """Return a token's text from where it is: a file first, else as given, - being stdin.

    Raises: InvalidKey when there is none.
    """
    return _saved(token, file).token


def _saved(token: str | None, file: Path | None) -> _Saved:
    if file is not None:
        content = sys.stdin.read() if str(file) == "-" else _content(file)
        if not content.lstrip().startswith("{"):
            return _Saved(token=content.strip())
        return _answer(content, file)
    text = read_dash(token)
    if not text:
        raise InvalidKey("no token: name its file with --token-file, or set TOKENMQ_TOKEN")
    return _Saved(token=text)


def _content(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InvalidKey(f"{file} holds no token: it is not text") from error


def _answer(content: str, file: Path) -> _Saved:
    try:
        saved = msgspec.json.decode(content, type=_Saved)
    except msgspec.DecodeError as error:
        raise InvalidKey(f"{file} holds no token: {error}") from error
    if not saved.token:
        raise InvalidKey(f"{file} holds no token: {saved.detail}")
    return saved


def _username_in(token: str) -> str | None:
    try:
        return unverified.read(token).username
    except InvalidToken:
        return None
