"""A broker without connections."""

import pytest

from tokenmq.errors import Unavailable
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


async def test_without_a_broker_there_is_nothing_to_end_and_nothing_is_published():
    live: Live = Door().live
    assert live.sessions("o", user_id=None, after=None, limit=5) == []
    assert list(live.retained("o", "#")) == []
    assert await live.end_session("o", "c", reason="r") is False
    assert await live.end_user("o", "u", reason="r") == 0
    assert await live.clear_retained("o", "t") is False
    with pytest.raises(Unavailable):
        await live.publish(None, "t", b"", qos=0, retain=False)
