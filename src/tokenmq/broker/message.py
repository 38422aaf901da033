"""One application message on its way from a publisher to its receivers.

A message is encoded once for each form in which receivers want it (protocol version,
QoS, subscription identifiers) and the bytes are shared.
"""

from __future__ import annotations

from tokenmq.mqtt.codec import publish_halves


class Message:
    """An application message (MQTT 5 §3.3), judged and ready to be routed.

    Attributes:
        topic: the resolved Topic Name.
        payload: Application Message bytes.
        qos: quality of service that the publisher asked for, 0 or 1.
        packet_id: the publisher's Packet Identifier; 0 where there is none.
        forward: the encoded MQTT 5 properties that travel with it, unchanged
            [MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-17] [MQTT-3.3.2-18]
            [MQTT-3.3.2-20].
    """

    __slots__ = ("_forms", "forward", "packet_id", "payload", "qos", "topic")

    def __init__(self, topic: str, payload: bytes, qos: int, packet_id: int, forward: bytes) -> None:
        self.topic = topic
        self.payload = payload
        self.qos = qos
        self.packet_id = packet_id
        self.forward = forward
        self._forms: dict[tuple[int, int, tuple[int, ...]], tuple[bytes, int]] = {}

    def form(self, version: int, qos: int, identifiers: tuple[int, ...]) -> tuple[bytes, int]:
        """Encode for one kind of receiver, once.

        Args:
            version: the receiver's protocol version, 4 or 5.
            qos: 0 or 1, as it is delivered.
            identifiers: the receiver's subscription identifiers, MQTT 5 only.

        Returns: the packet, with the publisher's packet identifier, and where that stands
            in it; 0 at QoS 0.
        """
        key = (version, qos, identifiers)
        form = self._forms.get(key)
        if form is None:
            before, after = publish_halves(
                self.topic.encode(),
                self.payload,
                version=version,
                qos=qos,
                forward=self.forward,
                subscription_identifiers=identifiers,
            )
            if qos:
                form = before + self.packet_id.to_bytes(2, "big") + after, len(before)
            else:
                form = before + after, 0
            self._forms[key] = form
        return form
