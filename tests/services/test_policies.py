"""Policies: shown, put, checked and asked; and what tokens get under them."""

import asyncio
import json

import msgspec
import pytest
from sqlalchemy import text

from tokenmq.access.grants import Grant
from tokenmq.access.permission import Permission
from tokenmq.access.policy import Policy, starting_document
from tokenmq.access.rules import PolicyDocument
from tokenmq.errors import (
    Conflict,
    Forbidden,
    GrantTooWide,
    InvalidRequest,
    InvalidToken,
    NotFound,
    Unavailable,
)
from tokenmq.services.policies import Question

PUBLISH, SUBSCRIBE, PRESENCE, HISTORY = Permission
TREES = ("$notifications", "$spaces")
CHAT = {
    "version": "1",
    "default": "deny",
    "rules": [
        {
            "user": {"claim": "role", "equals": "admin"},
            "permissions": ["publish"],
            "topics": ["chat/news"],
            "effect": "allow",
        },
        {"user": "*", "permissions": ["publish"], "topics": ["chat/news"], "effect": "deny"},
        {"user": "*", "permissions": ["publish", "subscribe"], "topics": ["chat/#"], "effect": "allow"},
        {"user": "*", "permissions": ["subscribe"], "topics": ["inbox/{user_id}/#"], "effect": "allow"},
    ],
}


async def put(world, tree=CHAT, *, revision=None, key=None, org_id=None):
    return await world.services.policies.put(
        tree, revision=revision, key=key or world.key, org_id=org_id or world.org_id, now=world.now
    )


def plain(document):
    return json.loads(msgspec.json.encode(document))


def show(world, **changes):
    return world.services.policies.show(**({"key": world.key, "org_id": world.org_id} | changes))


def ask(world, action, topic, **asked):
    question = Question(action=Permission(action), topic=topic, **asked)
    return world.services.policies.simulate(question, key=world.key, org_id=world.org_id, now=world.now)


class TestShow:
    async def test_the_starting_document_is_explicit_and_warned_of(self, world):
        view = show(world)
        assert view.document == starting_document(TREES)
        assert view.untouched
        assert [(one.path, one.severity) for one in view.findings] == [("", "warning")]
        assert world.services.organizations.policy_is_untouched(world.org_id)

    async def test_a_key_without_the_scope_and_a_foreign_one_see_nothing(self, world):
        restricted = (await world.create_key("rk", scopes=("keys",))).record
        _, foreign = await world.other_organization()
        with pytest.raises(Forbidden):
            show(world, key=restricted)
        with pytest.raises(NotFound):
            show(world, key=foreign)
        for key in (restricted, foreign):
            with pytest.raises((Forbidden, NotFound)):
                await put(world, key=key)
        assert show(world, key=(await world.create_key("rk", scopes=("policy",))).record).untouched


class TestPut:
    async def test_it_is_in_force_told_to_the_broker_and_there_after_a_restart(self, world):
        view = await put(world)
        assert (view.untouched, view.findings) == (False, ())
        assert plain(view.document) == CHAT
        organizations = world.services.organizations
        assert world.broker.told == [("organization_changed", organizations.find(world.org_id))]
        assert organizations.policy_of(world.org_id) == Policy(view.document.rules)
        assert not organizations.policy_is_untouched(world.org_id)
        await world.restart()
        assert show(world) == view

    async def test_other_organizations_and_other_settings_stay_as_they_are(self, world):
        other, _ = await world.other_organization()
        await put(world)
        assert world.services.organizations.policy_is_untouched(other.id)
        await world.services.organizations.patch(
            world.org_id,
            name="renamed",
            settings={"dollar_trees": []},
            key=world.administrator,
            now=world.now,
        )
        assert plain(show(world).document) == CHAT

    async def test_one_policy_is_compiled_once(self, world):
        await put(world)
        before = world.services.organizations.policy_of(world.org_id)
        await world.other_organization()
        assert world.services.organizations.policy_of(world.org_id) is before

    async def test_the_starting_document_put_back_is_untouched_again(self, world):
        await put(world)
        view = await put(world, msgspec.to_builtins(starting_document(TREES)))
        assert view.untouched and world.services.organizations.find(world.org_id).policy is None

    async def test_errors_are_named_by_place_and_change_nothing(self, world):
        wrong = {"version": "1", "rules": [CHAT["rules"][0] | {"topics": ["a/#/b"], "user": []}], "x": 1}
        with pytest.raises(InvalidRequest) as caught:
            await put(world, wrong)
        assert [path for path, _ in caught.value.problems] == ["x", "rules[0].user", "rules[0].topics[0]"]
        assert show(world).untouched and world.broker.told == []

    async def test_only_the_revision_that_was_read_is_replaced(self, world):
        first = show(world)
        second = await put(world, revision=first.revision)
        with pytest.raises(Conflict):
            await put(world, CHAT | {"rules": []}, revision=first.revision)
        assert show(world) == second
        done = await asyncio.gather(
            *(put(world, CHAT | {"rules": CHAT["rules"][n:]}, revision=second.revision) for n in (1, 2, 3)),
            return_exceptions=True,
        )
        assert sorted(type(one).__name__ for one in done) == ["Conflict", "Conflict", "PolicyView"]

    async def test_v04_a_failing_store_leaves_the_old_one_in_force(self, world):
        await put(world)
        before, told = show(world), list(world.broker.told)
        heal = world.fail_commits()
        with pytest.raises(Unavailable):
            await put(world, CHAT | {"rules": []})
        heal()
        assert show(world) == before and world.broker.told == told

    @pytest.mark.parametrize(
        "stored",
        [
            "",
            "{}",
            "null",
            '{"version":"2","default":"deny","rules":[]}',
            '{"version":"1","default":"deny","rules":[{"user":"*","permissions":["publish"],"topics":["#/a"]}]}',
            '{"version":"1","default":"deny","rules":[{"user":"*","permissions":[],"topics":["#"]}]}',
        ],
    )
    async def test_v08_a_damaged_policy_in_the_store_stops_the_start(self, world, stored):
        await put(world)
        runner = world.services.store.writer._runner

        def damage(connection):
            connection.execute(text("UPDATE organizations SET policy = :it"), {"it": stored})

        await runner.run(damage)
        with pytest.raises(Unavailable, match="policy"):
            await world.services.organizations.load()


def validate(world, tree):
    found = world.services.policies.validate(tree, key=world.key, org_id=world.org_id)
    return [(one.path, str(one.severity)) for one in found]


async def test_findings_know_the_trees_of_the_organization(world):
    rule = {"user": "*", "permissions": ["publish"], "topics": ["$jobs/#"]}
    tree = {"version": "1", "rules": [rule]}
    assert validate(world, tree) == [("rules[0].topics[0]", "warning")]
    await world.services.organizations.patch(
        world.org_id, name=None, settings={"dollar_trees": ["$jobs"]}, key=world.administrator, now=world.now
    )
    assert validate(world, tree) == []


class TestSimulate:
    async def test_a_user_by_the_rules_alone(self, world):
        await put(world)
        told = ask(world, "publish", "chat/news", user_id="ann")
        assert told == (
            False,
            "rules[1]",
            "rules[1] (chat/news) denies everybody publish on chat/news",
        )
        assert ask(world, "publish", "chat/news", user_id="ann", claims={"role": "admin"}).allowed
        assert ask(world, "subscribe", "inbox/ann/#", user_id="ann").decided_by == "rules[3]"
        assert not ask(world, "subscribe", "inbox/bob/#", user_id="ann").allowed
        assert ask(world, "subscribe", "$share/g/chat/#", user_id="ann").allowed
        assert ask(world, "publish", "other", user_id="ann") == (
            False,
            "default",
            "no rule allows this user publish on other, and what none allows is refused",
        )
        assert ask(world, "subscribe", "#", user_id="ann").explanation == (
            "rules[2] (chat/#) allows only a part of #, and no rule allows all of it"
        )

    async def test_a_token_by_its_grants_cut_by_the_rules(self, world):
        await put(world)
        token = (await world.issue("ann", topics=("chat/+",))).text
        assert ask(world, "publish", "chat/a", token=token) == (
            True,
            "rules[2]",
            "the token has the grant chat/+; rules[2] (chat/#) allows everybody publish on chat/a",
        )
        assert ask(world, "publish", "chat/news", token=token).decided_by == "rules[1]"
        assert ask(world, "publish", "chat/a/b", token=token) == (
            False,
            "token",
            "the token: no grant of publish matches chat/a/b",
        )
        assert ask(world, "subscribe", "chat/#", token=token).decided_by == "token"

    async def test_a_token_under_a_client_id(self, world):
        tree = {
            "version": "1",
            "rules": [{"user": "*", "permissions": ["publish"], "topics": ["d/{client_id}"]}],
        }
        await put(world, tree)
        free = (await world.issue("ann", topics=("d/+",), permissions=(PUBLISH,))).text
        assert not ask(world, "publish", "d/phone", token=free).allowed
        assert ask(world, "publish", "d/phone", token=free, client_id="phone").allowed
        bound = (await world.issue("ann", topics=("d/+",), permissions=(PUBLISH,), client_id="phone")).text
        assert ask(world, "publish", "d/phone", token=bound).allowed
        assert ask(world, "publish", "d/phone", token=bound, client_id="other").decided_by == "token"

    async def test_trees_that_are_not_there(self, world):
        for topic in ("$SYS/a", "$auth/token", "$jobs/x"):
            assert ask(world, "subscribe", topic, user_id="ann").decided_by == "dollar_trees"
        assert ask(world, "subscribe", "$spaces/x", user_id="ann").allowed

    @pytest.mark.parametrize(
        ("asked", "field"),
        [
            ({"user_id": None}, "user_id"),
            ({"token": "x"}, "user_id"),
            ({"user_id": ""}, "user_id"),
            ({"user_id": None, "token": "x", "claims": {}}, "claims"),
            ({"topic": ""}, "topic"),
            ({"topic": "a/#/b"}, "topic"),
            ({"topic": "a/#"}, "topic"),
            ({"action": SUBSCRIBE, "topic": "$share/g"}, "topic"),
        ],
    )
    async def test_questions_that_are_none_are_refused_by_name(self, world, asked, field):
        question = Question(**({"action": PUBLISH, "topic": "a", "user_id": "ann"} | asked))
        with pytest.raises(InvalidRequest) as caught:
            world.services.policies.simulate(question, key=world.key, org_id=world.org_id, now=world.now)
        assert caught.value.problems[0][0] == field

    async def test_a_token_that_is_not_good_or_foreign_is_refused(self, world):
        other, key = await world.other_organization()
        foreign = (await world.issue("ann", key=key, organization=other)).text
        mine = (await world.issue("ann")).text
        for token in (foreign, mine + "x", "nothing"):
            with pytest.raises(InvalidToken):
                ask(world, "publish", "a", token=token)
        question = Question(PUBLISH, "chat/a", token=mine)
        with pytest.raises(InvalidToken):
            world.services.policies.simulate(
                question, key=world.key, org_id=world.org_id, now=world.now + 4_000
            )


class TestIssuing:
    async def test_without_topics_a_token_gets_what_the_rules_give_this_user(self, world):
        rules = [
            *CHAT["rules"],
            {"user": "bob", "permissions": ["history"], "topics": ["chat/#"]},
            {"user": "adm-*", "permissions": ["presence"], "topics": ["chat/#"]},
        ]
        await put(world, CHAT | {"rules": rules})
        ann = (await world.issue("ann", permissions=None, topics=None)).family.grants
        assert ann == (
            Grant((PUBLISH, SUBSCRIBE), ("chat/#",)),
            Grant((SUBSCRIBE,), ("inbox/{user_id}/#",)),
        )
        bob = (await world.issue("bob", permissions=None, topics=None)).family.grants
        assert Grant((HISTORY, PUBLISH, SUBSCRIBE), ("chat/#",)) in bob
        with pytest.raises(GrantTooWide):
            await world.issue("ann", permissions=(PRESENCE,), topics=None)

    async def test_what_nothing_is_left_of_is_403_and_what_is_narrowed_is_issued(self, world):
        await put(world)
        for topics in (("chat/news",), ("other/#",), ("inbox/ann/x",), ("chat/a", "chat/news")):
            with pytest.raises(GrantTooWide) as caught:
                await world.issue("ann", permissions=(PUBLISH,), topics=topics)
            assert caught.value.permission == "publish"
        with pytest.raises(GrantTooWide):
            await world.issue("ann", permissions=(SUBSCRIBE,), topics=("inbox/bob/#",))
        for topics in (("#",), ("chat/+",), ("+/news/#",)):
            assert (await world.issue("ann", permissions=(PUBLISH,), topics=topics)).text

    async def test_a_deny_for_some_is_asked_user_by_user(self, world):
        deny = {"user": "bob", "permissions": ["publish"], "topics": ["chat/#"], "effect": "deny"}
        await put(world, CHAT | {"rules": [deny, *CHAT["rules"]]})
        await world.issue("ann", topics=("chat/a",), permissions=(PUBLISH,))
        with pytest.raises(GrantTooWide):
            await world.issue("bob", topics=("chat/a",), permissions=(PUBLISH,))

    async def test_a_change_of_the_policy_is_seen_by_the_next_request(self, world):
        asked = {"topics": ("chat/a",), "permissions": (PUBLISH,)}
        for _ in range(2):
            await put(world, CHAT)
            await world.issue("ann", **asked)
            await put(world, CHAT | {"rules": []})
            with pytest.raises(GrantTooWide):
                await world.issue("ann", **asked)


async def test_claims_of_a_token_are_the_identitys(world):
    issued = await world.issue("ann")
    claims = msgspec.structs.replace(
        world.services.tokens._verifier.read(issued.text, world.now), attrs={"a": 1}
    )
    world.services.tokens._verifier.remember(issued.text, claims)
    assert world.services.authenticator.connect(world.credentials(issued), world.now).attrs == {"a": 1}


def test_documents_of_the_store_are_those_of_the_wire():
    assert plain(msgspec.convert(CHAT, PolicyDocument)) == CHAT
