"""The declarations of what is slowed and what is written down: failures, keys, the audit trail."""

from __future__ import annotations

import dataclasses
from typing import Annotated

from msgspec import Meta

Positive = Annotated[int, Meta(ge=1)]


@dataclasses.dataclass(frozen=True, slots=True)
class AuthSettings:
    """How failed authentications are slowed, over MQTT and HTTP alike, and how often a key may be used."""

    failure_burst: Annotated[
        Positive,
        Meta(
            description="Failed authentications of one address, or with one key's id, that are answered at "
            "once; loopback and trusted proxies are not counted as addresses."
        ),
    ] = 5
    failure_rate_per_minute: Annotated[
        Positive, Meta(description="Failed authentications that are forgiven in a minute.")
    ] = 6
    max_failure_delay_seconds: Annotated[
        int,
        Meta(
            ge=0,
            le=10,
            description="Longest time that the answer to a failed authentication is held back; 0 holds none.",
        ),
    ] = 5
    key_requests_per_minute: Annotated[
        int,
        Meta(
            ge=0,
            le=1_000_000,
            description="Requests a minute that one key may make to the token service; 0 sets no limit.",
        ),
    ] = 0


@dataclasses.dataclass(frozen=True, slots=True)
class AuditSettings:
    """The audit trail."""

    retention_days: Annotated[
        int, Meta(ge=1, le=3_650, description="Time that a row of the audit trail is kept.")
    ] = 400
    refused_keys_per_minute: Annotated[
        int,
        Meta(
            ge=0,
            le=6_000,
            description="Refused keys of a minute that have a row each; of those beyond one row tells how "
            "many there were.",
        ),
    ] = 60
