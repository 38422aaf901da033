"""How a connection is kept, over connections that are none and clocks that stand still."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tokenmq.client.clocks import Backoff
from tokenmq.client.keeper import Keeper, Verdict, judge
from tokenmq.client.wire import Connack, Outcome
from tokenmq.errors import ConnectError, TokenError


def outcome(code: int) -> Outcome:
    return Outcome(code, f"code {code:#04x}")


OK, REFUSED, OVER, BUSY, TAKEN = (outcome(code) for code in (0, 0x87, 0xA0, 0x89, 0x8E))
AWAY = ConnectError("no broker answers")


class World:
    """A broker, credentials and a user, all of which note what happens.

    Attributes:
        answers: what the next CONNECTs get; success when there is none.
        renewals: what the next renewals raise.
        did: everything that happened, in order.
    """

    def __init__(self, clock: Any) -> None:
        self.clock = clock
        self.answers: list[Outcome | ConnectError] = []
        self.renewals: list[TokenError | None] = []
        self.did: list[Any] = []
        self.passwords = 1
        self.is_renewable = True
        self.was_refused = False
        self.settling: list[Exception] = []
        self.keeper: Keeper

    def keep(self, *, links: int = 1, **options: Any) -> Keeper:
        self.keeper = Keeper(
            [Line(self, number) for number in range(links)],
            self,
            self,
            clock=self.clock,
            backoff=Backoff(chance=lambda: 1.0),
            **options,
        )
        return self.keeper

    async def current(self) -> tuple[str, str]:
        return "u", f"p{self.passwords}"

    async def renew(self, *, is_refused: bool) -> None:
        self.did.append("renew")
        self.was_refused = is_refused
        if self.renewals and (error := self.renewals.pop(0)) is not None:
            raise error
        self.passwords += 1

    async def connected(self, connack: Connack) -> None:
        if self.settling:
            raise self.settling.pop(0)
        self.did.append("connected")

    def disconnected(self, why: Outcome | None) -> None:
        self.did.append(("disconnected", why and why.reason_code))

    def reconnecting(self, attempt: int) -> None:
        self.did.append(("reconnecting", attempt))

    async def before_move(self) -> None:
        self.did.append("before move")

    def failed(self, error: TokenError | ConnectError) -> None:
        self.did.append(error)

    async def lose(self, why: Outcome | None, *, then: float = 0.0) -> list[Any]:
        """End the connection, let time pass, and return what happened since."""
        self.did.clear()
        self.keeper.lost(why)
        await self.clock.advance(then)
        return self.did


class Line:
    """Opens connections in the world."""

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self.number = number

    async def open(self, username: str, password: str) -> Connack:
        self.world.did.append(f"open {self.number} {password}")
        answer = self.world.answers.pop(0) if self.world.answers else OK
        if isinstance(answer, ConnectError):
            raise answer
        return Connack(answer, session_present=True, receive_maximum=10)

    async def close(self, *, session_expiry_seconds: int | None = None) -> None:
        self.world.did.append("close")


@pytest.fixture
async def world(clock: Any) -> AsyncIterator[World]:
    made = World(clock)
    yield made
    await made.keeper.stop()


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        (None, Verdict.AGAIN),
        (0x86, Verdict.REFUSED),
        (0x87, Verdict.REFUSED),
        (0xA0, Verdict.RENEW),
        (0x84, Verdict.FINAL),
        (0x85, Verdict.FINAL),
        (0x8C, Verdict.FINAL),
        (0x8E, Verdict.FINAL),
        *((code, Verdict.AGAIN) for code in (0x80, 0x81, 0x88, 0x89, 0x8B, 0x8D, 0x97, 0x98, 0x9F)),
    ],
)
def test_every_end_has_its_verdict(code: int | None, verdict: Verdict) -> None:
    assert judge(None if code is None else outcome(code)) is verdict


async def test_the_first_address_with_an_answer_is_kept(world: World) -> None:
    world.answers = [AWAY, OK]
    await world.keep(links=3).start()
    assert world.did == ["open 0 p1", "open 1 p1", "connected"]
    assert (await world.lose(None, then=1))[-2:] == ["open 1 p1", "connected"]


async def test_a_first_connection_that_fails_is_raised_and_not_tried_again(world: World) -> None:
    world.answers = [AWAY, AWAY]
    with pytest.raises(ConnectError, match="no broker answers"):
        await world.keep(links=2).start()
    world.answers = [BUSY]
    with pytest.raises(ConnectError) as caught:
        await world.keep().start()
    assert caught.value.reason_code == 0x89
    await world.clock.advance(100)
    assert len(world.did) == 3


async def test_a_refused_first_connection_is_tried_once_with_a_fresh_token(world: World) -> None:
    world.answers = [REFUSED]
    await world.keep().start()
    assert world.did == ["open 0 p1", "renew", "open 0 p2", "connected"]


async def test_a_fresh_token_that_is_refused_too_is_a_token_error(world: World) -> None:
    world.answers = [REFUSED, REFUSED]
    with pytest.raises(TokenError) as caught:
        await world.keep().start()
    assert caught.value.kind == "auth_failed"
    assert world.did == ["open 0 p1", "renew", "open 0 p2"]


async def test_a_lost_connection_is_opened_again_with_the_newest_password(world: World) -> None:
    await world.keep().start()
    world.passwords = 7
    assert await world.lose(None, then=1) == [
        ("disconnected", None),
        ("reconnecting", 1),
        "open 0 p7",
        "connected",
    ]


async def test_backoff_doubles_up_to_a_minute_and_never_gives_up(world: World, clock: Any) -> None:
    await world.keep().start()
    world.answers = [AWAY] * 9
    clock.slept.clear()
    did = await world.lose(None, then=400)
    assert clock.slept[:10] == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]
    assert did[-1] == "connected"
    assert [one for one in did if one[0] == "reconnecting"][-1] == ("reconnecting", 10)


async def test_a_broker_that_is_busy_is_waited_for(world: World) -> None:
    await world.keep().start()
    world.answers = [BUSY, outcome(0x88), outcome(0x97)]
    assert (await world.lose(outcome(0x8B), then=60)).count("open 0 p1") == 4


async def test_a_life_that_is_over_is_renewed_before_anything_is_opened_at_once(world: World) -> None:
    await world.keep().start()
    assert await world.lose(OVER) == [
        ("disconnected", 0xA0),
        ("reconnecting", 1),
        "renew",
        "open 0 p2",
        "connected",
    ]


async def test_revoked_while_connected_leads_to_one_fresh_token_and_then_to_the_end(world: World) -> None:
    await world.keep().start()
    did = await world.lose(REFUSED)
    assert did[-3:] == ["renew", "open 0 p2", "connected"]
    did = await world.lose(REFUSED, then=600)
    assert did[0] == ("disconnected", 0x87)
    assert isinstance(did[1], TokenError) and did[1].kind == "auth_failed"
    assert len(did) == 2


async def test_a_connection_that_held_forgives_the_refusal(world: World) -> None:
    await world.keep().start()
    await world.lose(REFUSED)
    await world.clock.advance(30)
    assert (await world.lose(REFUSED))[-1] == "connected"


async def test_a_refused_password_is_never_sent_again(world: World) -> None:
    await world.keep().start()
    world.answers = [REFUSED, REFUSED, REFUSED]
    did = await world.lose(None, then=600)
    assert [one for one in did if str(one).startswith("open")] == ["open 0 p1", "open 0 p2"]
    assert isinstance(did[-1], TokenError)


async def test_a_renewal_that_fails_for_a_while_is_tried_again_and_nothing_opened_meanwhile(
    world: World,
) -> None:
    await world.keep().start()
    away = TokenError("network", "away", is_final=False)
    slow = TokenError("rate_limited", "slow", is_final=False, retry_after_seconds=40)
    world.renewals = [away, slow, None]
    did = await world.lose(OVER, then=20)
    assert did.count("renew") == 2 and not [one for one in did if str(one).startswith("open")]
    await world.clock.advance(60)
    assert did[-2:] == ["open 0 p2", "connected"]


async def test_a_renewal_that_is_refused_is_the_end(world: World) -> None:
    await world.keep().start()
    world.renewals = [TokenError("auth_failed", "signed out")]
    did = await world.lose(OVER, then=600)
    assert str(did[-1]) == "signed out" and did.count("renew") == 1


async def test_who_took_the_session_over_keeps_it(world: World) -> None:
    await world.keep().start()
    did = await world.lose(TAKEN, then=600)
    assert isinstance(did[-1], ConnectError) and did[-1].reason_code == 0x8E


async def test_without_reconnecting_the_first_end_is_the_end(world: World) -> None:
    await world.keep(reconnects=False).start()
    did = await world.lose(None, then=600)
    assert isinstance(did[-1], ConnectError) and did[-1].reason_code == 0x80
    assert len(did) == 2


async def test_it_gives_up_when_it_is_told_to(world: World) -> None:
    await world.keep(max_attempts=3).start()
    world.answers = [AWAY] * 10
    did = await world.lose(None, then=600)
    assert "given up after 3 attempts" in str(did[-1])
    assert did.count("open 0 p1") == 3


async def test_a_planned_move_closes_and_opens_without_backoff(world: World) -> None:
    await world.keep().start()
    world.did.clear()
    world.passwords = 2
    world.keeper.move()
    await world.clock.advance(0)
    assert world.did == ["before move", "close", "open 0 p2", "connected"]


async def test_a_planned_move_without_a_broker_is_a_lost_connection(world: World) -> None:
    await world.keep().start()
    world.did.clear()
    world.answers = [AWAY, AWAY]
    world.keeper.move()
    await world.clock.advance(10)
    assert world.did == [
        "before move",
        "close",
        "open 0 p1",
        ("disconnected", None),
        ("reconnecting", 2),
        "open 0 p1",
        ("reconnecting", 3),
        "open 0 p1",
        "connected",
    ]


async def test_a_broker_that_takes_connections_and_closes_them_is_left_alone_more_and_more(
    world: World, clock: Any
) -> None:
    await world.keep().start()
    clock.slept.clear()
    for _ in range(8):
        await world.lose(None)
        await clock.advance(clock.slept[-1])
    assert clock.slept == [1, 2, 4, 8, 16, 32, 60, 60]
    await clock.advance(30)
    await world.lose(None)
    assert clock.slept[-1] == 1


async def test_lives_that_are_over_at_once_make_no_loop(world: World, clock: Any) -> None:
    """A broker whose clock is wrong ends every token that it has just taken."""
    await world.keep().start()
    clock.slept.clear()
    for _ in range(5):
        await world.lose(OVER)
        await clock.advance(clock.slept[-1])
    assert clock.slept == [0, 1, 2, 4, 8]
    await clock.advance(30)
    assert await world.lose(OVER) == [
        ("disconnected", 0xA0),
        ("reconnecting", 1),
        "renew",
        "open 0 p7",
        "connected",
    ]


async def test_a_connection_that_is_of_no_use_is_closed_and_made_anew(world: World) -> None:
    await world.keep().start()
    world.settling = [ConnectError("the broker does not answer to SUBSCRIBE")]
    did = await world.lose(None, then=10)
    assert did[2:] == [
        "open 0 p1",
        "close",
        ("disconnected", None),
        ("reconnecting", 1),
        "open 0 p1",
        "connected",
    ]


async def test_a_defect_of_ours_is_told_to_all_who_wait(world: World) -> None:
    await world.keep().start()
    world.settling = [KeyError("oops")]
    did = await world.lose(None, then=10)
    assert isinstance(did[-2], ConnectError) and "the client itself has failed: KeyError('oops')" in str(
        did[-2]
    )
    assert did[-1] == "close"


async def test_a_source_is_told_whether_its_token_was_refused(world: World) -> None:
    await world.keep().start()
    await world.lose(OVER)
    assert not world.was_refused
    await world.clock.advance(30)
    await world.lose(REFUSED)
    assert world.was_refused


async def test_every_address_that_was_tried_is_named(world: World) -> None:
    world.answers = [ConnectError("no broker answers at a"), ConnectError("no broker answers at b")]
    with pytest.raises(ConnectError, match="no broker answers at a; no broker answers at b"):
        await world.keep(links=2).start()


@pytest.mark.parametrize("why", [None, OVER])
async def test_as_many_attempts_as_it_was_told_whatever_the_end(world: World, why: Outcome | None) -> None:
    await world.keep(max_attempts=2).start()
    world.answers = [AWAY] * 10
    did = await world.lose(why, then=600)
    assert [one for one in did if str(one).startswith("open")] == [f"open 0 p{1 if why is None else 2}"] * 2


async def test_stopping_ends_the_attempts(world: World) -> None:
    keeper = world.keep()
    await keeper.start()
    world.answers = [AWAY] * 100
    await world.lose(None, then=3)
    await keeper.stop(session_expiry_seconds=0)
    count = len(world.did)
    await world.clock.advance(600)
    assert len(world.did) == count


@pytest.mark.parametrize("why", [REFUSED, OVER])
async def test_what_nobody_renews_is_the_end(world: World, why: Outcome) -> None:
    world.is_renewable = False
    await world.keep().start()
    did = await world.lose(why, then=600)
    assert str(did[-1]) == f"disconnected: {why}" and len(did) == 2


async def test_a_fixed_password_that_is_refused_is_told_in_the_brokers_words(world: World) -> None:
    world.is_renewable = False
    world.answers = [REFUSED]
    with pytest.raises(TokenError, match=r"refused the connection: code 0x87 \(0x87\)"):
        await world.keep().start()
    assert world.did == ["open 0 p1"]
