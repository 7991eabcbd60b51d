"""The Python client that openapi-python-client makes, at work; see clients.sh."""

import csv
import io
import json
import os
import uuid
from datetime import UTC, datetime, timedelta

from merlink_api_v_2_client import AuthenticatedClient
from merlink_api_v_2_client.api.bulk import create_batch, export_links
from merlink_api_v_2_client.api.keys import create_key, list_keys, read_me, revoke_key
from merlink_api_v_2_client.api.links import (
    change_link,
    create_link,
    list_links,
    read_link,
    read_link_history,
    read_link_qr,
    transfer_link,
)
from merlink_api_v_2_client.api.statistics import list_tags, read_link_clicks
from merlink_api_v_2_client.models import (
    Batch,
    Clicks,
    CreatedKey,
    History,
    KeyList,
    Link,
    LinkPage,
    LinkPatch,
    LinkThen,
    Me,
    NewKey,
    NewLink,
    Problem,
    Scope,
    State,
    TagList,
    Transfer,
)

TARGET = "https://www.iras.gov.sg/taxes"
OFFICER = "py@iras.gov.sg"


def client_of(key, raises=True):
    # With raise_on_unexpected_status, an answer that the document doesn't have is a failure.
    return AuthenticatedClient(base_url=os.environ["API_URL"], token=key, raise_on_unexpected_status=raises)


def expect(kind, answer):
    assert isinstance(answer, kind), f"{kind.__name__} expected: {answer}"
    return answer


def refusal(answer):
    """Status and kind of a problem, whose type is an address that explains it."""
    problem = expect(Problem, answer)
    return problem.status, problem.type_.rsplit("/", 1)[-1]


def an_officers_own_key(admin):
    me = expect(Me, read_me.sync(client=admin))
    assert me.officer == "root@agency.gov.sg" and Scope.ADMIN in me.key.scopes, me
    new = NewKey(name="python", scopes=[Scope.LINKSREAD, Scope.LINKSWRITE, Scope.STATSREAD])
    made = expect(CreatedKey, create_key.sync(client=admin, body=new))
    assert made.key.startswith("mlk_")
    assert made.id in [key.id for key in expect(KeyList, list_keys.sync(client=admin)).items]
    return made


def a_link_is_made_read_and_changed(client):
    new = NewLink(target_url=TARGET, code="py-tax", tags=["tax"], description="Income tax")
    link = expect(Link, create_link.sync(client=client, body=new))
    assert (link.code, link.state, link.version, link.expires_at) == ("py-tax", State.ACTIVE, 1, None), link
    expires = datetime(2127, 12, 31, tzinfo=UTC)
    patch = LinkPatch(description=None, state=State.INACTIVE, expires_at=expires)
    changed = change_link.sync_detailed("py-tax", client=client, body=patch, if_match='"1"')
    assert changed.headers["ETag"] == '"2"'
    link = expect(Link, changed.parsed)
    assert (link.description, link.state, link.expires_at, link.target_url) == ("", State.INACTIVE, expires, TARGET)
    stale = change_link.sync_detailed("py-tax", client=client, body=LinkPatch(forward_query=True), if_match='"1"')
    assert stale.status_code == 412 and refusal(stale.parsed) == (412, "stale"), stale
    assert expect(Link, read_link.sync("py-tax", client=client)) == link

    history = expect(History, read_link_history.sync("py-tax", client=client))
    assert [entry.version for entry in history.items] == [2, 1]
    assert "state" in [change.field for change in history.items[0].changes], history.items[0]
    then = expect(LinkThen, read_link_history.sync("py-tax", client=client, at=link.created_at))
    assert then.link.state == State.ACTIVE, then


def refusals_are_typed(client):
    assert refusal(create_link.sync(client=client, body=NewLink(target_url=TARGET, code="py-tax"))) == (409, "code-taken")
    wrong = expect(Problem, create_link.sync(client=client, body=NewLink(target_url="http://x", code="No")))
    assert sorted(mistake.pointer for mistake in wrong.errors) == ["/code", "/target_url"], wrong
    assert refusal(read_link.sync("py-nobodys", client=client)) == (404, "not-found")
    assert refusal(list_keys.sync(client=client)) == (403, "forbidden")
    assert refusal(read_me.sync(client=client_of("mlk_no_key"))) == (401, "unauthorized")


def a_repeated_request_makes_one_link(client):
    key = str(uuid.uuid4())
    answers = [
        create_link.sync_detailed(client=client, body=NewLink(target_url=TARGET), idempotency_key=key) for _ in range(3)
    ]
    assert len({expect(Link, answer.parsed).code for answer in answers}) == 1
    assert [answer.headers.get("Idempotency-Replayed") for answer in answers] == [None, "true", "true"]
    other = create_link.sync(client=client, body=NewLink(target_url=TARGET + "/2"), idempotency_key=key)
    assert refusal(other) == (422, "idempotency-key-reused")


def many_links_are_made_listed_and_exported(client):
    rows = [NewLink(target_url=f"{TARGET}/{number}", code=f"py-{number}", tags=["many"]) for number in range(25)]
    tried = expect(Batch, create_batch.sync(client=client, body=rows, dry_run=True))
    assert (tried.created, tried.failed) == (25, 0), tried
    batch = expect(Batch, create_batch.sync(client=client, body=[*rows, NewLink(target_url=TARGET, code="py-3")]))
    assert (batch.created, batch.failed) == (25, 1)
    assert batch.results[0].link.code == "py-0" and batch.results[25].problem.status == 409, batch.results[25]

    found, cursor, pages = [], None, 0
    while cursor is not None or pages == 0:
        # Left out on the first page, as a parameter without a value is.
        options = {"cursor": cursor} if cursor else {}
        page = list_links.sync(client=client, tag=["many"], sort="code", limit=10, state=State.ACTIVE, **options)
        found += [link.code for link in expect(LinkPage, page).items]
        cursor, pages = page.next_cursor, pages + 1
    assert (found, pages) == (sorted(row.code for row in rows), 3), (found, pages)
    assert [link.code for link in expect(LinkPage, list_links.sync(client=client, q="TAXES/24")).items] == ["py-24"]

    lines = export_links.sync(client=client).splitlines()
    assert {json.loads(line)["code"] for line in lines} >= set(found)
    table = csv.DictReader(io.StringIO(export_links.sync(client=client, accept="text/csv")))
    assert {row["code"] for row in table} >= set(found)


def statistics_are_numbers(client):
    today = datetime.now(UTC).date()
    clicks = read_link_clicks.sync("py-tax", client=client, from_=today - timedelta(days=2), to=today)
    assert expect(Clicks, clicks).total == 0 and [day.clicks for day in clicks.daily] == [0, 0, 0], clicks
    sums = {tag.tag: tag.links for tag in expect(TagList, list_tags.sync(client=client)).items}
    assert sums["many"] == 25, sums
    # The generator knows no pictures, so to the client none is expected; but the answer has its bytes.
    picture = read_link_qr.sync_detailed("py-tax", client=client_of(client.token, raises=False))
    assert picture.status_code == 200 and picture.content.startswith(b"<svg"), picture


def a_link_is_handed_on_and_a_key_ends(admin, client, key_id):
    moved = expect(Link, transfer_link.sync("py-tax", client=client, body=Transfer(owner=OFFICER)))
    assert moved.owner == OFFICER
    assert revoke_key.sync_detailed(key_id, client=admin).status_code == 204
    assert refusal(read_me.sync(client=client)) == (401, "unauthorized")


root = client_of(os.environ["API_KEY"])
officers_key = an_officers_own_key(root)
officer = client_of(officers_key.key)
a_link_is_made_read_and_changed(officer)
refusals_are_typed(officer)
a_repeated_request_makes_one_link(officer)
many_links_are_made_listed_and_exported(officer)
statistics_are_numbers(officer)
a_link_is_handed_on_and_a_key_ends(root, officer, officers_key.id)
print("works")
