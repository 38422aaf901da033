"""How both clients of HTTP are set up."""

from __future__ import annotations

import re
from typing import Any

from tokenmq.client.replies import is_web_address
from tokenmq.errors import InvalidRequest


def client_settings(url: str, key: str, timeout_seconds: float) -> dict[str, Any]:
    """Return the settings: the key goes to the URL alone, no redirect, no proxy variable.

    Raises: InvalidRequest for a URL or a key that cannot be one.
    """
    if not re.fullmatch(r"[!-~]+", key):
        raise InvalidRequest(("key", "has characters that no key has"))
    if not is_web_address(url):
        raise InvalidRequest(("url", f"{url!r} is no address of a token service, as http://127.0.0.1:8080"))
    return {
        "base_url": url.rstrip("/"),
        "headers": {"Authorization": f"Bearer {key}"},
        "timeout": timeout_seconds,
        "trust_env": False,
    }
