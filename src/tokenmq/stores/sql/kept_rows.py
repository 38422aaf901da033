"""Records of what is kept to rows and back, as plain tuples in the order of the columns.

Those whose columns are the attributes as they stand need nothing of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from tokenmq.access.identity import Identity
from tokenmq.broker.records import DeliveryRecord, RetainedRecord, SessionRecord, Will
from tokenmq.stores.sql.bulk import Row

plain_row: Callable[[Any], Row] = msgspec.structs.astuple

_ENCODER = msgspec.json.Encoder()
_IDENTITY = msgspec.json.Decoder(Identity)
_WILL = msgspec.json.Decoder(Will)
_IDENTIFIERS = msgspec.json.Decoder(tuple[int, ...])
_ATTRS = msgspec.json.Decoder(dict[str, Any])
_NO_IDENTIFIERS = "[]"


def key_row(key: int | tuple[Any, ...]) -> Row:
    """Write what a record is found by."""
    return key if isinstance(key, tuple) else (key,)


def session_row(record: SessionRecord) -> Row:
    """Write a session, with what ends it in columns of its own."""
    identity = record.identity
    return (
        record.number,
        record.client_id,
        _json(identity),
        record.expiry_seconds,
        record.left_at,
        None if record.will is None else _json(record.will),
        identity.org_id,
        identity.token_id,
        identity.key_id,
    )


def session_record(row: Row) -> SessionRecord:
    """Read a session."""
    number, client_id, identity, expiry_seconds, left_at, will, *_ = row
    return SessionRecord(
        number,
        client_id,
        _IDENTITY.decode(identity),
        expiry_seconds,
        left_at,
        None if will is None else _WILL.decode(will),
    )


def delivery_row(record: DeliveryRecord) -> Row:
    """Write a delivery."""
    return (
        record.session,
        record.packet_id,
        record.position,
        record.message,
        record.qos,
        record.retain,
        record.released,
        _json(record.identifiers) if record.identifiers else _NO_IDENTIFIERS,
        record.group,
        record.prefix,
        record.stamped,
    )


def delivery_record(row: Row) -> DeliveryRecord:
    """Read a delivery."""
    session, packet_id, position, message, qos, retain, released, identifiers, group, *rest = row
    return DeliveryRecord(
        session,
        packet_id,
        position,
        message,
        qos,
        retain,
        released,
        () if identifiers == _NO_IDENTIFIERS else _IDENTIFIERS.decode(identifiers),
        group,
        *rest,
    )


def retained_row(record: RetainedRecord) -> Row:
    """Write a retained message."""
    *columns, attrs, history_id = msgspec.structs.astuple(record)
    return (*columns, None if attrs is None else _json(attrs), history_id)


def retained_record(row: Row) -> RetainedRecord:
    """Read a retained message."""
    *columns, attrs, history_id = row
    values = (*columns, None if attrs is None else _ATTRS.decode(attrs), history_id)
    return RetainedRecord(*values)


def _json(value: object) -> str:
    return _ENCODER.encode(value).decode("utf-8")
