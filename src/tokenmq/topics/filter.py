"""The grammar of Topic Filters and the three relations between filters and topics.

`matches` holds a filter against a name, `covers` and `overlaps` hold two filters against
each other. "May subscribe" is *covers*, never *matches*: `a/+` matches the text `a/#` as
if it were a name and would give away the tree below. All three are exact set relations
over the names that MQTT allows, take linear time, and expect well-formed arguments
(`check_filter`, `check_name`): on others the answer means nothing, but it comes.

Source: MQTT 5 §4.7, §4.8.2.
"""

from __future__ import annotations

from collections.abc import Iterator

from tokenmq.errors import InvalidTopicFilter
from tokenmq.limits import MAX_STRING_BYTES, MAX_TOPIC_LEVELS
from tokenmq.topics.name import text_problem

_SHARE = "$share/"
_WILDCARDS = ("+", "#")
# A level that no filter can name: `check_filter` refuses NUL.
_UNNAMED = "\0"
# Comes after every topic, however long.
_BEYOND = "\U0010ffff" * (MAX_STRING_BYTES // 4 + 1)


def check_filter(text: str, *, max_bytes: int = MAX_STRING_BYTES, max_levels: int = MAX_TOPIC_LEVELS) -> None:
    """Refuse a text that is not a plain Topic Filter.

    Args:
        text: the filter without `$share/group/` (`split_share`); any string, however long.
        max_bytes: most bytes of its UTF-8 form.
        max_levels: most levels, a final `#` included.

    Raises:
        InvalidTopicFilter: says what is wrong with it.
    """
    problem = text_problem(text, max_bytes=max_bytes, max_levels=max_levels) or _wildcard_problem(text)
    if problem is None and text.startswith(_SHARE):
        problem = "a shared subscription where a plain filter is wanted"
    if problem is not None:
        raise InvalidTopicFilter(text, problem)


def split_share(text: str) -> tuple[str | None, str]:
    """Split `$share/group/filter` into group and filter; the group is None for any other text.

    The filter itself is not checked: that is `check_filter`, which refuses a second `$share/`.

    Raises:
        InvalidTopicFilter: the group or the filter after it is missing or no good.
    """
    if not text.startswith(_SHARE):
        return None, text
    group, slash, topic_filter = text[len(_SHARE) :].partition("/")
    if not slash or not topic_filter:
        raise InvalidTopicFilter(text, "no topic filter after the share name")  # [MQTT-4.8.2-2]
    problem = text_problem(group, max_bytes=MAX_STRING_BYTES, max_levels=1)
    if problem is None and ("+" in group or "#" in group):
        problem = "a wildcard"  # [MQTT-4.8.2-2]
    if problem is not None:
        raise InvalidTopicFilter(text, f"share name: {problem}")  # [MQTT-4.8.2-1]
    return group, topic_filter


def has_wildcard(topic_filter: str) -> bool:
    """Tell whether a filter can match more than one topic."""
    return "+" in topic_filter or "#" in topic_filter


def begins_with_wildcard(topic_filter: str) -> bool:
    """Tell whether the first level of a filter is a wildcard."""
    return topic_filter.startswith(_WILDCARDS)


def extent(topic_filter: str) -> tuple[str, str]:
    """Return a text that no topic of a filter comes before, and one that they all come before.

    In the order of their UTF-8, which is that of their characters. What lies between may
    be no topic of the filter all the same.
    """
    levels = topic_filter.split("/")
    head = levels[: next((at for at, level in enumerate(levels) if level in _WILDCARDS), len(levels))]
    if not head:
        return "", _BEYOND
    start = "/".join(head)
    if len(head) == len(levels):
        return start, following(start)
    # "0" follows "/". A filter `a/#` matches `a`, too.
    return (start if levels[len(head)] == "#" else f"{start}/"), f"{start}0"


def following(topic: str) -> str:
    """Return the first text that comes after a topic; there is no NUL in any."""
    return f"{topic}\x01"


def matches(topic_filter: str, topic: str) -> bool:
    """Tell whether a topic is in the set of a filter."""
    if "+" not in topic_filter and "#" not in topic_filter:
        return topic_filter == topic
    if topic.startswith("$") and topic_filter.startswith(_WILDCARDS):
        return False  # [MQTT-4.7.2-1] [MQTT311-4.7.2-1]
    wanted = topic_filter.split("/")
    levels = topic.split("/")
    for want, level in zip(wanted, levels, strict=False):
        if want == "#":
            return True
        if want != level and want != "+":
            return False
    return _ends_alike(wanted, levels)


def covers(outer: str, inner: str) -> bool:
    """Tell whether every topic of the inner filter is in the set of the outer one."""
    inner = canonical(inner)
    if inner.startswith("$") and outer.startswith(_WILDCARDS):
        return False
    outer_levels = outer.split("/")
    inner_levels = inner.split("/")
    for have, want in zip(outer_levels, inner_levels, strict=False):
        if have == "#":
            return True
        if have != want and (have != "+" or want == "#"):
            return False
    return _ends_alike(outer_levels, inner_levels)


def overlaps(one: str, other: str) -> bool:
    """Tell whether some topic is in the sets of both filters."""
    one, other = canonical(one), canonical(other)
    if one.startswith("$") != other.startswith("$"):
        return False
    one_levels = one.split("/")
    other_levels = other.split("/")
    for left, right in zip(one_levels, other_levels, strict=False):
        if left == "#" or right == "#":
            return True
        if left != right and left != "+" and right != "+":
            return False
    return _ends_alike(one_levels, other_levels) or _ends_alike(other_levels, one_levels)


def intersection(one: str, other: str) -> str | None:
    """Return the filter of the topics that two filters share; None where they share none."""
    if not overlaps(one, other):
        return None
    left, right = canonical(one).split("/"), canonical(other).split("/")
    levels: list[str] = []
    for at, (a, b) in enumerate(zip(left, right, strict=False)):
        if a == "#":
            return "/".join([*levels, *right[at:]])
        if b == "#":
            return "/".join([*levels, *left[at:]])
        levels.append(b if a == "+" else a)
    return "/".join(levels)


def examples(topic_filter: str, *, depth: int) -> Iterator[str]:
    """Yield topics of a filter that are in no other filter but those that cover enough of it.

    Each `+` is a level that no filter names, a `#` stands for none to `depth` such levels.
    So if other filters leave out any topic of this one, they leave out one of these, as long
    as none of them has more than `depth` levels.
    """
    *levels, last = canonical(topic_filter).split("/")
    head = "/".join(_UNNAMED if level == "+" else level for level in levels)
    if last != "#":
        yield "/".join([*([head] if levels else ()), _UNNAMED if last == "+" else last])
        return
    for below in range(depth + 1):
        yield "/".join([head, *[_UNNAMED] * below])


def canonical(topic_filter: str) -> str:
    """Return the one spelling of a filter that a walk level by level judges exactly.

    `x/#` holds its parent `x`. A name has at least one character [MQTT-4.7.3-1], so the
    parents of `#` and `/#` do not exist, and these two alone have an equal that looks
    narrower: `+/#` and `/+/#`.
    """
    if topic_filter == "#":
        return "+/#"
    if topic_filter == "/#":
        return "/+/#"
    return topic_filter


def _wildcard_problem(text: str) -> str | None:
    if "+" not in text and "#" not in text:
        return None
    levels = text.split("/")
    if text.count("#") != (levels[-1] == "#"):
        return "# stands alone in the last level or nowhere"  # [MQTT-4.7.1-1] [MQTT311-4.7.1-2]
    if text.count("+") != levels.count("+"):
        return "+ stands alone in its level or nowhere"  # [MQTT-4.7.1-2] [MQTT311-4.7.1-3]
    return None


def _ends_alike(longer: list[str], shorter: list[str]) -> bool:
    """Tell whether two lists equal as far as both go end together, or the first in the parent's `#`."""
    extra = len(longer) - len(shorter)
    return extra == 0 or (extra == 1 and longer[-1] == "#")
