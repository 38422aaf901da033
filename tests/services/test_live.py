"""A broker without connections."""

from tokenmq.services.live import Door, Live, NothingLive


def test_until_a_broker_is_attached_nothing_is_connected():
    live: Live = Door().live
    assert isinstance(live, NothingLive)
    assert live.connected("o", ["t"]) == set()
    assert live.opened_by("o", "c") is None
    assert live.revoke("o", ["t"], reason="r", keep_retained=False) == 0
    assert live.displace("o", ["t"], reason="r") == 0
    assert live.end_key("o", "k", reason="r") == 0
    assert live.end_organization("o") == 0
