"""Hold the ledger against what a broker owes (SECURITY 5.1, N1), when everything has settled.

Every message that was acknowledged came to every session that was subscribed from its PUBLISH on; at QoS 2
once, in order for each publisher and topic; nothing came that was not published, not subscribed to, or
published before the session began. A shared subscription as a whole is owed each message once. Wills and
retained messages likewise.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from chaos.ledger import FOREVER, Delivery, Ledger, Life, Message, Subscribed, Will
from tokenmq.topics.filter import matches, split_share

# What the server's timer and the loss of a connection may be late by.
MARGIN_SECONDS = 0.8


class Fault(NamedTuple):
    """What is wrong, and the message that it is wrong of."""

    text: str
    message: Message | None = None


def judge(ledger: Ledger) -> list[Fault]:
    """Return everything that is not as it must be."""
    faults = [Fault(f"round {number}: {text}") for number, text in ledger.faults]
    groups: dict[str, list[tuple[Life, Subscribed]]] = defaultdict(list)
    for life in ledger.lives:
        faults += _life(ledger, life)
        for subscribed in life.subscriptions:
            if split_share(subscribed.topic_filter)[0] is not None:
                groups[subscribed.topic_filter].append((life, subscribed))
    for name, members in groups.items():
        faults += _group(ledger, name, members)
    faults += _wills(ledger)
    faults += _retained(ledger)
    return faults


# One session


def _life(ledger: Ledger, life: Life) -> Iterator[Fault]:
    """Judge what one session got."""
    matching = _Matching(life)
    for delivery in life.deliveries:
        yield from _delivery(ledger, life, delivery, matching.of(ledger.messages[delivery.number].topic))
    live = [delivery for delivery in life.deliveries if not delivery.retain]
    got = Counter(delivery.number for delivery in live)
    sent_twice = {delivery.number for delivery in live if delivery.qos == 2 and got[delivery.number] > 1}
    for number in sorted(sent_twice):
        text = f"{life.client} got message {number} {got[number]} times at QoS 2"
        yield Fault(text, ledger.messages[number])
    for message in ledger.messages.values():
        if message.number not in got and _owed(ledger, life, message, matching.of(message.topic)):
            yield Fault(f"{life.client} never got message {message.number}", message)
    yield from _order(ledger, life, matching)


class _Matching:
    """The subscriptions of a session that match a topic, found once for each topic."""

    def __init__(self, life: Life) -> None:
        self._life = life
        self._found: dict[str, list[Subscribed]] = {}

    def of(self, topic: str) -> list[Subscribed]:
        if topic not in self._found:
            self._found[topic] = [
                subscribed
                for subscribed in self._life.subscriptions
                if matches(split_share(subscribed.topic_filter)[1], topic)
            ]
        return self._found[topic]


def _delivery(ledger: Ledger, life: Life, delivery: Delivery, matching: list[Subscribed]) -> Iterator[Fault]:
    """Judge one delivery."""
    message = ledger.messages[delivery.number]
    over = _over(ledger, message)
    come = f"{life.client} got message {message.number}"
    # A retained message comes to whoever subscribes later, too.
    if not any(
        subscribed.gone >= message.invoked and (delivery.retain or subscribed.asked <= over)
        for subscribed in matching
    ):
        yield Fault(f"{come} without a subscription", message)
    elif delivery.qos > max(min(message.qos, subscribed.qos) for subscribed in matching):
        yield Fault(f"{come} at QoS {delivery.qos}", message)
    if delivery.retain and not message.retain:
        yield Fault(f"{come} as a retained one", message)
    if not delivery.retain and over < life.began:
        yield Fault(f"{come}, which is older than its session", message)


def _over(ledger: Ledger, message: Message) -> float:
    """Return by when the server has surely routed a message, or never will."""
    if message.will is not None:
        return FOREVER
    if message.given_up == FOREVER:
        return message.acknowledged
    # What came in before its connection was gone may still have waited in that process.
    return _process_end(ledger, message.given_up)


def _process_end(ledger: Ledger, moment: float) -> float:
    """Return when the process was gone that served at a moment, or the one after it."""
    return min((up.gone for up in ledger.ups if up.gone >= moment), default=FOREVER)


def _owed(ledger: Ledger, life: Life, message: Message, matching: list[Subscribed]) -> bool:
    if life.ended != FOREVER or not message.payload:
        return False
    if message.will is not None:
        if not _due(ledger, message.will):
            return False
    elif message.acknowledged == FOREVER:
        return False
    return any(
        subscribed.since <= message.invoked and subscribed.until == FOREVER
        for subscribed in matching
        if split_share(subscribed.topic_filter)[0] is None
    )


def _order(ledger: Ledger, life: Life, matching: _Matching) -> Iterator[Fault]:
    """Hold the first deliveries of each publisher and topic against the order of publishing.

    Of what was published while the subscription was on its way, some may come, and later.
    """
    if any(split_share(subscribed.topic_filter)[0] is not None for subscribed in life.subscriptions):
        return  # what another member had comes late
    newest: dict[tuple[str, int, str], int] = {}
    seen: set[int] = set()
    for delivery in life.deliveries:
        if delivery.retain or delivery.number in seen:
            continue
        seen.add(delivery.number)
        message = ledger.messages[delivery.number]
        if not any(subscribed.since <= message.invoked for subscribed in matching.of(message.topic)):
            continue
        stream = (message.publisher, message.life, message.topic)
        if message.will is None and delivery.number < newest.get(stream, 0):
            text = f"{life.client} got message {delivery.number} after {newest[stream]}"
            yield Fault(text, message)
        newest[stream] = max(delivery.number, newest.get(stream, 0))


# A shared subscription


def _group(ledger: Ledger, name: str, members: list[tuple[Life, Subscribed]]) -> Iterator[Fault]:
    """Judge what all members of a shared subscription got together."""
    lives = dict.fromkeys(life for life, _ in members)
    got = Counter(delivery.number for life in lives for delivery in life.deliveries)
    inner = split_share(name)[1]
    for message in ledger.messages.values():
        if not matches(inner, message.topic) or not message.payload or message.will is not None:
            continue
        if message.qos == 2 and got[message.number] > 1:
            text = f"{name} got message {message.number} {got[message.number]} times at QoS 2"
            yield Fault(text, message)
        if got[message.number] or message.acknowledged == FOREVER:
            continue
        stays = any(
            subscribed.since <= message.invoked and subscribed.until == life.ended == FOREVER
            for life, subscribed in members
        )
        # It may have been sent to one whose session ended; at QoS 2 no other gets it then [MQTT-4.8.2-5].
        gone = any(
            life.ended != FOREVER and message.invoked <= _process_end(ledger, life.ended)
            for life, _ in members
        )
        # It may wait in the session of one whose revocation was never answered, and who never reads.
        held = any(life.uncertain for life, _ in members if message.invoked >= life.began)
        if stays and not held and not (gone and message.qos == 2):
            yield Fault(f"nobody of {name} got message {message.number}", message)


# Wills


def _due(ledger: Ledger, will: Will) -> bool:
    """Tell whether a will must have been published."""
    if not will.established or will.ended_at == FOREVER:
        return False
    if not will.delay_seconds:
        return True
    # A connection that a crash has ended is over for the server when it is back, for good when that is kept.
    known = _long_enough(ledger, will.ended_at, FOREVER)
    due = None if known is None else _long_enough(ledger, known + will.delay_seconds, will.challenged_at)
    return due is not None


def _long_enough(ledger: Ledger, start: float, stop: float) -> float | None:
    """Return from when on the server was there for a while between two moments."""
    for up in ledger.ups:
        first, last = max(start, up.ready), min(stop, up.gone)
        if last - first >= MARGIN_SECONDS:
            return first
    return None


def _wills(ledger: Ledger) -> Iterator[Fault]:
    """Find wills that were published although their client was back in time."""
    came = {delivery.number for life in ledger.lives for delivery in life.deliveries}
    for message in ledger.messages.values():
        will = message.will
        if will is None or message.number not in came:
            continue
        if will.ended_at == FOREVER:
            yield Fault(f"will {message.number} came, and its connection stands", message)
        elif will.resumed_at - will.ended_at < will.delay_seconds - MARGIN_SECONDS:
            yield Fault(f"will {message.number} came, and its client was back in time", message)


# Retained messages


def _retained(ledger: Ledger) -> Iterator[Fault]:
    """Hold what stood on each topic at the end against what was left there."""
    by_topic: dict[str, list[Message]] = defaultdict(list)
    for message in ledger.messages.values():
        if message.retain:
            by_topic[message.topic].append(message)
    for topic, left in by_topic.items():
        number = ledger.readings.get(topic)
        found: Iterable[Message]
        if number is None:  # nothing: as each message that clears it would have it
            found = [message for message in left if not message.payload]
            if not found and all(message.acknowledged == FOREVER for message in left):
                continue
        else:
            found = [ledger.messages[number]]
        if not any(_may_stand(ledger, message, left) for message in found):
            what = "nothing" if number is None else f"message {number}"
            newest = max(
                (message for message in left if message.acknowledged != FOREVER),
                key=lambda message: message.acknowledged,
                default=None,
            )
            expected = f"; acknowledged last was {newest.number}" if newest is not None else ""
            yield Fault(f"on {topic} stands {what}{expected}", newest)


def _may_stand(ledger: Ledger, message: Message, left: list[Message]) -> bool:
    """Tell whether no other was surely left there after it."""
    over = _over(ledger, message)
    return not any(other.acknowledged != FOREVER and other.invoked > over for other in left)
