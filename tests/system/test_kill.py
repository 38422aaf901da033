"""kill -9 while eight writers create and revoke: what was acknowledged is true afterwards.

SECURITY 5.1: every creation that was answered exists (N2), every revocation that was
answered holds and stays (N3), an operation without an answer is all or nothing (N4), and
each change has exactly one row of an audit trail that is whole (N6).
"""

import dataclasses
import random
import threading
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

pytestmark = pytest.mark.system

WRITERS = 8
ROUNDS = 3
# Acknowledged operations after which a round's kill comes, at the latest.
MOST_OPERATIONS = 100


@dataclasses.dataclass
class Ledger:
    """What the writers know, written down as each answer arrives.

    Attributes:
        created: token_id to token, of every creation that was answered.
        revoked: token_ids whose revocation was answered.
        unsure: token_ids whose revocation was asked for and not answered.
    """

    created: dict[str, str] = dataclasses.field(default_factory=dict)
    revoked: set[str] = dataclasses.field(default_factory=set)
    unsure: set[str] = dataclasses.field(default_factory=set)

    @property
    def operations(self) -> int:
        return len(self.created) + len(self.revoked)


def write_until_it_ends(
    service: Any, ledger: Ledger, number: int, enough: threading.Event, goal: int
) -> None:
    """Create tokens and revoke every other one, until the service is gone."""
    headers = {"Authorization": f"Bearer {service.secret_key}"}
    with httpx2.Client(base_url=service.http_url, headers=headers, timeout=30) as http:
        try:
            while True:
                body = {"user_id": f"writer-{number}", "topics": ["chat/#"], "permissions": ["publish"]}
                made = http.post("/v2/tokens", json=body)
                assert made.status_code == 200, made.text
                token_id = made.json()["token_id"]
                ledger.created[token_id] = made.json()["token"]
                if len(ledger.created) % 2:
                    ledger.unsure.add(token_id)
                    assert http.post("/v2/tokens/revoke", json={"token_id": token_id}).json()["revoked"] == 1
                    ledger.revoked.add(token_id)
                    ledger.unsure.discard(token_id)
                if ledger.operations >= goal:
                    enough.set()
        except httpx2.TransportError:
            return


def run_writers_and_kill(service: Any, ledger: Ledger, goal: int) -> None:
    enough = threading.Event()
    writers = [
        threading.Thread(target=write_until_it_ends, args=(service, ledger, number, enough, goal))
        for number in range(WRITERS)
    ]
    for writer in writers:
        writer.start()
    assert enough.wait(60)
    service.kill()
    for writer in writers:
        writer.join(60)


def audited(service: Any) -> dict[str, list[str]]:
    """Return what the audit trail tells of tokens, by action, once it was found whole."""
    found = service.call("GET", "/v2/audit/verify", key=service.admin_key).json()
    assert (found["intact"], found["next"]) == (True, None), found
    told: dict[str, list[str]] = {"issue": [], "revoke": []}
    for action, objects in told.items():
        query: dict[str, str] = {"action": action, "limit": "500"}
        while True:
            page = service.call("GET", "/v2/audit", params=query).json()
            objects += [row["object"].removeprefix("token:") for row in page["entries"]]
            if page["next"] is None:
                break
            query["cursor"] = page["next"]
    return told


def judge_trail(service: Any, ledger: Ledger) -> None:
    """N6: each change has exactly one row, and what has none was not changed."""
    told = audited(service)
    stored = [token["token_id"] for token in pages(service)]
    assert sorted(told["issue"]) == sorted(stored)
    assert len(told["revoke"]) == len(set(told["revoke"]))
    assert ledger.revoked <= set(told["revoke"]) <= ledger.revoked | ledger.unsure
    revoked = {token["token_id"] for token in pages(service, status="revoked")}
    assert revoked == set(told["revoke"])


def pages(service: Any, **query: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    query["limit"] = "500"
    while True:
        page = service.call("GET", "/v2/tokens", params=query).json()
        found += page["tokens"]
        if page["next"] is None:
            return found
        query["cursor"] = page["next"]


def judge(service: Any, ledger: Ledger) -> None:
    for token_id, token in list(ledger.created.items()):
        active = service.is_active(token)
        if token_id in ledger.revoked:
            assert not active, f"{token_id}: revoked and acknowledged, active again"
        elif token_id not in ledger.unsure:
            assert active, f"{token_id}: created and acknowledged, gone"
            assert service.call("GET", f"/v2/tokens/{token_id}").json()["status"] == "active"


@pytest.mark.timeout(300)
def test_what_was_acknowledged_survives_kill_9(
    start_service: Callable[..., Any], database_variables: dict[str, str]
) -> None:
    service = start_service(**database_variables)
    ledger = Ledger()
    draw = random.Random(20_261_124)
    for _ in range(ROUNDS):
        run_writers_and_kill(service, ledger, ledger.operations + draw.randrange(20, MOST_OPERATIONS))
        service.start()
        judge(service, ledger)
        judge_trail(service, ledger)
    assert len(ledger.revoked) > 10 and len(ledger.created) > 2 * len(ledger.revoked) - 2 * WRITERS * ROUNDS
