"""Topic aliases that a client sets on its connection (MQTT 5 §3.3.2.3.4).

They live as long as the network connection [MQTT-3.3.2-7] and say only which topic is
meant: whether it may be published to is judged anew for each message.
"""

from __future__ import annotations

from tokenmq.errors import ProtocolError
from tokenmq.limits import MAX_STRING_BYTES
from tokenmq.mqtt.codes import ReasonCode
from tokenmq.mqtt.packets import Publish


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
