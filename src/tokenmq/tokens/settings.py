"""What an organization may set about itself, and the bounds it must keep.

The names are those of the JSON document (`settings` of /v2/organizations). Types are
checked where JSON becomes values; what hangs together across fields is checked here.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from tokenmq.access.origins import is_origin_pattern
from tokenmq.errors import InvalidRequest
from tokenmq.limits import MAX_TTL_SECONDS, MIN_TTL_SECONDS
from tokenmq.tokens.subjects import text_problem

# The wire contract: how long after its expiry a family may still be refreshed, at most.
MAX_REFRESH_GRACE_SECONDS = 900
# Ten years: no family needs more, and every expiry stays a year of four digits.
MAX_FAMILY_SECONDS = 315_360_000
# MQTT 5 §3.1.2.11.2: four bytes; all ones means "never", which an operator may want.
MAX_SESSION_EXPIRY_SECONDS = 0xFFFF_FFFF
# An origin list and a tree list are small documents of an organization, not data.
MAX_ALLOWED_ORIGINS = 64
# More of anything than one process holds: a bound for typing errors.
MAX_QUOTA = 10_000_000
_QUOTAS = ("max_connections", "max_sessions", "max_retained_messages", "max_publish_messages_per_second")
MAX_BYTES_PER_SECOND = 10_000_000_000
# A tebibyte: a bound for typing errors, too.
MAX_HISTORY_BYTES = 2**40
MAX_DOLLAR_TREES = 16
MAX_TREE_BYTES = 64
# The broker's own trees: nobody can make ordinary topics of them.
RESERVED_TREES = frozenset({"$SYS", "$share", "$auth", "$presence", "$history"})
_NOT_IN_A_TREE = frozenset("/+# {}")


class OrganizationSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an organization may set; every field has a default.

    Attributes:
        default_ttl_seconds: life of a token that asks for none.
        min_ttl_seconds: the shortest life that may be asked for.
        max_ttl_seconds: the longest life that may be asked for.
        family_max_seconds: from the first issue to the absolute end of a family.
        refresh_grace_seconds: how long after its expiry a family may be refreshed.
        superseded_reconnect: a superseded or expired password of a living family opens a
            connection again from a client id that was connected not long ago.
        reconnect_window_seconds: how long ago that may be; a longer life counts instead.
        reuse_detection: a superseded password that is shown to be refreshed or exchanged
            revokes its family.
        refresh_spread: `refresh_recommended_at` is spread, family by family, over the 5 %
            of the life before nine tenths of it.
        allowed_origins: browser origins that may connect; a port may be `*`.
        default_session_expiry_seconds: session expiry of an MQTT 5 client that names none.
        refused_publish_311: what a 3.1.1 client meets whose QoS 1 or 2 PUBLISH is
            refused: `drop` acknowledges and drops, `close` closes.
        max_connections: at one time.
        max_sessions: that outlive their connections, at one time.
        max_retained_messages: at one time.
        max_publish_messages_per_second: of one client; 0: as configured for the broker.
        max_publish_bytes_per_second: likewise.
        history_bytes: what its recorded messages may take up, each with what goes along
            with it; the oldest are dropped.
        dollar_trees: `$` trees whose topics are ordinary in all but name.
    """

    default_ttl_seconds: int = 3_600
    min_ttl_seconds: int = MIN_TTL_SECONDS
    max_ttl_seconds: int = MAX_TTL_SECONDS
    family_max_seconds: int = 2_592_000
    refresh_grace_seconds: int = 300
    superseded_reconnect: bool = True
    reconnect_window_seconds: int = 3_600
    reuse_detection: bool = True
    refresh_spread: bool = False
    allowed_origins: tuple[str, ...] = ("http://localhost:*", "http://127.0.0.1:*")
    default_session_expiry_seconds: int = 0
    refused_publish_311: Literal["drop", "close"] = "drop"
    max_connections: int = 20_000
    max_sessions: int = 10_000
    max_retained_messages: int = 10_000
    max_publish_messages_per_second: int = 0
    max_publish_bytes_per_second: int = 0
    history_bytes: int = 1_073_741_824
    dollar_trees: tuple[str, ...] = ("$notifications", "$spaces")


def check(settings: OrganizationSettings) -> None:
    """Hold settings against their bounds and against each other.

    Raises: InvalidRequest, which names every field that is wrong.
    """
    problems = [*_life_problems(settings), *_list_problems(settings)]
    if not 0 <= settings.default_session_expiry_seconds <= MAX_SESSION_EXPIRY_SECONDS:
        problems.append(("default_session_expiry_seconds", f"wanted 0 to {MAX_SESSION_EXPIRY_SECONDS}"))
    if problems:
        raise InvalidRequest(*problems)


def _life_problems(settings: OrganizationSettings) -> list[tuple[str, str]]:
    shortest, longest = settings.min_ttl_seconds, settings.max_ttl_seconds
    bounds = (
        ("min_ttl_seconds", shortest, MIN_TTL_SECONDS, MAX_TTL_SECONDS),
        ("max_ttl_seconds", longest, max(shortest, MIN_TTL_SECONDS), MAX_TTL_SECONDS),
        ("default_ttl_seconds", settings.default_ttl_seconds, shortest, longest),
        ("family_max_seconds", settings.family_max_seconds, longest, MAX_FAMILY_SECONDS),
        ("refresh_grace_seconds", settings.refresh_grace_seconds, 0, MAX_REFRESH_GRACE_SECONDS),
        ("reconnect_window_seconds", settings.reconnect_window_seconds, 0, MAX_TTL_SECONDS),
        (
            "max_publish_bytes_per_second",
            settings.max_publish_bytes_per_second,
            0,
            MAX_BYTES_PER_SECOND,
        ),
        ("history_bytes", settings.history_bytes, 0, MAX_HISTORY_BYTES),
        *((quota, getattr(settings, quota), 0, MAX_QUOTA) for quota in _QUOTAS),
    )
    return [
        (field, f"is {value}, wanted {low} to {high}")
        for field, value, low, high in bounds
        if not low <= value <= high
    ]


def _list_problems(settings: OrganizationSettings) -> list[tuple[str, str]]:
    problems = []
    if len(settings.allowed_origins) > MAX_ALLOWED_ORIGINS:
        problems.append(("allowed_origins", f"has more than {MAX_ALLOWED_ORIGINS} entries"))
    if len(settings.dollar_trees) > MAX_DOLLAR_TREES:
        problems.append(("dollar_trees", f"has more than {MAX_DOLLAR_TREES} entries"))
    problems += [
        (f"allowed_origins[{index}]", "wanted scheme://host, with :port or :* if another than its own")
        for index, pattern in enumerate(settings.allowed_origins)
        if not is_origin_pattern(pattern)
    ]
    problems += [
        (f"dollar_trees[{index}]", "wanted one level that begins with $ and is not one of the broker's own")
        for index, tree in enumerate(settings.dollar_trees)
        if not _is_tree(tree)
    ]
    return problems


def _is_tree(tree: str) -> bool:
    return (
        len(tree) > 1
        and tree.startswith("$")
        and tree not in RESERVED_TREES
        and not any(character in _NOT_IN_A_TREE for character in tree)
        and text_problem(tree, max_bytes=MAX_TREE_BYTES) is None
    )
