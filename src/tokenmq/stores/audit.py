"""The audit trail as values: what is noted, what a row is, and how rows are chained.

Theory of operation. A change of the store brings its entries with it, and in the
transaction of the change each becomes a row: it gets the next number, and a SHA-256 over
all that it says and over the hash of the row before it. So nothing in the middle can be
changed, taken out, put in or moved without every later hash being wrong. Where the chain
begins (the last row that was removed for its age) and where it ends is stored beside it:
what is cut off at an end is missed, too.

A user's id is never hashed into the chain. In its place stands a pseudonym, made with a
random key of that person's own, which lies in another table with the readable id. Who
deletes that one row has made the person unknown in every row there is, and the chain
is as good as before.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, TypeVar

import msgspec

Outcome = TypeVar("Outcome")
Result = TypeVar("Result")

# Details of one row, in bytes of JSON.
MAX_DETAILS_BYTES = 1_024
HASH_BYTES = 32
PERSON_KEY_BYTES = 32
# 128 bits: two persons never have the same.
_PSEUDONYM_BYTES = 16

SYSTEM = "system"
# Of an actor or an object: the person of the entry.
USER = "user"


class Action(enum.StrEnum):
    """All that the trail tells of."""

    ISSUE = "issue"
    EXCHANGE = "exchange"
    REFRESH = "refresh"
    REFRESH_REUSE = "refresh_reuse"
    SUPERSEDED_RECONNECT = "superseded_reconnect"
    REVOKE = "revoke"
    KEY_CREATE = "key_create"
    KEY_ROTATE = "key_rotate"
    KEY_DELETE = "key_delete"
    KEY_REFUSED = "key_refused"
    PROVIDER_CREATE = "provider_create"
    PROVIDER_UPDATE = "provider_update"
    PROVIDER_DELETE = "provider_delete"
    POLICY_CHANGE = "policy_change"
    ORGANIZATION_CREATE = "organization_create"
    ORGANIZATION_UPDATE = "organization_update"
    ORGANIZATION_DELETE = "organization_delete"
    SIGNING_KEY_ADD = "signing_key_add"
    SIGNING_KEY_USE = "signing_key_use"
    SIGNING_KEY_RETIRE = "signing_key_retire"
    SIGNING_KEY_ENCRYPT = "signing_key_encrypt"
    USER_TERMINATED = "user_terminated"
    USER_ERASED = "user_erased"
    SESSION_DELETED = "session_deleted"
    RETAINED_DELETED = "retained_deleted"
    HISTORY_RULES_CHANGE = "history_rules_change"
    HISTORY_ERASED = "history_erased"


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What is to be noted of one change; `services.auditing.entry` makes it.

    Attributes:
        at: unix seconds.
        org_id: None for what belongs to no organization.
        actor: `key:` and its id, `system`, or `user`: the person of `user_id`.
        object: a kind, a colon and an id (`token:tok_…`), or `user`.
        user_id: the person by whom or about whom it is; None = nobody. Needs `org_id`.
        result: `ok`, or the stable code of the error.
        address: the caller's IP address.
        details: a JSON object, at most MAX_DETAILS_BYTES, without anything secret.
    """

    at: int
    action: Action
    org_id: str | None
    actor: str
    object: str
    user_id: str | None = None
    result: str = "ok"
    address: str | None = None
    request_id: str | None = None
    details: str = "{}"


# What an operation is noted by: fixed, or told by its outcome. The function is called inside
# the transaction, in any thread, for an operation that succeeded; nothing is noted where it
# returns nothing.
Audit: TypeAlias = AuditEntry | Sequence[AuditEntry] | Callable[[Outcome], Sequence[AuditEntry]]


def entries_of(audit: Audit[Outcome], outcome: Outcome) -> Sequence[AuditEntry]:
    """Return the entries of an operation that succeeded."""
    if isinstance(audit, AuditEntry):
        return (audit,)
    return audit(outcome) if callable(audit) else audit


class AuditRow(msgspec.Struct, frozen=True, gc=False):
    """One row, its columns in the order of the table; the texts as in the entry.

    Attributes:
        number: one more than that of the row before.
        actor, object: with `user:` and the pseudonym where the entry has `user`.
        person: the pseudonym of the entry's person; None = nobody.
        previous: the hash of the row before.
        hash: over everything else (`hash_of`).
    """

    number: int
    at: int
    org_id: str | None
    actor: str
    action: str
    object: str
    person: str | None
    result: str
    address: str | None
    request_id: str | None
    details: str
    previous: bytes
    hash: bytes


@dataclass(frozen=True, slots=True)
class Link:
    """A place in the chain: a row's number and its hash."""

    number: int
    hash: bytes


# Before the first row that there ever was.
START = Link(0, bytes(HASH_BYTES))

_encode = msgspec.json.Encoder().encode
# The columns of a row in their order, as the database takes them.
Columns: TypeAlias = tuple[
    int, int, str | None, str, str, str, str | None, str, str | None, str | None, str, bytes, bytes
]


def columns_of(entry: AuditEntry, person: str | None, after: Link) -> Columns:
    """Make the row that comes after a place in the chain.

    Args:
        entry: what is to be noted.
        person: the pseudonym of its user; None where it has none.
        after: the end of the chain.
    """
    told = (
        after.number + 1,
        entry.at,
        entry.org_id,
        _named(entry.actor, person),
        entry.action.value,
        _named(entry.object, person),
        person,
        entry.result,
        entry.address,
        entry.request_id,
        entry.details,
    )
    return (*told, after.hash, _hash(told, after.hash))


def hash_of(row: AuditRow) -> bytes:
    """Return the SHA-256 that a row must have.

    It is taken of a JSON array of all other columns, in their order, without spaces, in
    UTF-8, the hash of the row before in hexadecimal digits (RFC 8785 writes the same).
    """
    *told, previous, _ = msgspec.structs.astuple(row)
    return _hash(told, previous)


def _hash(told: Sequence[object], previous: bytes) -> bytes:
    return hashlib.sha256(_encode((*told, previous.hex()))).digest()


def pseudonym(key: bytes, user_id: str) -> str:
    """Return what stands for a user, made with a key that is this person's alone."""
    return hmac.digest(key, user_id.encode("utf-8"), "sha256")[:_PSEUDONYM_BYTES].hex()


@dataclass(frozen=True, slots=True)
class Break:
    """The first place where the chain is not what it was.

    Attributes:
        number: of the row that is wrong, or that is missing.
        problem: one sentence for people.
    """

    number: int
    problem: str


def follow(link: Link, rows: Iterable[AuditRow]) -> tuple[Link, Break | None]:
    """Walk along the chain from a place; return how far it is whole, and what is wrong then."""
    for row in rows:
        if row.number != link.number + 1:
            return link, Break(link.number + 1, f"the row after it is {row.number}: rows are missing")
        if not hmac.compare_digest(row.previous, link.hash):
            return link, Break(row.number, "it does not belong after the row before it")
        if not hmac.compare_digest(row.hash, hash_of(row)):
            return link, Break(row.number, "it is not what was written")
        link = Link(row.number, row.hash)
    return link, None


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found of a part of the chain.

    Attributes:
        rows: how many are whole.
        link: the last of these.
        broken: what is wrong after it; None = nothing was found.
        is_end: nothing comes after.
    """

    rows: int
    link: Link
    broken: Break | None
    is_end: bool


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """A page of rows, newest first; None = any.

    Attributes:
        org_id: None = the whole instance.
        user_id: the person by whom or about whom it is, as long as that is known.
        since, until: unix seconds, the first included, the second not.
        before: only rows with smaller numbers.
    """

    limit: int
    org_id: str | None = None
    action: str | None = None
    actor: str | None = None
    object: str | None = None
    user_id: str | None = None
    since: int | None = None
    until: int | None = None
    before: int | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """A row, and the readable id of its person: None for nobody, and for somebody erased."""

    row: AuditRow
    user_id: str | None


class AuditStore(Protocol):
    """The audit trail. Rows are written by the operations that they tell of."""

    async def page(self, query: AuditQuery) -> list[Told]:
        """Return a page of rows, newest first."""
        ...

    async def check(self, after: Link | None, *, limit: int) -> Checked:
        """Verify at most `limit` rows after a place that is known to be right.

        None is the beginning, and so is a place that was removed meanwhile.
        """
        ...

    def note(self, entries: Sequence[AuditEntry]) -> None:
        """Have rows written that tell of no change; never waits, and is not told of a failure."""
        ...

    async def erase_person(
        self, org_id: str, user_id: str, *, audit: Audit[str | None], applied: Callable[[str | None], Result]
    ) -> Result:
        """Forget who a user of an organization is; the outcome is the pseudonym, None if there was none.

        All rows stay as they are and tell of somebody unknown. What this user does later is
        noted under another pseudonym.
        """
        ...

    async def prune(self, before: float, *, limit: int) -> int:
        """Remove at most `limit` of the oldest rows, up to the first that is not older than this.

        The chain begins after the last that was removed. Persons of whom nothing was noted
        for as long, and 30 days more, are forgotten. Returns how many rows were removed.
        """
        ...


class KeepsAudit(Protocol):
    """The part of a store that keeps the audit trail."""

    @property
    def audit(self) -> AuditStore:
        """The audit trail."""
        ...


def _named(text: str, person: str | None) -> str:
    return f"{USER}:{person}" if text == USER else text
