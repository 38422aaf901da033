"""One subscription of one session, and what the store keeps of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenmq.broker.asking import split_history
from tokenmq.broker.records import SubscriptionRecord
from tokenmq.broker.watch import PREFIX
from tokenmq.topics.filter import begins_with_wildcard, split_share

if TYPE_CHECKING:
    from tokenmq.broker.session import Session


class Subscription:
    """One subscription of one session (MQTT 5 §3.8.3.1).

    Attributes:
        topic_filter: as it was asked for.
        group: the name of the shared subscription's group, None where it is not shared.
        prefix: `$history/count/` where it begins so: it stands before the topics that it delivers.
        inner_filter: what topics are held against: without `$share/group/` or the prefix.
        history: its messages say under which ids they are recorded; it asked for history.
        qos: the maximum that was granted, 0 to 2.
        no_local: do not send back what this session publishes.
        retain_as_published: leave the retain flag of what is published as it is.
        identifier: the Subscription Identifier, 0 for none.
        suspended: its session has no right to it now: it delivers nothing until that is back.
        watched: the filter whose presence it tells of, None where it is for messages.
        counts: a user's session is present by it, while it is connected.
        since: what has a greater id in the history, and came while its session was connected, came by
            it, or by one that it replaced.
    """

    __slots__ = (
        "counts",
        "group",
        "history",
        "identifier",
        "inner_filter",
        "no_local",
        "prefix",
        "qos",
        "retain_as_published",
        "session",
        "since",
        "suspended",
        "topic_filter",
        "watched",
    )

    def __init__(
        self,
        session: Session,
        topic_filter: str,
        *,
        qos: int,
        no_local: bool,
        retain_as_published: bool,
        identifier: int,
        history: bool = False,
    ) -> None:
        self.session = session
        self.topic_filter = topic_filter
        self.prefix, inner = split_history(topic_filter)
        self.group, self.inner_filter = (None, inner) if self.prefix else split_share(topic_filter)
        self.history = history or bool(self.prefix)
        self.qos = qos
        self.no_local = no_local
        self.retain_as_published = retain_as_published
        self.identifier = identifier
        self.suspended = False
        self.watched = self.inner_filter[len(PREFIX) :] if self.inner_filter.startswith(PREFIX) else None
        self.counts = self.watched is None and not begins_with_wildcard(self.inner_filter)
        self.since = 0

    @property
    def is_counted(self) -> bool:
        """Whether its session is present by it now."""
        session = self.session
        return self.counts and not self.suspended and session.connected and not session.identity.is_server

    @property
    def record(self) -> SubscriptionRecord:
        """What the store keeps of it."""
        return SubscriptionRecord(
            session=self.session.number,
            topic_filter=self.topic_filter,
            qos=self.qos,
            no_local=self.no_local,
            retain_as_published=self.retain_as_published,
            identifier=self.identifier,
            history=self.history,
        )
