"""What a request to revoke means."""

from tokenmq.services.revocation import RevokeRequest, selection_of
from tokenmq.stores.base import Selection


def opened_by(org_id, client_id):
    return None


def test_selection_is_the_request_within_its_organization():
    request = RevokeRequest(user_id="ann", issued_before=5.0, reason="r")
    assert selection_of(request, "o", opened_by) == Selection("o", user_id="ann", issued_before=5.0)


def test_only_a_client_id_asks_who_opened_its_session():
    selection = selection_of(RevokeRequest(client_id="c"), "o", opened_by)
    assert selection == Selection("o", client_id="c", opened_by=opened_by)
