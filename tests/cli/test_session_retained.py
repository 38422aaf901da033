"""`tokenmq session`, `tokenmq user` and `tokenmq retained`."""

SESSION = {
    "client_id": "a/b",
    "user_id": "ann",
    "connected": False,
    "address": None,
    "subscriptions": [{"topic": "chat/#", "qos": 1}, {"topic": "news", "qos": 0}],
    "queue": 3,
}


def test_session_list(run, service) -> None:
    service.answers["GET", "/v2/sessions"] = (200, {"sessions": [SESSION], "next": None})
    out = run("session", "list").out
    assert "a/b" in out and "chat/#, news" in out and "false" in out
    assert run("session", "list", "--user", "ann/b", "--json").json == [SESSION]
    assert service.asked[-1][1] == "/v2/sessions?user_id=ann%2Fb&limit=100"


def test_session_delete(run, service) -> None:
    service.answers["DELETE", "/v2/sessions/a%2Fb"] = (200, {"client_id": "a/b", "deleted": True})
    assert run("session", "delete", "a/b").out == "ended  a/b\n"
    assert run("session", "delete", "a/b", "--json").json == {"client_id": "a/b", "deleted": True}
    assert run("session", "delete", "c").code == 4


def test_user_terminate(run, service) -> None:
    done = {"username": "ann%40home@org_x", "sessions_terminated": 2}
    service.answers["POST", "/v2/utilities/users/ann%40home/terminate"] = (200, done)
    assert run("user", "terminate", "ann@home").out == "username        ann%40home@org_x\nsessions ended  2\n"
    assert run("user", "terminate", "ann@home", "--json").json == done


def test_retained_list_is_sorted_by_topic(run, service) -> None:
    found = [
        {"topic": topic, "payload_size": 5, "timestamp": "2026-11-24T12:00:00Z"} for topic in ("b/\x1b", "a")
    ]
    service.answers["GET", "/v2/utilities/retained"] = (200, {"messages": found, "count": 2, "next": None})
    assert run("retained", "list", "--json").json == found[::-1]
    out = run("retained", "list", "b/#").out
    assert out.index("a  ") < out.index("b/\\x1b")
    assert service.asked[-1][1] == "/v2/utilities/retained?topic=b%2F%23&limit=100"


def test_retained_delete(run, service) -> None:
    service.answers["DELETE", "/v2/utilities/retained/%24spaces%2Fx"] = (200, {})
    assert run("retained", "delete", "$spaces/x").out == "removed  $spaces/x\n"
    assert run("retained", "delete", "$spaces/x", "--json").json == {"topic": "$spaces/x", "deleted": True}
    assert run("retained", "delete", "other").code == 4
