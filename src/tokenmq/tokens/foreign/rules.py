"""The rules that the configuration of an identity provider must keep."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from urllib.parse import urlsplit

from tokenmq.access.binding import check_template
from tokenmq.errors import InvalidRequest, InvalidTopicFilter
from tokenmq.limits import MAX_TOPICS
from tokenmq.tokens.foreign.configuration import Configuration, MappingRule, ProviderKind
from tokenmq.tokens.subjects import text_problem

MAX_NAME_BYTES = 255
MAX_URL_BYTES = 1_024
# Room for what a person writes down; a prefix is part of every user id (255 bytes).
MAX_PREFIX_BYTES = 64
# Lists of a provider are small documents, not data.
MAX_ELEMENTS = 32
# RFC 7518 §3.2: a key as long as the hash, for HS256.
MIN_SECRET_BYTES = 32
MAX_SECRET_BYTES = 1_024

_HOST_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789.-:")
_PROJECT_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")

# What each kind needs, and what else of its own it may have.
_NEEDED = {
    ProviderKind.SUPABASE: ("project_url",),
    ProviderKind.FIREBASE: ("project_id",),
    ProviderKind.AUTH0: ("domain", "audience"),
    ProviderKind.CLERK: ("domains",),
    ProviderKind.OIDC: ("issuer", "audience"),
}
_OWN = {
    ProviderKind.SUPABASE: ("allow_anonymous",),
    ProviderKind.FIREBASE: ("allow_anonymous",),
    ProviderKind.AUTH0: ("authorized_parties",),
    ProviderKind.CLERK: ("audience", "authorized_parties"),
    ProviderKind.OIDC: ("authorized_parties",),
}
_EVERYBODYS = (
    "jwks_url",
    "user_prefix",
    "user_id_claim",
    "email_claim",
    "required_claims",
    "attrs",
    "mapping",
)
_DEFAULTS = Configuration()
# The user writes this object himself: nothing may follow from it.
_USERS_OWN = "user_metadata"


def check(kind: ProviderKind, configuration: Configuration, *, has_secret: bool) -> None:
    """Hold a configuration against its kind, its bounds, and itself.

    Raises: InvalidRequest, which names every field that is wrong.
    """
    problems = [
        *_kind_problems(kind, configuration),
        *_address_problems(configuration),
        *_key_problems(kind, configuration, has_secret=has_secret),
        *_list_problems(configuration),
        *_claim_problems(kind, configuration),
        *_mapping_problems(configuration.mapping),
    ]
    if has_secret and kind is not ProviderKind.SUPABASE:
        problems.append(("jwt_secret", "is for supabase only"))
    if problems:
        raise InvalidRequest(*problems)


def check_secret(secret: str) -> None:
    """Refuse a shared secret that is too short for HS256 (SECURITY J5).

    Raises: InvalidRequest.
    """
    size = len(secret.encode("utf-8", "replace"))
    if not MIN_SECRET_BYTES <= size <= MAX_SECRET_BYTES:
        raise InvalidRequest(
            ("jwt_secret", f"has {size} bytes, wanted {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES}")
        )


def overlapping_prefixes(prefixes: list[str]) -> bool:
    """Tell whether a user of one provider could have the id of another's.

    With `a` and `ab` it could: b's user and a's user `b…` are spelled alike. So no prefix
    may begin with another one, and of several none may be empty.
    """
    ordered = sorted(prefixes)
    return any(later.startswith(earlier) for earlier, later in pairwise(ordered))


def _kind_problems(kind: ProviderKind, configuration: Configuration) -> Iterator[tuple[str, str]]:
    allowed = {*_NEEDED[kind], *_OWN[kind], *_EVERYBODYS}
    for name in Configuration.__struct_fields__:
        is_set = getattr(configuration, name) != getattr(_DEFAULTS, name)
        if is_set and name not in allowed:
            yield name, f"is not for {kind}"
        elif not is_set and name in _NEEDED[kind]:
            yield name, f"is needed for {kind}"


def _address_problems(configuration: Configuration) -> Iterator[tuple[str, str]]:
    if configuration.project_url is not None and not _is_origin(configuration.project_url):
        yield "project_url", "wanted an address without a path, as https://abc.supabase.co"
    if configuration.project_id is not None and not (
        0 < len(configuration.project_id) <= 63 and _PROJECT_CHARACTERS.issuperset(configuration.project_id)
    ):
        yield "project_id", "wanted lower-case letters, digits and hyphens"
    if configuration.domain is not None and not _is_host(configuration.domain):
        yield "domain", "wanted a host name in lower case, as tenant.eu.auth0.com"
    for index, domain in enumerate(configuration.domains):
        if not _is_host(domain):
            yield f"domains[{index}]", "wanted a host name in lower case, as clerk.example.com"


def _key_problems(
    kind: ProviderKind, configuration: Configuration, *, has_secret: bool
) -> Iterator[tuple[str, str]]:
    if configuration.issuer is not None:
        if problem := text_problem(configuration.issuer, max_bytes=MAX_URL_BYTES):
            yield "issuer", problem
        elif configuration.jwks_url is None and not is_web_address(configuration.issuer):
            yield "issuer", "is no web address: say jwks_url, where its keys are"
    if configuration.jwks_url is not None:
        if not is_web_address(configuration.jwks_url):
            yield "jwks_url", "wanted a web address without user or fragment"
        if len(configuration.domains) > 1:
            yield "jwks_url", "cannot stand for several domains"
        if has_secret and kind is ProviderKind.SUPABASE:
            yield "jwks_url", "is not looked at where there is a jwt_secret"


def _list_problems(configuration: Configuration) -> Iterator[tuple[str, str]]:
    for name in ("domains", "audience", "authorized_parties", "required_claims", "attrs", "mapping"):
        if len(getattr(configuration, name)) > MAX_ELEMENTS:
            yield name, f"has more than {MAX_ELEMENTS} elements"
    for name in ("audience", "authorized_parties"):
        for index, text in enumerate(getattr(configuration, name)):
            if problem := text_problem(text, max_bytes=MAX_URL_BYTES):
                yield f"{name}[{index}]", problem
    if configuration.user_prefix and (
        problem := text_problem(configuration.user_prefix, max_bytes=MAX_PREFIX_BYTES)
    ):
        yield "user_prefix", problem


def _claim_problems(kind: ProviderKind, configuration: Configuration) -> Iterator[tuple[str, str]]:
    named = [
        ("user_id_claim", configuration.user_id_claim),
        ("email_claim", configuration.email_claim),
        *((f"required_claims[{index}]", name) for index, name in enumerate(configuration.required_claims)),
        *((f"attrs[{index}]", name) for index, name in enumerate(configuration.attrs)),
        *((f"mapping[{index}].claim", rule.claim) for index, rule in enumerate(configuration.mapping)),
    ]
    for field_name, claim in named:
        if problem := text_problem(claim, max_bytes=MAX_NAME_BYTES):
            yield field_name, problem
        elif kind is ProviderKind.SUPABASE and claim.partition(".")[0] == _USERS_OWN:
            yield field_name, f"{_USERS_OWN} is what users write themselves; app_metadata is yours"


def _mapping_problems(mapping: tuple[MappingRule, ...]) -> Iterator[tuple[str, str]]:
    # Together, for a user to whom all of them apply.
    if sum(len(grant.topics) for rule in mapping for grant in rule.grants) > MAX_TOPICS:
        yield "mapping", f"has more than {MAX_TOPICS} topics"
    for position, rule in enumerate(mapping):
        if not rule.grants:
            yield f"mapping[{position}].grants", "is empty"
        for index, grant in enumerate(rule.grants):
            path = f"mapping[{position}].grants[{index}]"
            if not grant.permissions or not grant.topics:
                yield path, "has no permissions or no topics"
            for place, topic_filter in enumerate(grant.topics):
                try:
                    check_template(topic_filter)
                except InvalidTopicFilter as error:
                    yield f"{path}.topics[{place}]", error.reason


def is_web_address(text: str) -> bool:
    """Tell whether a text is an address to fetch from: http or https, a host, no user, no fragment."""
    if text_problem(text, max_bytes=MAX_URL_BYTES) is not None or not text.isascii() or " " in text:
        return False
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    return (
        parts.scheme in ("http", "https")
        and bool(parts.hostname)
        and port != 0
        # The host of http://localhost:80@attacker/ is the attacker's.
        and "@" not in parts.netloc
        and "\\" not in text
        and "#" not in text
    )


def _is_origin(text: str) -> bool:
    return is_web_address(text) and text.count("/") == 2 and "?" not in text


def _is_host(text: str) -> bool:
    return _HOST_CHARACTERS.issuperset(text) and is_web_address(f"https://{text}")
