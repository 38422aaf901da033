"""Every way on which a message reaches a client, a revocation at every moment of it (SECURITY 5.2, grid E).

A path is a list of steps. The publisher or the receiver is revoked before the first step, between
any two of them, and after the last. What must be true is in `judge`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from tokenmq.mqtt.packets import Publish, Pubrec, Pubrel, Subscribe, Will
from tokenmq.mqtt.packets.subscribe import Subscription

LASTING = {"clean_start": False, "session_expiry_interval": 600}
TOPIC = "chat/a"


@dataclass
class Story:
    """Who takes part, each with one token for all of it."""

    instance: Any
    tokens: dict[str, Any] = field(default_factory=dict)
    clients: dict[str, Any] = field(default_factory=dict)
    came: int = 0

    async def begin(self):
        for name in ("publisher", "receiver", "other"):
            self.tokens[name] = await self.instance.issue(name)

    def enter(self, name, **more):
        """Connect somebody, who stays away if that is refused."""
        client, connack = self.instance.enter(self.tokens[name], name, **more)
        if connack is not None and connack.reason_code == 0:
            self.clients[name] = client

    def lose(self, name):
        client = self.clients.pop(name, None)
        if client is not None:
            self.look()
            client.link.lost()

    async def subscribe(self, name, topic_filter="chat/#", qos=2, **more):
        if name not in self.clients:
            self.enter(name, **more)
        await self.send(name, Subscribe(1, (Subscription(topic_filter, qos=qos),)))
        await self.instance.kept()

    async def send(self, name, packet):
        client = self.clients.get(name)
        if client is not None and not client.closed:
            client.after += client.send(packet)

    async def publish(self, qos=1, **more):
        if "publisher" not in self.clients:
            self.enter("publisher", **LASTING)
        await self.send("publisher", Publish(TOPIC, b"x", qos, packet_id=qos and 7, **more))

    def look(self):
        """Count what the receiver has got."""
        client = self.clients.get("receiver")
        self.came += 0 if client is None else len(client.messages())


async def listens(story):
    await story.subscribe("receiver")


async def listens_lastingly(story):
    await story.subscribe("receiver", **LASTING)


async def receiver_goes(story):
    story.lose("receiver")


async def receiver_is_back(story):
    story.enter("receiver", **LASTING)


async def receiver_takes_it(story):
    story.came += len(story.clients["receiver"].messages()) if "receiver" in story.clients else 0
    deliveries = [1, 2]
    for packet_id in deliveries:
        await story.send("receiver", Pubrec(packet_id))


async def publishes(story):
    await story.publish()
    await story.instance.kept()


async def publishes_at_qos_0(story):
    await story.publish(0)


async def publishes_at_qos_2(story):
    await story.publish(2)
    await story.instance.kept()


async def leaves_it(story):
    await story.publish(retain=True)
    await story.instance.kept()


async def publishes_into_a_store_that_waits(story):
    story.instance.store.waits = True
    await story.publish(2)


async def publisher_goes(story):
    story.lose("publisher")


async def publisher_releases(story):
    story.enter("publisher", **LASTING)
    await story.send("publisher", Pubrel(7))


async def the_store_goes_on(story):
    story.instance.store.go_on()
    await story.instance.kept()


async def has_a_will(story):
    story.enter("publisher", will=Will(TOPIC, b"x", 1))


async def has_a_delayed_will(story):
    story.enter("publisher", will=Will(TOPIC, b"x", 1, will_delay_interval=60), **LASTING)


async def is_killed_while_the_store_waits(story):
    story.instance.store.waits = True
    story.lose("publisher")


async def time_passes(story):
    story.instance.clock.advance(61)
    story.instance.tick()
    await story.instance.kept()


async def other_joins(story):
    await story.subscribe("other", "$share/g/chat/#", 1, **LASTING)


async def receiver_joins(story):
    await story.subscribe("receiver", "$share/g/chat/#", 1, **LASTING)


async def others_session_ends(story):
    story.lose("other")
    story.enter("other", clean_start=True)
    await story.instance.kept()


# By name: the steps, and how many of them must be done for the message to go on although its
# publisher is revoked then. What is retained, and a will, goes with its publisher until it is there.
PATHS = {
    "live at QoS 0": ([listens, publishes_at_qos_0], 2),
    "live": ([listens, publishes], 2),
    "retained": ([leaves_it, listens], 2),
    "retained, lasting": ([leaves_it, listens_lastingly], 2),
    "queued": ([listens_lastingly, receiver_goes, publishes, receiver_is_back], 3),
    "queued at QoS 2": ([listens_lastingly, receiver_goes, publishes_at_qos_2, receiver_is_back], 3),
    "in flight": ([listens_lastingly, publishes, receiver_goes, receiver_is_back], 2),
    "in flight at QoS 2": (
        [listens_lastingly, publishes_at_qos_2, receiver_goes, receiver_is_back, receiver_takes_it],
        2,
    ),
    "taken in at QoS 2": (
        [listens_lastingly, publishes_into_a_store_that_waits, the_store_goes_on, publisher_releases],
        3,
    ),
    "taken in at QoS 2 over two connections": (
        [
            listens_lastingly,
            publishes_into_a_store_that_waits,
            publisher_goes,
            the_store_goes_on,
            publisher_releases,
        ],
        4,
    ),
    "redistributed": ([other_joins, publishes, receiver_joins, others_session_ends], 2),
    "delayed will": ([listens, has_a_delayed_will, publisher_goes, time_passes], 4),
    "delayed will, lasting": ([listens_lastingly, has_a_delayed_will, publisher_goes, time_passes], 4),
    "will on kill": ([listens, has_a_will, publisher_goes], 3),
    "will on kill, kept": (
        [listens_lastingly, has_a_will, is_killed_while_the_store_waits, the_store_goes_on],
        4,
    ),
}


def judge(name, moment, whose, before, after):
    """Say whether it is right what came before the revocation and after it."""
    if whose == "receiver":
        return after == 0
    through = moment >= PATHS[name][1]
    return bool(before + after) == through


@pytest.mark.parametrize("name", PATHS)
async def test_grid_e_without_a_revocation_the_message_arrives(instance, name):
    story = Story(instance)
    await story.begin()
    for step in PATHS[name][0]:
        await step(story)
    story.look()
    assert story.came


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("whose", ["publisher", "receiver"])
@pytest.mark.parametrize("name", PATHS)
async def test_grid_e_a_revocation_at_any_moment(instance, name, whose, restart):
    steps, _ = PATHS[name]
    for moment in range(len(steps) + 1):
        # Each in an organization of its own, so that none has anything to do with the others.
        instance.organization, instance.key = await instance.other_organization(f"moment {moment}")
        story = Story(instance)
        await story.begin()
        for step in steps[:moment]:
            await step(story)
        story.look()
        before, story.came = story.came, 0
        await instance.revoke(token_id=story.tokens[whose].family.token_id)
        for step in steps[moment:]:
            await step(story)
        story.look()
        if restart:
            await instance.restart()
            story.clients.clear()
            story.enter("receiver", **LASTING)
            story.look()
        assert judge(name, moment, whose, before, story.came), (moment, before, story.came)
        if whose == "receiver":  # with a good token of the same user there is nothing of what ended
            token = await instance.issue("receiver")
            client, connack = instance.enter(token, "receiver", **LASTING)
            assert (connack.reason_code, connack.session_present) == (0, False)
            assert client.messages() == []
