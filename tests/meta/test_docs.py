"""What the pages say is what the program has: nothing is named that is not there, nothing left out.

That settings.md and cli.md are complete follows from their being generated; what is in
them is tested beside `config` and `cli`.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tokenmq import __version__
from tokenmq.access.permission import Permission
from tokenmq.api.call import Endpoint
from tokenmq.api.table import ENDPOINTS
from tokenmq.config.declared import declarations
from tokenmq.config.settings import OTHER_VARIABLES
from tokenmq.mqtt.codes import ReasonCode
from tokenmq.services.key_requests import SCOPES
from tokenmq.tokens.records import KeyKind
from tokenmq.topics.filter import covers

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "tokenmq"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "bench" / "README.md"])
# Written by `make bench`, on the machine that measures.
MEASURED = ROOT / "docs" / "performance.md"


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def sources(*packages: str) -> str:
    """Return the source of some packages, or of all, in one piece."""
    folders = [SOURCE / package for package in packages] or [SOURCE]
    return "\n".join(path.read_text(encoding="utf-8") for folder in folders for path in folder.rglob("*.py"))


def test_generated_pages_are_what_the_code_makes() -> None:
    script = ROOT / "scripts" / "write_docs.py"
    checked = subprocess.run(
        [sys.executable, str(script), "--check"], capture_output=True, text=True, timeout=60, check=False
    )
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.operation)
def test_every_endpoint_stands_in_the_http_page(endpoint: Endpoint) -> None:
    assert f"`{endpoint.method} {endpoint.path}`" in text_of("docs/http-api.md")


def test_every_error_code_of_http_stands_in_the_errors_page() -> None:
    """As answers carry it: out of the classes, the table of statuses, and where it is said by hand."""
    told = sources("api", "services", "stores", "tokens") + text_of("src/tokenmq/errors.py")
    codes = set(re.findall(r"""(?:\bcode(?:: str)? ?= ?|\(\d{3}, |_answer\(\s*\d{3}, )"([a-z_]+)\"""", told))
    # Of errors that never become an HTTP answer, and the root's.
    elsewhere = {"error", "invalid_topic", "protocol_error", "unusable_key", "bad_credentials"}
    elsewhere |= {
        "client_id_not_permitted",
        "family_lapsed",
        "unknown_method",
        "connect_error",
        "token_error",
        "denied",
        "not_delivered",
        "unreachable",
    }
    elsewhere |= {"invalid_settings", "data_folder_in_use", "database_in_use"}
    missing = {code for code in codes - elsewhere if f"`{code}`" not in text_of("docs/errors.md")}
    assert len(codes) > 10
    assert not missing


def test_every_reason_code_that_we_send_stands_in_the_errors_page() -> None:
    mqtt = "\n".join(
        path.read_text(encoding="utf-8")
        for path in (SOURCE / "mqtt").rglob("*.py")
        if path.name != "codes.py"
    )
    names = set(re.findall(r"ReasonCode\.([A-Z_0-9]+)", sources("broker", "server") + mqtt))
    codes = {ReasonCode[name] for name in names} - {ReasonCode.SUCCESS, ReasonCode.RE_AUTHENTICATE}
    page = text_of("docs/errors.md")
    assert len(codes) > 20
    assert not [f"{code:#04x} {code.name}" for code in sorted(codes) if f"| 0x{code:02X} |" not in page]


def test_reason_codes_of_the_pages_are_codes_of_the_standard() -> None:
    known = {f"0x{code:02X}" for code in ReasonCode}
    for name in ("README.md", "docs/errors.md", "docs/mqtt.md", "docs/concepts.md", "docs/quickstart.md"):
        assert set(re.findall(r"\b0x[0-9A-F]{2}\b", text_of(name))) <= known


def test_every_event_of_the_log_stands_in_the_deployment_page() -> None:
    events = set(re.findall(r"""(?:_log\.\w+|\breport)\(\s*"([a-z_ ]+)\"""", sources()))
    page = text_of("docs/deployment.md")
    assert len(events) > 10
    assert not {event for event in events if f"`{event}`" not in page}


def test_kinds_of_keys_scopes_and_permissions_are_told() -> None:
    concepts = text_of("docs/concepts.md")
    assert all(f"`{kind.value}_`" in concepts for kind in KeyKind)
    assert all(f"`{scope}`" in concepts for scope in SCOPES)
    assert all(f"| `{permission}` |" in text_of("docs/permissions.md") for permission in Permission)


COVERED = re.findall(
    r"^\| `([^`]+)` \| `([^`]+)` \| (yes|no) \|", text_of("docs/permissions.md"), re.MULTILINE
)


@pytest.mark.parametrize(("grant", "subscription", "admitted"), COVERED)
def test_table_of_covered_filters_is_true(grant: str, subscription: str, admitted: str) -> None:
    assert covers(grant, subscription) is (admitted == "yes")


def test_table_of_covered_filters_was_found() -> None:
    assert len(COVERED) >= 10


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_settings_that_a_page_names_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    known = {f"[{declared.table}] {declared.key}" for declared in declarations()}
    assert set(re.findall(r"\[[a-z]+\] [a-z][a-z_]+(?=`)", text)) <= known
    variables = {declared.variable for declared in declarations()} | OTHER_VARIABLES.keys()
    assert set(re.findall(r"\bTOKENMQ_[A-Z_]*[A-Z]\b(?!>)", text)) <= variables | {"TOKENMQ_HTTP_PORT"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_that_a_page_names_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    commands = set(re.findall(r"^#{2,3} tokenmq ([a-z -]+)$", text_of("docs/cli.md"), re.MULTILINE))
    named = set(
        re.findall(
            r"(?:^|`|/)tokenmq ((?:org|key|token|provider|signing-key) [a-z]+|[a-z]+)(?=[ `]|$)",
            code(text),
            re.MULTILINE,
        )
    )
    assert named <= commands
    targets = set(re.findall(r"^([a-z]+):.*## ", text_of("Makefile"), re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z]+)", code(text), re.MULTILINE)) <= targets


def code(text: str) -> str:
    """Return what of a page is code: blocks and `spans`."""
    blocks = re.findall(r"^```(?:sh|console)?\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    commands = [line for block in blocks for line in block.splitlines() if not line.startswith("tokenmq:")]
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    return "\n".join([*commands, *re.findall(r"`[^`\n]+`", prose)])


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as hosts of repositories make them."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#{1,6} (.+)$", prose, re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings)
    return set(plain)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_within_the_tree_lead_somewhere(page: Path) -> None:
    prose = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        aim = (page.parent / name).resolve() if name else page
        if aim == MEASURED and not aim.exists():
            continue
        assert aim.exists(), target
        assert not anchor or anchor in anchors(aim.read_text(encoding="utf-8")), target


def test_readme_leads_to_every_page() -> None:
    readme = text_of("README.md")
    for page in PAGES:
        if page.name != "README.md":
            assert f"]({page.relative_to(ROOT).as_posix()})" in readme, page


def test_changelog_has_this_version() -> None:
    assert re.search(
        rf"^## \[{re.escape(__version__)}\] - \d{{4}}-\d\d-\d\d$", text_of("CHANGELOG.md"), re.MULTILINE
    )
