"""Endpoints of the history."""

from __future__ import annotations

from tokenmq.access.permission import Permission
from tokenmq.api.call import Access, Endpoint
from tokenmq.api.routes import history
from tokenmq.api.schemas import history as schemas
from tokenmq.api.schemas import requests

HISTORY_ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        "GET",
        "/v2/history",
        "readHistory",
        "Read recorded messages, the newest first unless asked otherwise",
        history.read,
        Access.SCOPE,
        schemas.HistoryList,
        schemas.HistoryQuery,
        scope="history:read",
        permission=Permission.HISTORY,
    ),
    Endpoint(
        "DELETE",
        "/v2/history",
        "eraseHistory",
        "Erase what was recorded of topics or of a user",
        history.erase,
        Access.SCOPE,
        schemas.HistoryErased,
        schemas.HistoryEraseQuery,
        scope="history:erase",
        body=requests.Keyed,
        body_required=False,
    ),
    Endpoint(
        "GET",
        "/v2/history/rules",
        "showHistoryRules",
        "Show what is recorded",
        history.rules,
        Access.SCOPE,
        schemas.HistoryRulesAnswer,
        requests.OrganizationQuery,
        scope="history:read",
    ),
    Endpoint(
        "PUT",
        "/v2/history/rules",
        "putHistoryRules",
        "Say what is recorded from now on; what no rule holds of is dropped",
        history.put_rules,
        Access.SCOPE,
        schemas.HistoryRulesAnswer,
        requests.OrganizationQuery,
        scope="policy",
        body=schemas.HistoryRulesBody,
    ),
)
