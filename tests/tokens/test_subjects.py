import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from tokenmq.errors import BadCredentials
from tokenmq.tokens.subjects import split_username, user_problem, username

ORG = "org_k7xm4pqr2n5t"
USERS = st.text(min_size=1, max_size=60).filter(lambda text: user_problem(text) is None)


@given(USERS)
@example("user@example.com")
@example("a@org_k7xm4pqr2n5t@b")
@example("%41/+#$ü\N{GRINNING FACE}")
def test_username_reads_back_and_is_plain_ascii(user_id):
    text = username(user_id, ORG)
    assert split_username(text) == (user_id, ORG)
    allowed = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~-%@")
    assert set(text) <= allowed and text.count("@") == 1


@given(st.text("aAb@%0123456789cCeEfF+/é._~-", max_size=12))
def test_only_one_spelling_of_a_username_is_accepted(text):
    try:
        user_id, org_id = split_username(f"{text}@{ORG}")
    except BadCredentials:
        return
    assert username(user_id, org_id) == f"{text}@{ORG}"


@given(st.text())
def test_only_bad_credentials_ever_escapes(text):
    for given_text in (text, f"{text}@{ORG}"):
        try:
            split_username(given_text)
        except BadCredentials:
            continue


@given(USERS, USERS)
def test_different_users_have_different_usernames(one, other):
    assume(one != other)
    assert username(one, ORG) != username(other, ORG)


@pytest.mark.parametrize(
    ("user_id", "text"),
    [
        ("user-123", "user-123"),
        ("user@example.com", "user%40example.com"),
        ("a b", "a%20b"),
        ("a+b/c", "a%2Bb%2Fc"),
        ("ü", "%C3%BC"),
        ("A.b_c~d-9", "A.b_c~d-9"),
        ("%", "%25"),
    ],
)
def test_percent_encoding(user_id, text):
    assert username(user_id, ORG) == f"{text}@{ORG}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "user",
        "user@",
        f"@{ORG}",
        "user@org_short",
        f"user@{ORG}@",
        f"user@{ORG.upper()}",
        f"user@x@{ORG}",
        f"user%40x%2fy@{ORG}",
        f"%75ser@{ORG}",
        f"a+b@{ORG}",
        f"a b@{ORG}",
        f"a%@{ORG}",
        f"a%zz@{ORG}",
        f"%FF@{ORG}",
        f"%C0%80@{ORG}",
        f"%ED%A0%80@{ORG}",
        f"%00@{ORG}",
        f"%C2%85@{ORG}",
        f"ü@{ORG}",
        f"\ud800@{ORG}",
        f"{'a' * 256}@{ORG}",
    ],
)
def test_other_usernames_are_refused(text):
    with pytest.raises(BadCredentials):
        split_username(text)


def test_the_servers_own_username_is_read():
    assert split_username(f"server@{ORG}") == ("server", ORG)


@pytest.mark.parametrize(
    "text", ["", "server", "a\0", "a\x1fb", "\x7f", "a\x85", "a\n", "\ud800", "a" * 256, "é" * 128]
)
def test_texts_that_can_be_no_user(text):
    assert user_problem(text) is not None


@pytest.mark.parametrize(
    "text", ["a", "Server", "server2", "a" * 255, "é" * 127, "a b", "$x", "a/b", "+", "\ufeff", "\xa0"]
)
def test_texts_that_can_be_a_user(text):
    assert user_problem(text) is None
