"""Answers that wait: when they are given, to whom not any more, and how many there may be."""

from __future__ import annotations

import math

import pytest

from tokenmq.server import refusals
from tokenmq.server.refusals import Refusals


@pytest.fixture
def given() -> list[str]:
    return []


def hold(waiting: Refusals[str], given: list[str], **until: float) -> None:
    for who, moment in until.items():
        waiting.hold(who, moment, lambda who=who: given.append(who))


def test_an_answer_is_given_once_and_not_before_its_moment(given: list[str]) -> None:
    waiting: Refusals[str] = Refusals()
    hold(waiting, given, ann=10.0, ben=12.0)
    waiting.answer(9.9)
    assert given == []
    waiting.answer(10.0)
    waiting.answer(11.0)
    assert given == ["ann"]
    waiting.answer(math.inf)
    assert given == ["ann", "ben"] and not len(waiting)


def test_who_is_gone_gets_no_answer(given: list[str]) -> None:
    waiting: Refusals[str] = Refusals()
    hold(waiting, given, ann=10.0)
    waiting.forget("ann")
    waiting.forget("nobody")
    waiting.answer(math.inf)
    assert given == []


def test_one_too_many_ends_the_longest_wait(given: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "MAX_WAITING", 2)
    waiting: Refusals[str] = Refusals()
    hold(waiting, given, ann=10.0, ben=10.0, cid=10.0)
    assert given == ["ann"] and len(waiting) == 2
