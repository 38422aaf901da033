"""What looks like SQL is text like any other, in every string that comes in (SECURITY, V-111)."""

import pytest

from tokenmq.errors import Conflict, InvalidRequest, NotFound
from tokenmq.services.tokens import RevokeRequest


@pytest.fixture
def open_world_store(open_store):
    """Every database that there is."""
    return open_store


CORPUS = [
    "' OR '1'='1",
    "' OR 1=1 --",
    '" OR ""="',
    "'; DROP TABLE families; --",
    "1; DELETE FROM keys",
    "x' UNION SELECT digest FROM keys --",
    "') OR ('a'='a",
    "\\'; --",
    "%' AND 1=1 AND '%'='",
    "a' || (SELECT name FROM organizations) || 'b",
    "1 AND SLEEP(5)",
    "$1", "?", ":name", "%s", "{0}", "%(a)s", "token_id", "NULL", "first_issued_at DESC",
    "Robert'); DROP TABLE organizations;--",
    "\u02bc OR 1=1",
    "0x27204f5220313d31",
]  # fmt: skip


async def names(world):
    page = world.services.organizations.list(key=world.administrator, limit=500, cursor=None)
    return {record.name for record in page.items}


async def count(world, **query):
    query = {"user_id": None, "status": None, "limit": 500, "cursor": None, "now": world.now, **query}
    page = await world.services.tokens.list(key=world.key, org_id=world.org_id, **query)
    return len(page.items)


async def refused_or_nothing(awaitable):
    """Do it; what is refused is refused by rule, not because the store failed."""
    try:
        return await awaitable
    except (Conflict, InvalidRequest, NotFound):
        return None


async def test_v111_strings_that_are_stored_come_back_as_they_were(world):
    for text in CORPUS:
        token = await world.issue(
            text, user_email=text, integration_id=text, client_id=text, metadata={text: text}
        )
        view = await world.services.tokens.get(
            token.family.token_id, key=world.key, org_id=world.org_id, now=world.now
        )
        assert view.family == token.family
        assert await count(world, user_id=text) == 1
        await world.services.organizations.create(
            name=text, settings=None, key=world.administrator, now=world.now
        )
        created = await world.create_key(name=text)
        assert created.record.name == text
    assert await names(world) == {"demo", *CORPUS}
    await world.restart()
    assert await names(world) == {"demo", *CORPUS}
    assert await count(world) == len(CORPUS)


async def test_v111_strings_that_select_select_nothing_else(world):
    kept = await world.issue()
    for text in CORPUS:
        for field in ("token_id", "user_id", "client_id", "key_id"):
            done = await refused_or_nothing(
                world.services.tokens.revoke(
                    RevokeRequest(**{field: text}, reason=text),
                    key=world.key,
                    org_id=world.org_id,
                    now=world.now,
                )
            )
            assert done is None or done.revoked == 0
        for query in ({"user_id": text}, {"status": text}, {"cursor": text}):
            assert await refused_or_nothing(count(world, **query)) in (None, 0)
        await refused_or_nothing(
            world.services.tokens.delete(text, key=world.key, org_id=world.org_id, now=world.now)
        )
        await refused_or_nothing(
            world.services.keys.delete(
                text, key=world.key, org_id=world.org_id, revoke_tokens=True, now=world.now
            )
        )
        await refused_or_nothing(
            world.services.organizations.delete(text, key=world.administrator, now=world.now)
        )
        await refused_or_nothing(world.services.signing.retire(text, now=world.now))
    world.services.authenticator.connect(world.credentials(kept), world.now)
    assert await names(world) == {"demo"}
    assert await count(world) == 1


@pytest.mark.parametrize("text", CORPUS)
async def test_v111_idempotency_key_means_itself(world, text):
    value = text.encode("ascii", "replace").decode().replace(" ", "_")
    first = await world.issue(idempotency=world.once(value, path=text))
    again = await world.issue(idempotency=world.once(value, path=text))
    other = await world.issue(idempotency=world.once(value, path=text + "/"))
    assert again.family == first.family
    assert other.family != first.family
