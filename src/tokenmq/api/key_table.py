"""Endpoints of keys."""

from __future__ import annotations

from tokenmq.api.call import Access, Endpoint
from tokenmq.api.routes import keys
from tokenmq.api.schemas import answers, requests

KEY_ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        "GET",
        "/v2/keys",
        "listKeys",
        "List keys, masked",
        keys.listing,
        Access.SCOPE,
        answers.KeyList,
        requests.PageQuery,
        scope="keys",
    ),
    Endpoint(
        "POST",
        "/v2/keys",
        "createKey",
        "Make a key; the answer is the only time that it is shown",
        keys.create,
        Access.SCOPE,
        answers.NewKeyAnswer,
        requests.OrganizationQuery,
        scope="keys",
        body=requests.KeyBody,
        status=201,
    ),
    Endpoint(
        "POST",
        "/v2/keys/{key_id}/rotate",
        "rotateKey",
        "Give a key another secret; the answer is the only time that it is shown",
        keys.rotate,
        Access.SCOPE,
        answers.NewKeyAnswer,
        requests.OrganizationQuery,
        scope="keys",
        body=requests.KeyRotateBody,
        body_required=False,
        errors=(404, 409),
    ),
    Endpoint(
        "DELETE",
        "/v2/keys/{key_id}",
        "deleteKey",
        "Delete a key, close its connections, and revoke what it issued if asked",
        keys.delete,
        Access.SCOPE,
        answers.KeyDeleted,
        requests.KeyDeleteQuery,
        scope="keys",
        body=requests.KeyDeleteBody,
        body_required=False,
        errors=(404,),
    ),
)
