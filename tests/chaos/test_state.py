import pytest
from chaos.ledger import FOREVER, Ledger, Page
from chaos.state import ClientState

from tokenmq.mqtt.packets import (
    Connack,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    Subscription,
)


class Player:
    """A protocol state with its page of a ledger."""

    def __init__(self, *, version=5, outlives=True):
        self.ledger = Ledger()
        self.page = Page(self.ledger, "c")
        self.state = ClientState(self.page, version=version, outlives=outlives)

    def connect(self, *, present=False):
        return self.state.received(Connack(session_present=present))

    def publish(self, qos):
        packet = Publish("load/a", qos=qos)
        return self.state.publish(self.ledger.message("c", 1, packet).number, packet)[0]

    @property
    def faults(self):
        return [text for _, text in self.ledger.faults]


@pytest.fixture
def player():
    player = Player()
    player.connect()
    return player


def test_what_is_not_acknowledged_goes_again_in_order_with_its_identifier(player):
    one, two, three = player.publish(1), player.publish(2), player.publish(2)
    assert player.state.received(Pubrec(two.packet_id)) == [Pubrel(two.packet_id)]
    player.state.disconnected()
    again = player.connect(present=True)
    assert again == [one, Pubrel(two.packet_id), three]
    assert one.dup and three.dup


def test_what_is_acknowledged_does_not_go_again_and_its_identifier_is_free(player):
    one, two = player.publish(1), player.publish(2)
    player.state.received(Puback(one.packet_id))
    player.state.received(Pubrec(two.packet_id))
    player.state.received(Pubcomp(two.packet_id))
    assert player.publish(1).packet_id == one.packet_id
    assert [message.acknowledged < FOREVER for message in player.ledger.messages.values()] == [
        True,
        True,
        False,
    ]
    assert not player.faults


def test_a_message_at_qos_2_is_handed_up_once_until_its_pubrel(player):
    player.ledger.message("d", 1, packet := Publish("load/a", qos=2, packet_id=7))
    for _ in range(2):
        assert player.state.received(packet) == [Pubrec(7)]
        player.state.disconnected()
        player.connect(present=True)
    assert len(player.page.life.deliveries) == 1
    assert player.state.received(Pubrel(7)) == [Pubcomp(7)]
    player.state.received(packet)
    assert len(player.page.life.deliveries) == 2


def test_a_session_that_does_not_outlive_its_connection_forgets_everything():
    player = Player(outlives=False)
    player.connect()
    player.publish(1)
    player.state.disconnected()
    assert player.connect() == []
    assert player.ledger.messages[1].given_up < FOREVER


def test_a_subscription_is_asked_for_again_until_it_is_granted(player):
    wanted = Subscription("load/#", 1)
    player.state.disconnected()
    assert player.state.subscribe(wanted) == []
    (asked,) = player.connect(present=True)
    assert asked == Subscribe(asked.packet_id, (wanted,))
    player.state.received(Suback(asked.packet_id, (1,)))
    player.state.disconnected()
    assert player.connect(present=True) == []


@pytest.mark.parametrize(
    "packet",
    [Puback(9), Pubrec(9), Pubcomp(9), Publish("load/a", b"0:", qos=1, packet_id=1), Publish("load/a")],
    ids=["puback", "pubrec", "pubcomp", "never-published", "qos-0"],
)
def test_what_no_server_may_send_is_a_fault(player, packet):
    player.state.received(packet)
    assert len(player.faults) == 1


def test_a_session_that_must_be_there_and_is_not_is_a_fault(player):
    one = player.publish(1)
    player.state.received(Puback(one.packet_id))
    player.state.disconnected()
    player.connect(present=False)
    assert player.faults == ["c: the session is gone"]
