import msgspec
import pytest

from tokenmq.errors import InvalidRequest
from tokenmq.tokens.settings import OrganizationSettings, check


def test_defaults_are_those_of_the_wire_contract_and_fit():
    settings = OrganizationSettings()
    check(settings)
    assert msgspec.to_builtins(settings) == {
        "default_ttl_seconds": 3600,
        "min_ttl_seconds": 60,
        "max_ttl_seconds": 86400,
        "family_max_seconds": 2592000,
        "refresh_grace_seconds": 300,
        "superseded_reconnect": True,
        "reconnect_window_seconds": 3600,
        "reuse_detection": True,
        "refresh_spread": False,
        "allowed_origins": ("http://localhost:*", "http://127.0.0.1:*"),
        "default_session_expiry_seconds": 0,
        "refused_publish_311": "drop",
        "max_connections": 20_000,
        "max_sessions": 10_000,
        "max_retained_messages": 10_000,
        "max_publish_messages_per_second": 0,
        "max_publish_bytes_per_second": 0,
        "history_bytes": 1_073_741_824,
        "dollar_trees": ("$notifications", "$spaces"),
    }


@pytest.mark.parametrize(
    "changed",
    [
        {"min_ttl_seconds": 600, "default_ttl_seconds": 600, "max_ttl_seconds": 600},
        {"refresh_grace_seconds": 0},
        {"refresh_grace_seconds": 900},
        {"reconnect_window_seconds": 0},
        {"reconnect_window_seconds": 86400},
        {"family_max_seconds": 86400},
        {"allowed_origins": ()},
        {"allowed_origins": ("https://app.example.com",)},
        {"dollar_trees": ()},
        {"dollar_trees": ("$SYSTEM", "$ü")},
        {"default_session_expiry_seconds": 0xFFFFFFFF},
    ],
    ids=str,
)
def test_settings_within_their_bounds_are_accepted(changed):
    check(OrganizationSettings(**changed))


@pytest.mark.parametrize(
    ("field", "changed"),
    [
        ("min_ttl_seconds", {"min_ttl_seconds": 59}),
        ("max_ttl_seconds", {"max_ttl_seconds": 86401}),
        ("max_ttl_seconds", {"min_ttl_seconds": 4000, "max_ttl_seconds": 3999, "default_ttl_seconds": 4000}),
        ("default_ttl_seconds", {"default_ttl_seconds": 59}),
        ("max_publish_messages_per_second", {"max_publish_messages_per_second": -1}),
        ("max_publish_bytes_per_second", {"max_publish_bytes_per_second": 10_000_000_001}),
        ("default_ttl_seconds", {"max_ttl_seconds": 600}),
        ("default_ttl_seconds", {"min_ttl_seconds": 7200}),
        ("family_max_seconds", {"family_max_seconds": 86399}),
        ("family_max_seconds", {"family_max_seconds": 10**12}),
        ("refresh_grace_seconds", {"refresh_grace_seconds": -1}),
        ("refresh_grace_seconds", {"refresh_grace_seconds": 901}),
        ("reconnect_window_seconds", {"reconnect_window_seconds": -1}),
        ("reconnect_window_seconds", {"reconnect_window_seconds": 86401}),
        ("default_session_expiry_seconds", {"default_session_expiry_seconds": -1}),
        ("default_session_expiry_seconds", {"default_session_expiry_seconds": 2**32}),
        ("allowed_origins", {"allowed_origins": ("http://localhost",) * 65}),
        ("allowed_origins[1]", {"allowed_origins": ("http://localhost", "*")}),
        ("dollar_trees", {"dollar_trees": tuple(f"$t{n}" for n in range(17))}),
        *(
            ("dollar_trees[0]", {"dollar_trees": (tree,)})
            for tree in (
                "", "$", "spaces", "$a/b", "$a/#", "$+", "$SYS", "$share", "$auth", "$presence", "$history",
                "$a b", "$\0", "$a\x85", "${org}", "$" + "x" * 64, "$\ud800",
            )
        ),
    ],
)  # fmt: skip
def test_settings_out_of_bounds_name_their_field(field, changed):
    with pytest.raises(InvalidRequest) as refused:
        check(OrganizationSettings(**changed))
    assert field in [name for name, _ in refused.value.problems]


@pytest.mark.parametrize(
    "document",
    [
        {"unknown": 1},
        {"refused_publish_311": "ignore"},
        {"max_ttl_seconds": True},
        {"max_ttl_seconds": "600"},
    ],
)
def test_documents_of_another_shape_are_refused(document):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(document, OrganizationSettings)
