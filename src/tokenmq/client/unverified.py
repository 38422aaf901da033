"""A token read without checking it: for display, and to find its username.

Nothing here proves anything; only the service's `verify` does.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import json
from typing import Any
from urllib.parse import quote

from tokenmq.errors import InvalidToken


@dataclasses.dataclass(frozen=True, slots=True)
class UnverifiedToken:
    """What a token says about itself.

    Attributes:
        header: the JOSE header.
        claims: the claims, of any shape.
    """

    header: dict[str, Any]
    claims: dict[str, Any]

    @property
    def username(self) -> str | None:
        """The MQTT username that goes with it, `user@org_…`; None if it names none."""
        user_id, org_id = self.claims.get("sub"), self.claims.get("org")
        if not isinstance(user_id, str) or not isinstance(org_id, str):
            return None
        return username(user_id, org_id)

    @property
    def expires_at(self) -> int | None:
        """Its `exp` in unix seconds, if it is a number."""
        exp = self.claims.get("exp")
        return exp if isinstance(exp, int) and not isinstance(exp, bool) else None


def read(token: str) -> UnverifiedToken:
    """Decode a compact JWS, checking neither signature nor claims.

    Raises: InvalidToken when it is not one; the message does not show it.
    """
    parts = token.split(".")
    if len(parts) != 3:
        raise InvalidToken(f"a token has three parts with dots between, this has {len(parts)}")
    return UnverifiedToken(header=_object(parts[0], "header"), claims=_object(parts[1], "claims"))


def username(user_id: str, org_id: str) -> str:
    """Write the MQTT username of a user: other bytes than A-Z a-z 0-9 . _ ~ - as %XX."""
    return f"{quote(user_id, safe='')}@{org_id}"


def _object(part: str, noun: str) -> dict[str, Any]:
    try:
        padded = part + "=" * (-len(part) % 4)
        value = json.loads(base64.b64decode(padded, altchars="-_", validate=True))
    except (binascii.Error, ValueError, RecursionError) as error:
        raise InvalidToken(f"its {noun} is not base64url of JSON") from error
    if not isinstance(value, dict):
        raise InvalidToken(f"its {noun} is not a JSON object")
    return value
