from __future__ import annotations

import itertools
import time
import timeit
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmq.access.binding import VARIABLES, bind, check_template
from tokenmq.errors import InvalidTopicFilter
from tokenmq.topics.filter import check_filter

TEMPLATES = [
    "{user_id}",
    "{user_id}/#",
    "u/{user_id}",
    "u/{user_id}/#",
    "u/{user_id}/+",
    "u/+/{user_id}",
    "+/{user_id}/#",
    "u/x-{user_id}-y/z",
    "{user_id}{client_id}/a",
    "{org}/{user_id}/{client_id}",
    "u/{user_id}/{user_id}",
    "$spaces/{user_id}/#",
    "/{user_id}",
    "{user_id}/",
    "plain/+/#",
]
GRAMMAR = [
    "+",
    "#",
    "/",
    "a/b",
    "+/#",
    "/#",
    "a/#",
    "a+",
    "#a",
    "$",
    "$SYS",
    "$share",
    "$share/g/a",
    "$spaces",
]
BRACES = ["{", "}", "{org}", "{user_id}", "{client_id}", "{{user_id}}"]
CONTROLS = ["", "\0", "a\0", "\n", "\r\n", "\t", "\x01", "\x1f", "\x7f", "\x80", "\x85", "\x9f", "\ud800"]
PATTERNS = [".*", "a|b", "(", "\\Q", "[a-z]", "^", "a$", "a.b", "*", "..", ".", "%", "%2F", "%23", "a b", " "]
PATTERNS += ["é", "\uff0b", "\uff03", "\uff0f", "\ufeff"]
SPECIAL = [*GRAMMAR, *BRACES, *CONTROLS, *PATTERNS, "a", "b", "u", "server", "user-123"]
VALUES = st.one_of(st.sampled_from(SPECIAL), st.text(alphabet="ab/+#$\0{}é", max_size=5))


def spec_bound(template: str, values: dict[str, str], topic: str) -> bool:
    """What a template allows: levels first, values after, so that none can add a level or a wildcard."""
    wanted, levels = template.split("/"), topic.split("/")
    if topic[0] == "$" and wanted[0][0:1] != "$":
        return False
    for at, want in enumerate(wanted):
        if want == "#":
            return True
        parts = [values.get(part, part) for part in want.replace("{", "}").split("}")]
        if at >= len(levels) or (want != "+" and levels[at] != "".join(parts)):
            return False
    return len(wanted) == len(levels)


# Templates


@pytest.mark.parametrize("template", [*TEMPLATES, "a", "#", "$SYS/#", "a{org}b{user_id}c"])
def test_templates_pass(template: str) -> None:
    check_template(template)


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("u/{name}", "unknown variable {name}, known are {client_id}, {org}, {user_id} and {claim:NAME}"),
        ("u/{}", "unknown variable {}, known are {client_id}, {org}, {user_id} and {claim:NAME}"),
        (
            "u/{User_id}",
            "unknown variable {User_id}, known are {client_id}, {org}, {user_id} and {claim:NAME}",
        ),
        (
            "u/{ user_id }",
            "unknown variable { user_id }, known are {client_id}, {org}, {user_id} and {claim:NAME}",
        ),
        ("u/{a/b}", "unknown variable {a/b}, known are {client_id}, {org}, {user_id} and {claim:NAME}"),
        (
            "u/{" + "x" * 41 + "}",
            "unknown variable {" + "x" * 40 + "}, known are {client_id}, {org}, {user_id} and {claim:NAME}",
        ),
        ("u/{user_id", "braces stand around a variable or nowhere"),
        ("u/{{user_id}}", "braces stand around a variable or nowhere"),
        ("u/{user_id}}", "braces stand around a variable or nowhere"),
        ("u/{user_id}/}", "braces stand around a variable or nowhere"),
        ("u}/a", "a } without its {"),
        ("u}/{user_id}", "a } without its {"),
        ("${user_id}/a", "a variable in a first level that begins with $"),
        ("$x{org}", "a variable in a first level that begins with $"),
        ("u/{user_id}#", "# stands alone in the last level or nowhere"),
        ("u/{user_id}+", "+ stands alone in its level or nowhere"),
        ("u/#/{user_id}", "# stands alone in the last level or nowhere"),
        ("$share/g/{user_id}", "a shared subscription where a plain filter is wanted"),
        ("", "is empty"),
        ("a/b/c/d", "4 levels, at most 3 are allowed"),
        ("a" * 60, "60 bytes, at most 50 are allowed"),
    ],
)
def test_malformed_templates_are_refused_by_name(template: str, reason: str) -> None:
    with pytest.raises(InvalidTopicFilter) as caught:
        check_template(template, max_bytes=50, max_levels=3)
    assert (caught.value.value, caught.value.reason) == (template, reason)


@given(st.text(alphabet="a/+#{}$_useridclntorg", max_size=20))
def test_what_is_refused_as_a_template_with_variables_binds_to_nothing(text: str) -> None:
    values = dict.fromkeys(VARIABLES, "v")
    try:
        check_template(text)
    except InvalidTopicFilter as error:
        if "{" in text and "variable" in error.reason:
            assert bind(text, values) is None
    else:
        bound = bind(text, values)
        assert bound is not None
        check_filter(bound)


# Values


@pytest.mark.parametrize(
    ("template", "bound"),
    [
        ("chat/#", "chat/#"),
        ("u/{user_id}/#", "u/bob/#"),
        ("{org}/{user_id}/{client_id}", "org_1/bob/phone"),
        ("u/{user_id}{user_id}-{client_id}", "u/bobbob-phone"),
        ("$spaces/{user_id}", "$spaces/bob"),
        ("{user_id}", "bob"),
    ],
)
def test_variables_are_replaced(template: str, bound: str) -> None:
    assert bind(template, {"user_id": "bob", "client_id": "phone", "org": "org_1"}) == bound


@pytest.mark.parametrize(
    "template", ["u/{name}", "u/{user_id", "u/{user_id}}", "${user_id}/a", "u/{client_id}", "u}/{user_id}"]
)
def test_an_unknown_variable_or_value_is_void(template: str) -> None:
    assert bind(template, {"user_id": "bob", "name": "x"}) is None


@pytest.mark.parametrize("value", [*GRAMMAR, *BRACES, *CONTROLS])
@pytest.mark.parametrize("template", [template for template in TEMPLATES if "{user_id}" in template])
def test_v01_v60_a_value_that_could_mean_more_makes_the_grant_void(template: str, value: str) -> None:
    assert bind(template, {"user_id": value, "client_id": "phone", "org": "org_1"}) is None


@pytest.mark.parametrize("value", PATTERNS)
def test_v80_a_value_is_text_and_no_pattern(by_the_spec: Callable[[str, str], bool], value: str) -> None:
    bound = bind("u/{client_id}/+", {"client_id": value})
    assert bound == f"u/{value}/+"
    assert by_the_spec(bound, f"u/{value}/x")
    assert not any(
        by_the_spec(bound, f"u/{other}/x") for other in ("a", "b", "ab", "", "u") if other != value
    )


@given(st.sampled_from(TEMPLATES), VALUES, VALUES, VALUES, st.data())
def test_v01_v80_bound_is_never_wider_than_its_template(
    by_the_spec: Callable[[str, str], bool],
    template: str,
    user_id: str,
    client_id: str,
    org: str,
    data: st.DataObject,
) -> None:
    values = {"user_id": user_id, "client_id": client_id, "org": org}
    bound = bind(template, values)
    if bound is None:
        return
    check_filter(bound)
    used = [value for name, value in values.items() if "{" + name + "}" in template]
    assert not any(set("/+#\0{}") & set(value) or value.startswith("$") or not value for value in used)
    level = st.sampled_from(["a", "b", "u", "", "$SYS", "$spaces", "x", *used, *bound.split("/")])
    topic = "/".join(data.draw(st.lists(level, min_size=1, max_size=5)))
    topic = topic.replace("+", "p").replace("#", "h") or "a"
    if by_the_spec(bound, topic):
        assert spec_bound(template, values, topic)


def test_v01_every_template_and_pair_of_special_values_keeps_its_levels() -> None:
    for template, user_id, client_id in itertools.product(TEMPLATES, SPECIAL, SPECIAL):
        bound = bind(template, {"user_id": user_id, "client_id": client_id, "org": "org_1"})
        if bound is not None:
            shape = [level if level in ("+", "#") else "x" for level in template.split("/")]
            assert [level if level in ("+", "#") else "x" for level in bound.split("/")] == shape
            assert bound.startswith("$") is template.startswith("$")
            assert bind(bound, {}) == bound


@pytest.mark.parametrize(
    "template",
    ["{" * 65_535, "{user_id}" * 7_000, "{user_id" * 8_000, "}" * 65_535],
    ids=["opened", "variables", "unclosed", "closed"],
)
def test_v87_a_template_of_braces_takes_linear_time(template: str) -> None:
    def run() -> None:
        bind(template, {"user_id": "x"})

    # Some 5 ms of CPU time at most; the bound leaves room for a slow machine.
    assert min(timeit.repeat(run, timer=time.process_time, number=1, repeat=3)) < 0.2
