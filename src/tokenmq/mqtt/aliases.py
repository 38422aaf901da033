"""Topic aliases of one connection, those that the client sets and ours (MQTT 5 §3.3.2.3.4).

They live as long as the network connection [MQTT-3.3.2-7] and say only which topic is
meant: whether it may be published to is judged anew for each message.
"""

from __future__ import annotations

from tokenmq.errors import ProtocolError
from tokenmq.limits import MAX_STRING_BYTES
from tokenmq.mqtt import wire
from tokenmq.mqtt.codes import ReasonCode
from tokenmq.mqtt.packets import Publish
from tokenmq.mqtt.properties import TOPIC_ALIAS

# A Topic Alias takes three bytes; a topic that takes no more is not worth one.
_ALIAS_BYTES = 3


class InboundAliases:
    """What a client's aliases stand for."""

    __slots__ = ("_max_topic_bytes", "_maximum", "_topics")

    def __init__(self, maximum: int, max_topic_bytes: int = MAX_STRING_BYTES) -> None:
        """Begin with no alias set.

        Args:
            maximum: the highest alias.
            max_topic_bytes: what a topic may have; longer ones are refused by whoever
                judges them, here they only must not be held.
        """
        self._maximum = maximum
        self._max_topic_bytes = max_topic_bytes
        self._topics: dict[int, str] = {}

    def resolve(self, publish: Publish) -> None:
        """Remember the topic of a PUBLISH under its alias, or set it from its alias.

        Raises: ProtocolError 0x94 for an alias over the maximum that was announced,
            0x82 for one that stands for nothing.
        """
        alias = publish.topic_alias
        if alias is None:
            return
        if alias > self._maximum:  # [MQTT-3.3.2-9]
            raise ProtocolError(
                ReasonCode.TOPIC_ALIAS_INVALID, f"topic alias {alias}, at most {self._maximum} is accepted"
            )
        if publish.topic:
            # The beginning of a topic that is too long is as much too long.
            self._topics[alias] = publish.topic[: self._max_topic_bytes + 1]  # [MQTT-3.3.2-12]
            return
        topic = self._topics.get(alias)
        if topic is None:
            raise ProtocolError(ReasonCode.PROTOCOL_ERROR, f"topic alias {alias} stands for nothing")
        publish.topic = topic


class OutboundAliases:
    """What our aliases stand for with one client: the first topics that were sent to it."""

    __slots__ = ("_aliases", "_maximum")

    def __init__(self, maximum: int) -> None:
        """Begin with no alias set; `maximum` is the highest that the client takes [MQTT-3.1.2-26]."""
        self._maximum = maximum
        self._aliases: dict[bytes, int] = {}

    def shorten(self, packet: bytes, max_bytes: int) -> bytes:
        """Return a PUBLISH of MQTT 5 with an alias for its topic, or in place of it.

        Args:
            packet: encoded, without an alias.
            max_bytes: what the client takes; a packet that is larger with one has none.
        """
        body = 2
        while packet[body - 1] > 0x7F:
            body += 1
        topic_end = body + 2 + (packet[body] << 8 | packet[body + 1])
        topic = packet[body + 2 : topic_end]
        alias = self._aliases.get(topic)
        shown = b"" if alias is not None else topic
        if alias is None:
            alias = len(self._aliases) + 1
            if alias > self._maximum or len(topic) <= _ALIAS_BYTES:  # [MQTT-3.3.2-11]
                return packet
        block_at = topic_end + 2 if packet[0] & 0x06 else topic_end
        length, start = wire.read_variable(packet, block_at, len(packet))
        rest = b"".join(
            (
                *(len(shown).to_bytes(2, "big"), shown, packet[topic_end:block_at]),
                *(
                    wire.write_variable(length + _ALIAS_BYTES),
                    bytes((TOPIC_ALIAS,)),
                    alias.to_bytes(2, "big"),
                ),
                packet[start:],
            )
        )
        shortened = packet[:1] + wire.write_variable(len(rest)) + rest
        if len(shortened) > max_bytes:
            return packet
        self._aliases[topic] = alias
        return shortened
