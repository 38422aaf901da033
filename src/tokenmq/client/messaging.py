"""Messages by a client: publishing, subscribing, requests."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Sequence
from typing import Unpack

from paho.mqtt.subscribeoptions import SubscribeOptions

from tokenmq.client.engine import Engine
from tokenmq.client.inbox import Mailbox, MessageCallback
from tokenmq.client.messages import Message, Payload, Properties, PublishResult, encode
from tokenmq.client.moments import Moment, written
from tokenmq.client.options import Options
from tokenmq.client.properties import check_properties, check_qos
from tokenmq.client.replays import AFTER, COUNT, SINCE, Replay
from tokenmq.client.subscriptions import Subscription
from tokenmq.errors import ConnectError, InvalidRequest
from tokenmq.topics.filter import check_filter, split_share
from tokenmq.topics.name import check_name


class Messaging:
    """The part of a client that sends and receives."""

    options: Options
    _engine: Engine | None

    @property
    def messages(self) -> Mailbox:
        """Messages as they come, for `async for`: all but those of subscriptions with a callback.

        A message is acknowledged when the next one is asked for. When the client has ended by an
        error, the loop raises it; after `close` it ends.

        Raises: ConnectError before the first connection.
        """
        if self._engine is None:
            raise ConnectError("connect first")
        return self._engine.subscriptions.messages

    async def subscribe(
        self,
        topic_filter: str,
        *,
        qos: int | None = None,
        callback: MessageCallback | None = None,
        no_local: bool = False,
        retain_as_published: bool = False,
        retain_handling: int = 0,
        user_properties: Sequence[tuple[str, str]] = (),
        history: int | None = None,
        since: Moment | None = None,
        after: int | None = None,
    ) -> Subscription:
        """Subscribe, now and again on every new session.

        With `history`, `since` or `after` (MQTT 5, permission `history`) recorded messages come first,
        oldest first, then live ones, none missing and none twice; each has `history_id`, `published_at`,
        `published_by`. After a reconnect it goes on after the last that has come; where that is not
        possible, the next message has `history_gap`.

        Args:
            topic_filter: `$share/group/filter` too.
            qos: 0, 1 or 2; of `Options.default_subscribe_qos` without.
            callback: called with each message, plain or async, one after the other; without one
                they come by `messages`.
            history: so many recorded messages at most, the newest ones.
            since: recorded ones from then on: an aware datetime, unix seconds, or RFC 3339.
            after: recorded ones whose `history_id` is greater.
            no_local, retain_as_published, retain_handling, user_properties: as MQTT 5 §3.8 has them.

        Raises: Denied when the broker refuses it, ConnectError when it does not answer in time,
            InvalidTopicFilter, InvalidRequest for history over MQTT 3.1.1.
        """
        check_filter(split_share(topic_filter)[1])
        if retain_handling not in (0, 1, 2):
            raise InvalidRequest(("retain_handling", f"is 0, 1 or 2, got {retain_handling!r}"))
        check_properties({"user_properties": list(user_properties)})
        options = SubscribeOptions(
            qos=check_qos(self.options.default_subscribe_qos if qos is None else qos),
            noLocal=no_local,
            retainAsPublished=retain_as_published,
            retainHandling=retain_handling,
        )
        replay = self._replay(history, since, after)
        return await self._working().subscribe(topic_filter, options, callback, user_properties, replay)

    def _replay(self, history: int | None, since: Moment | None, after: int | None) -> Replay | None:
        """Return what is to be replayed; None for nothing. Raises: InvalidRequest."""
        wanted = (
            (COUNT, None if history is None else str(history)),
            (SINCE, None if since is None else written(since)),
            (AFTER, None if after is None else str(after)),
        )
        asked = [(name, value) for name, value in wanted if value is not None]
        if not asked:
            return None
        if self.options.protocol_version != 5:
            wish = "subscribe to $history/<count>/<filter>, or use MQTT 5"
            raise InvalidRequest(("history", f"cannot be asked for so over MQTT 3.1.1: {wish}"))
        return Replay(asked)

    async def unsubscribe(self, topic_filter: str) -> None:
        """Unsubscribe. Raises: ConnectError."""
        await self._working().unsubscribe(topic_filter)

    async def publish(
        self,
        topic: str,
        payload: Payload = None,
        *,
        qos: int | None = None,
        retain: bool = False,
        timeout_seconds: float | None = None,
        **properties: Unpack[Properties],
    ) -> PublishResult:
        """Publish, and say what became of it.

        At QoS 1 and 2 it returns when the broker has the message, through any number of lost
        connections in between. Without a connection it returns at once with the status `queued`.

        Args:
            payload: bytes; text; or what JSON can say.
            qos: 0, 1 or 2; of `Options.default_publish_qos` without.
            timeout_seconds: how long to wait for the broker; None: as long as it takes.

        Raises: Denied when the broker refuses it (MQTT 5, QoS 1 and 2; otherwise the `denied` event
            tells), NotDelivered when it was given up, TimeoutError without an acknowledgement in
            time, which says whether it was sent, InvalidTopicName, InvalidRequest.
        """
        check_name(topic)
        qos = check_qos(self.options.default_publish_qos if qos is None else qos)
        check_properties(properties)
        return await self._working().outbox.publish(
            topic,
            encode(payload),
            qos=qos,
            retain=retain,
            properties=properties,
            timeout_seconds=timeout_seconds,
        )

    transmit = publish

    async def request(
        self,
        topic: str,
        payload: Payload = None,
        *,
        timeout_seconds: float | None = None,
        **properties: Unpack[Properties],
    ) -> Message:
        """Publish a request and wait for its reply (MQTT 5).

        The reply is asked for on `Options.response_topic_pattern`, which this client must be
        allowed to subscribe to, and who answers to publish to.

        Raises: TimeoutError without a reply in time; Denied, TokenError, ConnectError, NotDelivered.
        """
        engine = self._working()
        requests = engine.requests
        if all(wish.topic_filter != requests.response_topic for wish in engine.subscriptions):
            # What comes there and answers nothing that waits has come too late.
            await self.subscribe(requests.response_topic, qos=1, callback=lambda _: None)
        correlation, reply = requests.begin()
        told: Properties = {
            **properties,
            "response_topic": requests.response_topic,
            "correlation_data": correlation,
        }
        seconds = self.options.request_timeout_seconds if timeout_seconds is None else timeout_seconds
        try:
            async with asyncio.timeout(seconds):
                await self.publish(topic, payload, qos=1, **told)
                return await reply
        except TimeoutError as error:
            raise TimeoutError(f"nobody has answered to the request to {topic} in {seconds:g} s") from error
        finally:
            requests.forget(correlation)

    async def on_request(self, topic_filter: str, answer: MessageCallback) -> Subscription:
        """Subscribe to requests: what `answer` returns, plain or async, is published as the reply.

        A message without a response topic is handed over too; what is returned then goes nowhere.
        """

        async def answered(message: Message) -> None:
            reply = answer(message)
            if inspect.isawaitable(reply):
                reply = await reply
            if message.response_topic:
                told: Properties = {}
                if message.correlation_data is not None:
                    told["correlation_data"] = message.correlation_data
                await self.publish(message.response_topic, reply, qos=1, **told)

        return await self.subscribe(topic_filter, qos=1, callback=answered)

    def _working(self) -> Engine:
        if self._engine is None:
            raise ConnectError("connect first")
        self._engine.check_goes_on()
        return self._engine
