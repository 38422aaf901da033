"""Drives paho-mqtt."""

from __future__ import annotations

import asyncio
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from requests_on_stdin import Refused, Tell, Wanted, follow


class Connection:
    """A connection by paho, whose network loop runs in a thread of its own."""

    def __init__(self, wanted: Wanted, told: Tell) -> None:
        self._wanted = wanted
        self._loop = asyncio.get_running_loop()
        self._answers: asyncio.Queue[Any] = asyncio.Queue()
        is_5 = wanted.version == 5
        self._client = client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=wanted.client_id,
            clean_session=None if is_5 else wanted.clean,
            protocol=MQTTProtocolVersion.MQTTv5 if is_5 else MQTTProtocolVersion.MQTTv311,
            transport="websockets" if wanted.is_websocket else "tcp",
            reconnect_on_failure=False,
        )
        client.username_pw_set(wanted.username, wanted.password)
        if (tls := wanted.tls()) is not None:
            client.tls_set_context(tls)
        if wanted.will is not None:
            client.will_set(*wanted.will, qos=1)
        client.on_connect = lambda *args: self._answer((args[3], args[2].session_present))
        client.on_subscribe = lambda *args: self._answer(args[3])
        client.on_publish = lambda *args: self._answer(args[3])
        client.on_disconnect = lambda *args: self._answer(args[3])
        client.on_message = lambda _client, _data, got: self._loop.call_soon_threadsafe(
            told, got.topic, got.payload, got.qos, got.retain
        )

    def _answer(self, answer: Any) -> None:
        self._loop.call_soon_threadsafe(self._answers.put_nowait, answer)

    async def connect(self) -> bool:
        options: dict[str, Any] = {}
        if self._wanted.version == 5:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = self._wanted.expiry
            options = {"clean_start": self._wanted.clean, "properties": properties}
        self._client.connect(self._wanted.host, self._wanted.port, **options)
        self._client.loop_start()
        code, session_present = await self._answers.get()
        if code.is_failure:
            # paho tells the codes of 3.1.1 in the words of 5.0.
            raise Refused(code.value)
        return bool(session_present)

    async def subscribe(self, topic_filter: str, qos: int) -> int:
        self._client.subscribe(topic_filter, qos)
        (code,) = await self._answers.get()
        return int(code.value)

    async def publish(self, topic: str, payload: bytes, qos: int, *, retain: bool) -> None:
        self._client.publish(topic, payload, qos, retain)
        code = await self._answers.get()
        if code.is_failure:
            raise RuntimeError(str(code))

    async def disconnect(self) -> None:
        self._client.disconnect()
        await self._answers.get()
        self._client.loop_stop()


asyncio.run(follow(Connection))
