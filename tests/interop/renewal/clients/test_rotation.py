"""An identity provider signs with its next key.

This file comes after those that take their time: keys are fetched once in so many seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.interop

FETCH_SECONDS = 31


def test_page_exchanges_a_token_that_is_signed_with_the_providers_next_key(
    slower: Any, home: Any, identity_provider: Any, visit: Callable[[str], Any]
) -> None:
    identity_provider.rotate("second", "ES256")
    # Keys are fetched once in so many seconds, whatever names come.
    if identity_provider.asked:
        time.sleep(max(0, identity_provider.asked[-1] + FETCH_SECONDS - time.monotonic()))
    token = identity_provider.sign(sub="bob", iat=int(slower.now()))
    window = visit("app.example")
    window.make(slower.clock, tokenServiceUrl=slower.service.http_url)
    config = {"host": slower.service.websocket_url, "organizationId": home.id}
    info = window.ask("connectWithToken", {**config, "externalToken": token})

    assert info["mqttCredentials"]["username"] == f"bob@{home.id}"
    assert len(window.told("online")) == 1
