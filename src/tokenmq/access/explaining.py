"""A policy's decision in words, for those who write policies."""

from __future__ import annotations

from typing import NamedTuple

from tokenmq.access.layer import NOTHING, Ruling, first_allowed, is_allowed, rule_on_filter, rule_on_topic
from tokenmq.access.permission import Permission
from tokenmq.access.policy import Policy, shown
from tokenmq.access.rules import EVERYBODY, ClaimCondition, Rule, Subject


class Explained(NamedTuple):
    """A decision.

    Attributes:
        allowed: the answer.
        decided_by: `rules[0]`, or `default` where no rule decides.
        explanation: one sentence.
    """

    allowed: bool
    decided_by: str
    explanation: str


def explain(policy: Policy, permission: Permission, topic: str, subject: Subject) -> Explained:
    """Say what a policy decides and why, whatever tokens there are.

    Args:
        policy: the organization's.
        permission: what is to be done.
        topic: a Topic Name, or with wildcards a Topic Filter, which is then judged as one.
        subject: whose rights are asked about.
    """
    shared, own = policy.shared[permission], policy.own(permission, subject)
    if "+" in topic or "#" in topic:
        ruling = rule_on_filter(shared, own, topic, whole=permission is Permission.PRESENCE)
    else:
        code = rule_on_topic(shared, own, topic)
        ruling = Ruling(code, is_allowed(code))
    if ruling.code != NOTHING:
        return _by_rule(policy, ruling, permission, topic)
    partly = first_allowed(shared, own, topic)
    if partly != NOTHING:
        words = f"{policy.place(partly)} allows only a part of {shown(topic)}, and no rule allows all of it"
    else:
        words = f"no rule allows this user {permission} on {shown(topic)}, and what none allows is refused"
    return Explained(allowed=False, decided_by="default", explanation=words)


def _by_rule(policy: Policy, ruling: Ruling, permission: Permission, topic: str) -> Explained:
    at = policy.rule_of(ruling.code)
    rule = policy.rules[at]
    verb = "allows" if ruling.allowed else "denies"
    what = f"a part of {shown(topic)}" if ruling.partly else shown(topic)
    words = f"{policy.place(ruling.code)} {verb} {_who(rule)} {permission} on {what}"
    if ruling.partly:
        words += ", and presence needs all of it"
    return Explained(ruling.allowed, f"rules[{at}]", words)


def _who(rule: Rule) -> str:
    user = rule.user
    if isinstance(user, ClaimCondition):
        wanted = f'"{user.equals}"' if isinstance(user.equals, str) else str(user.equals).lower()
        return f"users whose claim {user.claim} is {wanted}"
    if user == EVERYBODY:
        return "everybody"
    return f"users like {user}" if EVERYBODY in user else f"the user {user}"
