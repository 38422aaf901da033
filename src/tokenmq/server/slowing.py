"""Links that are over their publish rate: read on when they may, closed when that lasts.

Theory of operation. A link that meets a PUBLISH which may not pass (`broker.pacing`) keeps it
and all that follows, stops reading and enters here. At each tick those that may go on do; one
that has still more than its rate allows is stopped again at once, so at the tick after it is
still stopped. Being stopped at every tick is being over the rate. Whoever was read from
between two ticks without being stopped is within it again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenmq.mqtt.codes import ReasonCode

if TYPE_CHECKING:
    from tokenmq.broker.broker import Broker
    from tokenmq.server.link import Link


class Slowed:
    """The links that are over their rate, and those that were at the tick before.

    Args:
        broker: closes what is over its rate for too long.
    """

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._patience = broker.settings.max_publish_hold_seconds
        self._links: dict[Link, None] = {}

    def add(self, link: Link) -> None:
        """Take in a link that was stopped."""
        self._links[link] = None

    def forget(self, link: Link) -> None:
        """Forget a link that is gone, or closed."""
        self._links.pop(link, None)

    def tick(self, mono: float) -> None:
        """Let go on what may, and close what is over its rate for too long."""
        for link in list(self._links):
            pace = link.outbox.pace
            if pace is None:  # its rate was taken away
                self.forget(link)
                link.go_on()
            elif not link.slowed:
                self.forget(link)
                pace.over_since = None
            elif link.is_held:  # it waits for something else now, which may be ours to do
                pace.over_since = mono
            elif pace.over_since is not None and mono - pace.over_since >= self._patience:
                self._broker.disconnect(link.outbox, ReasonCode.MESSAGE_RATE_TOO_HIGH, _too_fast(pace.rates))
            elif pace.may_pass(mono):
                link.go_on()


def _too_fast(rates: tuple[int, int]) -> str:
    limits = [
        f"{rate} {what} a second" for rate, what in zip(rates, ("messages", "bytes"), strict=True) if rate
    ]
    return f"publishes faster than {' and '.join(limits)}"
