"""`$auth/events`: what the broker tells a connection about its token and its messages."""

from __future__ import annotations

import json
import logging
from typing import Any, Final

from tokenmq.client.messages import Message
from tokenmq.errors import Denied

logger = logging.getLogger("tokenmq.client")

AUTH_EVENTS: Final = "$auth/events"


def told_by(message: Message) -> tuple[str, Any] | None:
    """Return an event's name and what it tells; None for one of a kind that this client does not know.

    `narrowed` comes with filters, `denied` with an error, `dropped` with a number of messages.
    """
    try:
        event: dict[str, Any] = message.json()
        match event.get("event"):
            case "narrowed":
                return "narrowed", list(event["suspended"])
            case "denied":
                return "denied", Denied(str(event["action"]), str(event["topic"]), str(event["reason"]))
            case "dropped":
                return "dropped", int(event["count"])
    except (json.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError):
        logger.warning("an event of the broker cannot be read: %r", message.payload[:200])
    return None
