"""The endpoints that are about identity providers; `table` has all of them."""

from __future__ import annotations

from tokenmq.api.call import Access, Endpoint
from tokenmq.api.routes import providers
from tokenmq.api.schemas import answers, requests

PROVIDER_ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        "GET",
        "/v2/providers",
        "listProviders",
        "List the identity providers whose tokens an organization accepts",
        providers.listing,
        Access.ANY_KEY,
        answers.ProviderList,
        requests.ProvidersQuery,
        errors=(404,),
    ),
    Endpoint(
        "POST",
        "/v2/providers",
        "createProvider",
        "Set up an identity provider whose tokens may be exchanged",
        providers.create,
        Access.SCOPE,
        answers.ProviderInfo,
        requests.OrganizationQuery,
        scope="providers",
        body=requests.ProviderBody,
        status=201,
        errors=(409,),
    ),
    Endpoint(
        "PATCH",
        "/v2/providers/{provider_id}",
        "patchProvider",
        "Change what is named of an identity provider",
        providers.patch,
        Access.SCOPE,
        answers.ProviderInfo,
        requests.OrganizationQuery,
        scope="providers",
        body=requests.ProviderPatch,
        errors=(404, 409),
    ),
    Endpoint(
        "DELETE",
        "/v2/providers/{provider_id}",
        "deleteProvider",
        "Delete an identity provider; its tokens are exchanged and refreshed no more",
        providers.delete,
        Access.SCOPE,
        answers.ProviderDeleted,
        requests.OrganizationQuery,
        scope="providers",
        body=requests.Keyed,
        body_required=False,
        errors=(404,),
    ),
)
