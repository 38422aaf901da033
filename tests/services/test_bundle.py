"""All services together."""

import pytest

from tokenmq.errors import Unavailable
from tokenmq.services.live import NothingLive


async def test_ready_while_the_store_answers(world):
    await world.services.check_ready()
    await world.services.close()
    with pytest.raises(Unavailable):
        await world.services.check_ready()


async def test_until_a_broker_is_attached_nothing_is_connected(tmp_path, open_world, world):
    services = await open_world(tmp_path / "other", world.now)
    assert isinstance(services.door.live, NothingLive)
    services.attach(world.broker)
    assert services.door.live is world.broker
    await services.close()
