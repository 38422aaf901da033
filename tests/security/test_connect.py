"""Who gets in, as whom: attacks on CONNECT, against the real services."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tokenmq.broker import revoking
from tokenmq.errors import Unavailable
from tokenmq.mqtt import codec
from tokenmq.mqtt.packets import Connack, Connect, Publish

BOTH_VERSIONS = pytest.mark.parametrize("version", [4, 5])


def refusal(connack: Connack | None) -> int | None:
    return None if connack is None else connack.reason_code


@BOTH_VERSIONS
async def test_v45_no_part_of_the_credentials_may_be_missing(instance, version):
    """Anonymous, a username alone, a password alone, empty ones: nobody is nobody."""
    token = await instance.issue()
    text = token.text.encode()
    cases: list[tuple[str | None, bytes | None]] = [
        (None, None),
        ("", b""),
        (token.username, None),
        (token.username, b""),
        ("", text),
        ("ann", text),
        ("@" + instance.organization.id, text),
        (f"server@{instance.organization.id}", None),
        (f"server@{instance.organization.id}", b""),
        (f"server@{instance.organization.id}", text),
    ]
    if version == 5:  # in 3.1.1 a password without a username is malformed
        cases.append((None, text))
    for username, password in cases:
        client = instance.client(version)
        connack = client.connect(username, password)
        assert refusal(connack) in (0x86, 0x87), (username, password)
        assert client.closed
        assert client.session is None


async def test_v45_an_authentication_method_without_a_token_is_nobody(instance):
    token = await instance.issue()
    text = token.text.encode()
    cases: list[tuple[dict[str, Any], int]] = [
        ({"authentication_method": "JWT"}, 0x87),
        ({"authentication_method": "JWT", "authentication_data": b""}, 0x87),
        ({"authentication_method": "jwt", "authentication_data": text}, 0x8C),
        ({"authentication_method": "", "authentication_data": text}, 0x8C),
        ({"authentication_method": "PLAIN", "authentication_data": text}, 0x8C),
        ({"authentication_method": "JWT", "authentication_data": text, "password": text + b"="}, 0x87),
        ({"authentication_method": "JWT", "authentication_data": text, "password": b""}, 0x87),
        ({"authentication_method": "JWT", "authentication_data": instance.key_text.encode()}, 0x87),
    ]
    for fields, code in cases:
        client = instance.client()
        connack = client.connect(None, fields.pop("password", None), **fields)
        assert refusal(connack) == code, fields
        assert client.closed


async def test_v33_nothing_in_a_connect_but_the_token_chooses_the_tenant(instance):
    other, _ = await instance.other_organization()
    token = await instance.issue()
    properties = (
        ("organization_id", other.id),
        ("org", other.id),
        ("tenant", other.id),
        ("account", other.id),
    )
    client, connack = instance.enter(token, f"org/{other.id}", user_properties=properties)
    assert connack.reason_code == 0
    assert client.session.tenant.org_id == instance.organization.id
    stranger = instance.client()
    assert refusal(stranger.connect(f"ann@{other.id}", token.text.encode())) == 0x87


@pytest.mark.parametrize(
    "spelled",
    [
        "{user}@{org}@{org}",
        "%61nn@{org}",
        "ANN@{org}",
        "ann @{org}",
        "ann@{ORG}",
        "ann@ {org}",
        "ann%40x@{org}",
        "ann@",
        "@{org}",
        "ann",
        "ann@org_",
        "ann\u200b@{org}",
        "server@{org}",
        "Server@{org}",
        "%73erver@{org}",
        "server%00@{org}",
        "ann@server@{org}",
    ],
)
async def test_v60_a_username_has_one_spelling(instance, spelled):
    token = await instance.issue("ann")
    org = instance.organization.id
    username = spelled.format(user="ann", org=org, ORG=org.upper())
    client = instance.client()
    assert refusal(client.connect(username, token.text.encode())) in (0x86, 0x87)
    assert client.session is None


@pytest.mark.parametrize(
    "user_id", ["a@b.example", "x/+#", "50%", "%41", "ü", "a b", "$x", "null", "undefined"]
)
async def test_v68_odd_user_ids_are_themselves_and_nobody_else(instance, user_id):
    token = await instance.issue(user_id)
    client, connack = instance.enter(token)
    assert connack.reason_code == 0
    assert client.session.identity.user_id == user_id
    assert client.session.identity.owner == ("user", user_id)


@pytest.mark.parametrize("clean_start", [True, False])
@BOTH_VERSIONS
async def test_v38_another_users_connect_leaves_a_session_untouched(instance, version, clean_start):
    ann = await instance.joined("ann", client_id="shared", version=version)
    ann.subscribe("chat/#")
    token = await instance.issue("bob")
    intruder, connack = instance.enter(token, "shared", version, clean_start=clean_start)
    assert refusal(connack) == 0x85
    assert intruder.closed
    assert not ann.closed
    (await instance.joined("carol")).publish("chat/a")
    assert ann.topics() == ["chat/a"]


@pytest.mark.parametrize(
    ("bound", "code"),
    [("shared", 0), ("shared*", 0x85), ("*", 0x85), (None, 0x85)],
    ids=["exactly", "prefix", "any", "unbound"],
)
async def test_v38_only_a_token_that_names_the_client_id_takes_it_from_another(instance, bound, code):
    ann = await instance.joined("ann", client_id="shared")
    token = await instance.issue("bob", client_id=bound)
    newcomer, connack = instance.enter(token, "shared")
    assert refusal(connack) == code
    assert ann.closed == (code == 0)
    if code == 0:
        assert [packet.reason_code for packet in ann.received()] == [0x8E]
        assert newcomer.session.subscriptions == {}


async def test_v38_a_star_in_a_client_id_is_no_pattern(instance):
    ann = await instance.joined("ann", client_id="dev-*")
    token = await instance.issue("bob", client_id="dev-*")
    _, connack = instance.enter(token, "dev-*")
    assert refusal(connack) == 0x85
    assert not ann.closed


async def test_v38_a_user_and_a_key_do_not_take_each_others_client_id(instance):
    ann = await instance.joined("ann", client_id="backend")
    server = instance.client()
    name = f"server@{instance.organization.id}"
    assert refusal(server.connect(name, instance.key_text.encode(), "backend")) == 0x85
    assert not ann.closed
    ann.link.lost()
    server = instance.client()
    assert refusal(server.connect(name, instance.key_text.encode(), "backend")) == 0
    second = await instance.make_key()
    other = instance.client()
    assert refusal(other.connect(name, second.text.encode(), "backend")) == 0x85
    assert not server.closed


async def test_v38_a_client_id_means_nothing_in_another_organization(instance):
    other, key = await instance.other_organization()
    ann = await instance.joined("ann", client_id="shared")
    token = await instance.issue("ann", organization=other, key=key, client_id="shared")
    twin, connack = instance.enter(token, "shared")
    assert refusal(connack) == 0
    assert not ann.closed
    assert twin.session.tenant is not ann.session.tenant


async def test_q11_a_client_id_that_is_not_the_tokens_is_refused_before_any_session_is_looked_at(instance):
    ann = await instance.joined("ann", client_id="c-ann")
    token = await instance.issue("ann", client_id="other")
    client, connack = instance.enter(token, "c-ann")
    assert refusal(connack) == 0x85
    assert not ann.closed
    assert client.closed


async def test_q13_a_connect_that_does_not_fit_takes_nothing_over(instance):
    """Its CONNACK is larger than it accepts: it fails, and the session that it named lives."""
    ann = await instance.joined("ann", client_id="c-ann")
    token = await instance.issue("ann")
    client, connack = instance.enter(token, "c-ann", maximum_packet_size=5)
    assert refusal(connack) != 0
    assert client.closed
    assert not ann.closed


@BOTH_VERSIONS
async def test_v74_clients_that_fight_for_client_ids_leave_one_each(instance, version):
    chance = random.Random(7)
    tokens = [await instance.issue(f"u{number % 3}", client_id="*") for number in range(6)]
    open_: list[Any] = []
    for _ in range(400):
        if open_ and chance.random() < 0.2:
            open_.pop(chance.randrange(len(open_))).link.lost()
            continue
        client, connack = instance.enter(chance.choice(tokens), f"id-{chance.randrange(5)}", version)
        if connack.reason_code == 0:
            client.subscribe("chat/#")
            open_.append(client)
        else:
            assert connack.reason_code == 0x85
            assert client.closed
        open_ = [one for one in open_ if not one.closed]
    tenant = instance.hub.broker.tenants[instance.organization.id]
    assert {id(session) for session in tenant.sessions.values()} == {id(one.session) for one in open_}
    for one in open_:
        one.received()
    if open_:
        open_[0].link.received(codec.encode(Publish("chat/a"), version))
        assert [one.topics() for one in open_] == [["chat/a"]] * len(open_)
    for one in open_:
        one.link.lost()
    assert tenant.sessions == {}
    families = [token.family.token_id for token in tokens]
    assert revoking.connected_families(instance.hub.broker, families) == set()


@pytest.mark.parametrize("step", ["connect", "check"])
@pytest.mark.parametrize(
    "error",
    [KeyError("x"), ValueError("x"), RuntimeError("x"), TypeError("x"), OSError("x"), RecursionError("x")],
)
async def test_v86_any_exception_while_authenticating_refuses(instance, monkeypatch, step, error):
    def fail(*_: object, **__: object) -> None:
        raise error

    token = await instance.issue()
    where = instance.services.authenticator if step == "connect" else instance.services.families
    monkeypatch.setattr(where, step, fail)
    client, connack = instance.enter(token)
    assert refusal(connack) != 0
    assert client.closed
    assert client.session is None


async def test_v86_a_connection_that_failed_may_not_go_on(instance, monkeypatch):
    token = await instance.issue()
    listener = await instance.joined("bob")
    listener.subscribe("chat/#")
    monkeypatch.setattr(instance.services.families, "check", lambda *_: 1 / 0)
    client = instance.client()
    connect = Connect(5, "c1", username=token.username, password=token.text.encode())
    client.link.received(codec.encode(connect, 5) + codec.encode(Publish("chat/a"), 5))
    assert client.closed
    assert listener.topics() == []


async def test_v62_a_store_that_fails_lets_nobody_in(instance, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise Unavailable("the store failed")

    monkeypatch.setattr(instance.services.keys, "authenticate", fail)
    client = instance.client()
    name = f"server@{instance.organization.id}"
    assert refusal(client.connect(name, instance.key_text.encode())) == 0x88
    assert client.closed


# [MQTT-4.12.0-1]
async def test_q10_an_unknown_method_is_refused_with_0x8c_and_closed(instance):
    token = await instance.issue()
    client = instance.client()
    assert refusal(client.connect(None, None, authentication_method="SCRAM-SHA-1")) == 0x8C
    assert client.closed
    assert client.connect(token.username, token.text.encode()) is None


async def test_q15_a_refusal_says_session_present_0_and_nothing_follows(instance):
    token = await instance.issue()
    _, connack = instance.enter(token, clean_start=False)
    assert not connack.session_present
    refused = instance.client()
    packets = refused.send(Connect(5, "c9", username=token.username, password=b"wrong"))
    assert [type(packet) for packet in packets] == [Connack]
    assert not packets[0].session_present
    assert refused.closed


async def test_ruling_18_a_server_connects_from_where_nobody_can_listen_and_never_from_a_page(instance):
    name, key = f"server@{instance.organization.id}", instance.key_text.encode()
    for more, code in (({}, 0), ({"trusted": False}, 0x87), ({"origin": "http://localhost:3000"}, 0x87)):
        client = instance.client(**more)
        assert refusal(client.connect(name, key, f"c{code}")) == code


@pytest.mark.parametrize(
    ("kind", "asked", "code"),
    [
        ("sk", {}, 0),
        ("rk", {"scopes": ("mqtt",), "permissions": ("publish",), "topics": ("chat/#",)}, 0),
        ("rk", {"scopes": ("tokens:read",)}, 0x87),
        ("pk", {}, 0x87),
    ],
)
async def test_v33_only_a_key_that_opens_connections_opens_one(instance, kind, asked, code):
    key = await instance.make_key(kind, **asked)
    client = instance.client()
    name = f"server@{instance.organization.id}"
    assert refusal(client.connect(name, key.text.encode())) == code
    if kind == "rk" and code == 0:
        assert client.subscribe("chat/a") == [0x87]
        assert client.publish("other", qos=1)[0].reason_code == 0x87


async def test_v33_the_administrators_key_opens_no_connection_anywhere(instance):
    client = instance.client()
    name = f"server@{instance.organization.id}"
    assert refusal(client.connect(name, instance.admin_text.encode())) == 0x86


async def test_limits_of_client_id_username_and_password_are_kept(instance):
    """SECURITY 6.1: 128, 1,024 and 8,192 bytes."""
    token = await instance.issue(client_id="*")
    text = token.text.encode()
    assert refusal(instance.client().connect(token.username, text, "é" * 64)) == 0
    assert refusal(instance.client().connect(token.username, text, "é" * 64 + "x")) == 0x85
    long = "u" * (1_025 - len(instance.organization.id) - 1) + "@" + instance.organization.id
    connack = instance.client().connect(long, text)
    assert (connack.reason_code, connack.reason_string) == (
        0x86,
        "username has 1025 bytes, at most 1024 are accepted",
    )
    connack = instance.client().connect(token.username, b"x" * 8_193)
    assert (connack.reason_code, connack.reason_string) == (
        0x87,
        "password has 8193 bytes, at most 8192 are accepted",
    )
    connack = instance.client().connect(
        None, None, authentication_method="JWT", authentication_data=b"x" * 8_193
    )
    assert connack.reason_string == "token has 8193 bytes, at most 8192 are accepted"


async def test_v85_nothing_that_opens_the_door_is_the_same_in_two_instances(make_instance):
    one, two = await make_instance(), await make_instance()
    assert one.admin_text != two.admin_text
    assert one.key_text != two.key_text
    token = await one.issue()
    client = two.client()
    assert refusal(client.connect(token.username, token.text.encode())) == 0x87


async def test_v82_remembered_tokens_are_found_by_their_whole_digest(instance):
    token = await instance.issue()
    verifier = instance.services.tokens._verifier
    assert {len(digest) for digest in verifier._known} == {32}
    changed = token.text[:-1] + ("A" if token.text[-1] != "A" else "B")
    client = instance.client()
    assert refusal(client.connect(token.username, changed.encode())) == 0x87
