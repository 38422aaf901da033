import pytest
from chaos.judging import judge
from chaos.ledger import Delivery, Ledger, Life, Subscribed, Up, Will

from tokenmq.mqtt.packets import Publish


class Story:
    """A ledger that is told by hand; one second passes with each step."""

    def __init__(self, monkeypatch):
        self.time = 0.0
        monkeypatch.setattr("chaos.ledger.time.monotonic", self.tick)
        self.ledger = Ledger()

    def tick(self):
        self.time += 1
        return self.time

    def life(self, topic_filter, qos=2, client="s"):
        life = Life(client, self.tick())
        asked = self.tick()
        life.subscriptions.append(Subscribed(topic_filter, qos, asked, since=self.tick()))
        self.ledger.lives.append(life)
        return life

    def publish(self, topic="load/a", qos=2, *, acknowledged=True, **more):
        retain = more.pop("retain", False)
        message = self.ledger.message("p", 1, Publish(topic, qos=qos, retain=retain), **more)
        if acknowledged:
            message.acknowledged = self.tick()
        return message

    def deliver(self, life, *messages, qos=2, retain=False):
        for message in messages:
            life.deliveries.append(Delivery(self.tick(), message.number, qos, retain))

    @property
    def faults(self):
        return [fault.text for fault in judge(self.ledger)]


@pytest.fixture
def story(monkeypatch):
    return Story(monkeypatch)


def test_what_is_as_it_must_be_is_no_fault(story):
    life = story.life("load/#")
    first, second = story.publish(), story.publish(qos=1)
    story.deliver(life, first)
    story.deliver(life, second, second, qos=1)
    assert story.faults == []


def test_an_acknowledged_message_that_never_came_is_lost(story):
    life = story.life("load/#")
    story.publish()
    assert story.faults == ["s never got message 1"]
    life.ended = story.tick()
    assert story.faults == []


def test_nothing_is_owed_of_what_was_not_acknowledged_or_was_published_before(story):
    story.publish()
    story.life("load/#")
    story.publish(acknowledged=False)
    assert story.faults == []


def test_a_second_delivery_at_qos_2_is_a_fault(story):
    life = story.life("load/#")
    story.deliver(life, *[story.publish()] * 2)
    assert story.faults == ["s got message 1 2 times at QoS 2"]


def test_first_deliveries_out_of_order_are_a_fault(story):
    life = story.life("load/#")
    first, second = story.publish(), story.publish()
    story.deliver(life, second, first)
    assert story.faults == ["s got message 1 after 2"]


def test_a_message_that_is_older_than_the_session_or_not_subscribed_to_is_a_fault(story):
    message = story.publish()
    life = story.life("load/#")
    story.deliver(life, message)
    assert story.faults == [
        "s got message 1 without a subscription",
        "s got message 1, which is older than its session",
    ]


def test_a_subscription_that_is_over_brings_nothing_new(story):
    life = story.life("load/#")
    life.subscriptions[0].until = life.subscriptions[0].gone = story.tick()
    story.deliver(life, story.publish())
    assert story.faults == ["s got message 1 without a subscription"]


def test_a_group_is_owed_each_message_once(story):
    one, other = story.life("$share/g/load/#", client="one"), story.life("$share/g/load/#", client="other")
    nobody, both = story.publish(), story.publish()
    story.deliver(one, both)
    story.deliver(other, both)
    assert story.faults == [
        f"nobody of $share/g/load/# got message {nobody.number}",
        f"$share/g/load/# got message {both.number} 2 times at QoS 2",
    ]


def test_what_the_member_that_went_may_have_had_at_qos_2_is_not_owed_to_the_others(story):
    story.life("$share/g/load/#", client="one")
    gone = story.life("$share/g/load/#", client="gone")
    story.publish(qos=2)
    story.publish(qos=1)
    gone.ended = story.tick()
    assert story.faults == ["nobody of $share/g/load/# got message 2"]


@pytest.mark.parametrize(("resumed_at", "came", "faults"), [
    (12.0, False, []),
    (12.0, True, ["will 1 came, and its client was back in time"]),
    (40.0, True, []),
    (40.0, False, ["s never got message 1"]),
], ids=["back", "back-and-came", "away-and-came", "away"])  # fmt: skip
def test_a_will_comes_if_its_client_stays_away(story, resumed_at, came, faults):
    life = story.life("wills/#")
    will = Will(5, established=True, ended_at=10.0, challenged_at=resumed_at, resumed_at=resumed_at)
    message = story.publish("wills/a", acknowledged=False, will=will)
    story.ledger.ups.append(Up(0.0, 50.0))
    if came:
        story.deliver(life, message)
    assert story.faults == faults


def test_what_stands_on_a_topic_is_the_last_that_was_acknowledged_or_a_later_one(story):
    first, last = (story.publish("kept/a", retain=True) for _ in range(2))
    later = story.publish("kept/a", retain=True, acknowledged=False)
    for message, right in ((first, False), (last, True), (later, True)):
        story.ledger.readings["kept/a"] = message.number
        assert (not story.faults) == right
    del story.ledger.readings["kept/a"]
    assert story.faults == [f"on kept/a stands nothing; acknowledged last was {last.number}"]
    story.publish("kept/a", retain=True, size=None)
    assert story.faults == []
