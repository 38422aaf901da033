"""A connection goes on under another password: by AUTH, by `$auth/token`, by a refresh over HTTP.

Three roads, one meaning (the wire contract, "Staying connected"): expiry and rights are those
of the new password, at once and whole; the connection stays, and nothing that is under way on
it is touched. Where the rights are the same as before not even a route ends.

The core makes no identities: who a token says that one is tells the `Identify` that its owner
has handed in, in the same step. The token goes to that and nowhere else: it is not routed, not
retained, not kept and not logged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from tokenmq.access.identity import Identity, Renewal
from tokenmq.broker import publishing, suspending
from tokenmq.broker.refusals import Refusal, Why, reserved
from tokenmq.broker.remembering import reserved_name
from tokenmq.errors import InvalidToken, ProtocolError, TokenmqError
from tokenmq.mqtt.codes import ReasonCode
from tokenmq.mqtt.packets import Auth, Packet, Puback, Publish, Pubrec

if TYPE_CHECKING:
    from tokenmq.broker.broker import Broker
    from tokenmq.broker.session import Session

# What a client publishes its new token to (the wire contract, section 3).
TOKEN_TOPIC = "$auth/token"
# Tokens that are looked at on that topic, of one connection (the wire contract).
_MOST_TOKENS = 10
_EVERY_SECONDS = 60.0


class Identify(Protocol):
    """Who a connection is under another token; nothing in it waits for anything."""

    def __call__(self, identity: Identity, client_id: str, token: bytes, now: float) -> Identity:
        """Return the same user, of the same organization, under this token.

        Raises: InvalidToken, ExpiredToken, ClientIdNotPermitted.
        """
        ...


def authenticate(broker: Broker, session: Session, packet: Auth) -> None:
    """Take in an AUTH 0x19: answer with success, or close [MQTT-4.12.1-2].

    Raises: ProtocolError 0x87. That the method is the one of the CONNECT is `mqtt.exchange`'s affair.
    """
    try:
        if packet.authentication_data is None:
            raise InvalidToken("authentication data is missing: it must be a token")
        identity = broker.identify(
            session.identity, session.client_id, packet.authentication_data, broker.moment.now
        )
    except TokenmqError as error:
        raise ProtocolError(ReasonCode.NOT_AUTHORIZED, str(error)) from None
    method = packet.authentication_method  # [MQTT-4.12.0-5]
    reauthenticate(broker, session, identity, Auth(ReasonCode.SUCCESS, authentication_method=method))


def take_token(broker: Broker, session: Session, packet: Publish) -> None:
    """Take in what was published to `$auth/token`; its acknowledgement is the answer."""
    name = reserved_name(packet)
    refused = _too_many(broker, session) if name is None else reserved(name)
    if refused is None:
        try:
            identity = broker.identify(session.identity, session.client_id, packet.payload, broker.moment.now)
        except TokenmqError as error:
            refused = Refusal(ReasonCode.NOT_AUTHORIZED, str(error))
    if refused is not None:
        publishing.refuse(broker, session, packet, refused, closes=True)
        return
    answer: Packet | None = None
    if packet.qos == 1:
        answer = Puback(packet_id=packet.packet_id)
    elif packet.qos == 2:
        session.unreleased.add(packet.packet_id)  # here alone: to take it in twice does no harm
        answer = Pubrec(packet_id=packet.packet_id)
    reauthenticate(broker, session, identity, answer)


def reauthenticate(
    broker: Broker, session: Session, identity: Identity, answer: Packet | None = None
) -> None:
    """Have a connection go on under another password of its user, perhaps of another family.

    A password that a later one of the same family has superseded changes nothing: the
    connection has the later one's rights and end.

    Args:
        answer: what tells the client that it was taken; goes out before its consequences.
    """
    narrowed: list[suspending.Narrowed] = []
    if not identity.is_superseded_by(session.identity) and broker.lives.renew(session, identity):
        narrowed = suspending.apply(broker, (session,))
    if answer is not None:
        broker.send(session.outbox, answer)
    _tell(broker, session)
    suspending.tell(broker, narrowed)


def renew_family(broker: Broker, token_id: str, renewal: Renewal) -> int:
    """Move the connections of a family to its newest password; return how many there were."""
    sessions = [session for session in broker.lives.of_families((token_id,)) if session.connected]
    changed: list[Session] = []
    for session in sessions:
        identity = session.identity.renewed(renewal)
        if not identity.is_superseded_by(session.identity) and broker.lives.renew(session, identity):
            changed.append(session)
    narrowed = suspending.apply(broker, changed)
    for session in sessions:
        _tell(broker, session)
    suspending.tell(broker, narrowed)
    return len(sessions)


def _tell(broker: Broker, session: Session) -> None:
    identity = session.identity
    broker.report(
        "renewed",
        org_id=identity.org_id,
        user_id=identity.user_id,
        client_id=session.client_id,
        token_id=identity.token_id,
        expires_at=identity.expires_at,
    )
    broker.events.refreshed(session)


def _too_many(broker: Broker, session: Session) -> Refusal | None:
    """Count a token, and refuse it if there were too many of late; a clock that was set back forgets."""
    now = broker.moment.now
    lately = tuple(at for at in session.tokens_at if 0 <= now - at < _EVERY_SECONDS)
    if len(lately) >= _MOST_TOKENS:
        text = f"{_MOST_TOKENS} tokens came within a minute, try again later"
        return Refusal(ReasonCode.QUOTA_EXCEEDED, text, Why.QUOTA)
    session.tokens_at = (*lately, now)
    return None
