"""One application message on its way from a publisher to its receivers.

A message is encoded once for each form in which receivers want it (protocol version,
with or without packet identifier, subscription identifiers) and the bytes are shared.
"""

from __future__ import annotations

from tokenmq.mqtt.codec import publish_halves


class Message:
    """An application message (MQTT 5 §3.3), judged and ready to be routed.

    Attributes:
        topic: the resolved Topic Name.
        payload: Application Message bytes.
        qos: quality of service that the publisher asked for, 0 or 1.
        packet_id: the publisher's Packet Identifier as two bytes; zeros where there is none.
        forward: the encoded MQTT 5 properties that travel with it, unchanged
            [MQTT-3.3.2-4, -15, -16, -17, -18].
    """

    __slots__ = ("_forms", "forward", "packet_id", "payload", "qos", "topic")

    def __init__(self, topic: str, payload: bytes, qos: int, packet_id: int, forward: bytes) -> None:
        self.topic = topic
        self.payload = payload
        self.qos = qos
        self.packet_id = packet_id.to_bytes(2, "big")
        self.forward = forward
        self._forms: dict[tuple[int, int, tuple[int, ...]], tuple[bytes, bytes]] = {}

    def form(self, version: int, qos: int, identifiers: tuple[int, ...]) -> tuple[bytes, bytes]:
        """Encode for one kind of receiver, once.

        Args:
            version: the receiver's protocol version, 4 or 5.
            qos: 0 or 1, as it is delivered.
            identifiers: the receiver's subscription identifiers, MQTT 5 only.

        Returns: what stands before and after the two bytes of the packet identifier;
            at QoS 0 the whole packet and nothing.
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
            form = self._forms[key] = (before, after) if qos else (before + after, b"")
        return form
