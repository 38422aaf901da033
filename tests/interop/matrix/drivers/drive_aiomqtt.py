"""Drives aiomqtt."""

from __future__ import annotations

import asyncio
from typing import Any

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from requests_on_stdin import Refused, Tell, Wanted, follow


class Connection:
    """A connection by aiomqtt, with a task that tells what it receives."""

    def __init__(self, wanted: Wanted, told: Tell) -> None:
        self._told = told
        is_5 = wanted.version == 5
        options: dict[str, Any] = {"clean_session": wanted.clean}
        if is_5:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = wanted.expiry
            options = {"clean_start": wanted.clean, "properties": properties}
        self._client = aiomqtt.Client(
            wanted.host,
            wanted.port,
            username=wanted.username,
            password=wanted.password,
            identifier=wanted.client_id,
            protocol=aiomqtt.ProtocolVersion.V5 if is_5 else aiomqtt.ProtocolVersion.V311,
            transport="websockets" if wanted.is_websocket else "tcp",
            tls_context=wanted.tls(),
            will=None if wanted.will is None else aiomqtt.Will(*wanted.will, qos=1),
            **options,
        )

    async def connect(self) -> None:
        try:
            await self._client.__aenter__()
        except aiomqtt.MqttCodeError as error:
            # It stands on paho, which tells the codes of 3.1.1 in the words of 5.0.
            raise Refused(error.rc.value) from error
        self._receiving = asyncio.create_task(self._receive())

    async def _receive(self) -> None:
        async for got in self._client.messages:
            self._told(str(got.topic), got.payload, got.qos, got.retain)

    async def subscribe(self, topic_filter: str, qos: int) -> int:
        (code,) = await self._client.subscribe(topic_filter, qos)
        return int(code.value)

    async def publish(self, topic: str, payload: bytes, qos: int, *, retain: bool) -> None:
        await self._client.publish(topic, payload, qos, retain)

    async def disconnect(self) -> None:
        self._receiving.cancel()
        await self._client.__aexit__(None, None, None)


asyncio.run(follow(Connection))
