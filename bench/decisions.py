"""The cost of one permission decision, in nanoseconds: `python -m bench.decisions` prints one JSON object.

In a process of its own and without a broker. *Cached* is the broker's own judgement of a PUBLISH on a topic
that its session has used, beside the bare look-up in a dict; *uncached* is `Scope` asked about topics it has
compiled its trees for, with 64 grants and with 1 under the starting policy, and with 64 under one of 1,000
rules of all kinds. *First* is a new `Scope` and its first decision, which has to compile, for the record.
Each is the best of many short runs, so that other programs do not count.
"""

import itertools
import json
import timeit
from collections.abc import Callable

from tokenmq.access.decide import Scope
from tokenmq.access.grants import Grant
from tokenmq.access.identity import Identity
from tokenmq.access.permission import Permission
from tokenmq.access.policy import STARTING_POLICY, Policy
from tokenmq.access.rules import ClaimCondition, Effect, Rule
from tokenmq.broker.broker import Broker
from tokenmq.broker.outbox import Outbox
from tokenmq.broker.refusals import refusal
from tokenmq.broker.session import Session
from tokenmq.broker.tenant import TenantRules
from tokenmq.config import BrokerSettings
from tokenmq.mqtt.connection import Connection, ConnectionLimits
from tokenmq.mqtt.packets import Publish

REPEATS = 60
TOPICS = 1000


def nanoseconds(action: Callable[[], object], *, number: int, each: int) -> float:
    """The best of several runs, divided by the `each` decisions that one call makes."""
    return min(timeit.repeat(action, number=number, repeat=REPEATS)) / number / each * 1e9


def identity(grants: int) -> Identity:
    """A user with this many grants, of which half have a wildcard."""
    topics = [f"sites/{index}/rooms/{'+' if index % 2 else 'hall'}/state" for index in range(grants)]
    both = (Permission.PUBLISH, Permission.SUBSCRIBE)
    return Identity(
        org_id="org_aaaaaaaaaaaa", user_id="bench", username="bench@org_aaaaaaaaaaaa",
        grants=tuple(Grant(both, (topic,)) for topic in topics), attrs={"role": "x"},
        expires_at=None, token_id="tok_bench", jti="bench", gen=0, key_id=None, client_id=None,
    )  # fmt: skip


def asked(grants: int) -> list[str]:
    """Topics over all grants in turn, all of them allowed: a refusal ends earlier."""
    return [f"sites/{index % grants}/rooms/hall/state" for index in range(TOPICS)]


def cached_and_bare() -> tuple[float, float]:
    """What the broker does with a PUBLISH on a topic that its session has used, and a bare look-up."""
    user = identity(64)
    settings = BrokerSettings()
    broker = Broker(settings, lambda identity, *_: identity, salt=b"")
    broker.set_rules(user.org_id, TenantRules(STARTING_POLICY, ("$spaces",), close_on_refused_publish=False))
    outbox = Outbox(Connection(ConnectionLimits(), 0.0), None)
    session = Session(
        broker.tenants[user.org_id], outbox, user, "bench", settings=settings, moment=broker.moment
    )
    for topic in asked(64):
        session.keep_judgement(topic, None)
    packets = [Publish(topic=topic, payload=b"") for topic in asked(64)]
    known = session.judgements

    def cached() -> None:
        for packet in packets:
            refusal(settings, session, packet)

    def bare() -> None:
        for packet in packets:
            known[packet.topic]

    return nanoseconds(cached, number=10, each=TOPICS), nanoseconds(bare, number=10, each=TOPICS)


def many_rules() -> Policy:
    """A thousand rules about everybody, this user, patterns and claims, of which every fourth denies."""
    users: list[str | ClaimCondition] = ["*", "bench", "b*", ClaimCondition("role", "x")]
    some = [
        Rule(users[at % 4], tuple(Permission), (f"areas/{at}/+/state", f"people/{at}/{{user_id}}"),
             Effect.DENY if at % 16 < 4 else Effect.ALLOW)
        for at in range(998)
    ]  # fmt: skip
    closing = [
        Rule("*", (Permission.PUBLISH,), ("sites/+/attic/#",), Effect.DENY),
        Rule("*", tuple(Permission), ("#",)),
    ]
    return Policy((*some, *closing))


def uncached(grants: int, policy: Policy = STARTING_POLICY) -> float:
    scope = Scope(identity(grants), policy=policy, client_id="bench")
    topics = asked(grants)

    def decide() -> None:
        on_topic = scope.on_topic
        for topic in topics:
            on_topic(Permission.PUBLISH, topic)

    decide()
    return nanoseconds(decide, number=1, each=TOPICS)


def first(grants: int) -> float:
    user = identity(grants)
    topics = itertools.cycle(asked(grants))

    def decide() -> None:
        Scope(user, policy=STARTING_POLICY, client_id="bench").on_topic(Permission.PUBLISH, next(topics))

    return nanoseconds(decide, number=20, each=1)


def main() -> None:
    cached, bare = cached_and_bare()
    result = {
        "mode": "decisions", "cached_ns": cached, "bare_ns": bare,
        "uncached_64_ns": uncached(64), "uncached_1_ns": uncached(1),
        "uncached_rules_ns": uncached(64, many_rules()),
        "first_64_ns": first(64), "first_1_ns": first(1),
    }  # fmt: skip
    print(
        json.dumps(
            {name: round(value, 1) if isinstance(value, float) else value for name, value in result.items()}
        )
    )


if __name__ == "__main__":
    main()
