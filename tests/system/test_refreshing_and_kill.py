"""kill -9 while eight clients refresh: each family has exactly one live leaf afterwards.

SECURITY 5.1: a refresh that was answered holds (N2), one without an answer yields the
successor that it would have had (N4), generations only grow and one alone is live (N5).
"""

import base64
import json
import random
import threading
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

pytestmark = pytest.mark.system

CLIENTS = 8
ROUNDS = 3
# Refreshes that were answered after which a round's kill comes, at the latest.
MOST_REFRESHES = 100
# Of one family a minute there are 30 new generations at most.
REFRESHES_OF_ONE = 25


def claims_of(token: str) -> dict[str, Any]:
    part = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return claims


def refresh(http: httpx2.Client, token_id: str, token: str) -> httpx2.Response:
    body = {"token_id": token_id, "current_token_password": token}
    return http.post("/v2/tokens/refresh", json=body)


def refresh_until_it_ends(
    service: Any, ledger: dict[str, list[str]], enough: threading.Event, goal: int
) -> None:
    """Refresh families of its own, one after the other, until the service is gone."""
    headers = {"Authorization": f"Bearer {service.secret_key}"}
    with httpx2.Client(base_url=service.http_url, headers=headers, timeout=30) as http:
        try:
            while True:
                body = {"user_id": "ann", "topics": ["chat/#"], "permissions": ["publish"]}
                made = http.post("/v2/tokens", json=body).json()
                known = ledger.setdefault(made["token_id"], [made["token"]])
                for _ in range(REFRESHES_OF_ONE):
                    answer = refresh(http, made["token_id"], known[-1])
                    assert answer.status_code == 200, answer.text
                    known.append(answer.json()["token"])
                    if sum(map(len, list(ledger.values()))) >= goal:
                        enough.set()
        except httpx2.TransportError:
            return


def run_clients_and_kill(service: Any, ledger: dict[str, list[str]], goal: int) -> None:
    enough = threading.Event()
    clients = [
        threading.Thread(target=refresh_until_it_ends, args=(service, ledger, enough, goal))
        for _ in range(CLIENTS)
    ]
    for client in clients:
        client.start()
    assert enough.wait(60)
    service.kill()
    for client in clients:
        client.join(60)


def judge(service: Any, ledger: dict[str, list[str]]) -> None:
    """Hold every family against what its client knows, who then goes on."""
    with httpx2.Client(base_url=service.http_url, timeout=30) as http:
        for token_id, known in ledger.items():
            last = claims_of(known[-1])
            stored = service.call("GET", f"/v2/tokens/{token_id}").json()
            assert stored["generation"] in (last["gen"], last["gen"] + 1)
            lost = stored["generation"] > last["gen"]
            assert service.is_active(known[-1])
            for older in known[:-2]:
                assert not service.is_active(older)
            successors = [refresh(http, token_id, known[-1]).json()["token"] for _ in range(3)]
            after = [claims_of(token) for token in successors]
            assert {claims["gen"] for claims in after} == {last["gen"] + 1}
            # An answer that was lost is given now, the same to everybody.
            assert len({claims["jti"] for claims in after}) == 1
            if lost:
                assert service.call("GET", f"/v2/tokens/{token_id}").json()["generation"] == after[0]["gen"]
            assert service.is_active(successors[0])
            known.append(successors[0])


@pytest.mark.timeout(300)
def test_n5_each_family_has_one_live_leaf_after_kill_9(
    start_service: Callable[..., Any], database_variables: dict[str, str]
) -> None:
    service = start_service(**database_variables)
    draw = random.Random(20_261_125)
    for _ in range(ROUNDS):
        ledger: dict[str, list[str]] = {}
        run_clients_and_kill(service, ledger, draw.randrange(20, MOST_REFRESHES))
        service.start()
        judge(service, ledger)
        assert sum(map(len, ledger.values())) > 20
