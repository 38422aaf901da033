"""Drives gmqtt."""

from __future__ import annotations

import asyncio
from typing import Any

import gmqtt
from gmqtt.mqtt.constants import MQTTv50, MQTTv311
from gmqtt.storage import PersistentStorage
from requests_on_stdin import Refused, Tell, Wanted, follow


class Connection:
    """A connection by gmqtt."""

    def __init__(self, wanted: Wanted, told: Tell) -> None:
        self._wanted = wanted
        self._session_present = False
        self._codes: asyncio.Queue[int] = asyncio.Queue()
        # What it has published, until that is acknowledged.
        self._unacknowledged = PersistentStorage()
        self._client = client = gmqtt.Client(
            wanted.client_id,
            clean_session=wanted.clean,
            will_message=None if wanted.will is None else gmqtt.Message(*wanted.will, qos=1),
            persistent_storage=self._unacknowledged,
            session_expiry_interval=wanted.expiry,
        )
        client.set_auth_credentials(wanted.username, wanted.password)
        client.on_connect = self._connected
        client.on_subscribe = lambda _client, _mid, codes, _properties: self._codes.put_nowait(codes[0])

        def tell_message(_client: Any, topic: str, payload: bytes, qos: int, properties: Any) -> int:
            told(topic, payload, qos, properties["retain"])
            return 0

        client.on_message = tell_message

    def _connected(self, _client: Any, flags: int, _code: int, _properties: Any) -> None:
        self._session_present = bool(flags & 1)

    async def connect(self) -> bool:
        try:
            await self._client.connect(
                self._wanted.host,
                self._wanted.port,
                ssl=self._wanted.tls() or False,
                version=MQTTv50 if self._wanted.version == 5 else MQTTv311,
            )
        except gmqtt.MQTTConnectError as error:
            raise Refused(error._code) from error
        return self._session_present

    async def subscribe(self, topic_filter: str, qos: int) -> int:
        self._client.subscribe(topic_filter, qos)
        return await self._codes.get()

    async def publish(self, topic: str, payload: bytes, qos: int, *, retain: bool) -> None:
        self._client.publish(topic, payload, qos=qos, retain=retain)
        await self._unacknowledged.wait_empty()

    async def disconnect(self) -> None:
        await self._client.disconnect()


asyncio.run(follow(Connection))
