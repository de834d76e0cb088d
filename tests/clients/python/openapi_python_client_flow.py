"""The smoke flow through the client of openapi-python-client."""

from __future__ import annotations

from uuid import uuid4

from sixteen_client import AuthenticatedClient
from sixteen_client.api.customers import create_customer, get_customer, list_customers, update_customer
from sixteen_client.api.webhooks import create_webhook_endpoint, get_webhook_secret
from sixteen_client.models import (
    Customer,
    CustomerCreate,
    CustomerPatch,
    CustomerViewPage,
    Problem,
    WebhookEndpointCreate,
    WebhookEndpointCreated,
    WebhookSecret,
)
from smoke import API_KEY, BASE_URL, check_pages, hook_of, receive, unique

FLOW = "openapi-python-client"
CLIENT = AuthenticatedClient(base_url=BASE_URL, token=API_KEY)


def create(name: str) -> Customer:
    body = CustomerCreate(name=name, phone="010", website="https://a.example")
    made = create_customer.sync(client=CLIENT, body=body, idempotency_key=unique())
    assert isinstance(made, Customer), made
    return made


def main() -> None:
    made = create(f"{FLOW} 1")
    for n in (2, 3):
        create(f"{FLOW} {n}")

    first = list_customers.sync(client=CLIENT, limit=2)
    assert isinstance(first, CustomerViewPage)
    assert first.next_cursor
    second = list_customers.sync(client=CLIENT, limit=2, cursor=first.next_cursor)
    assert isinstance(second, CustomerViewPage)
    check_pages(first.data, second.data, 2)

    changed = update_customer.sync(
        made.id, client=CLIENT, body=CustomerPatch(name="Changed"), if_match=f'"{made.version}"'
    )
    assert isinstance(changed, Customer), changed
    assert changed.name == "Changed"
    cleared = update_customer.sync(made.id, client=CLIENT, body=CustomerPatch(phone=None, clear=["website"]))
    assert isinstance(cleared, Customer)
    assert (cleared.phone, cleared.website) == (None, None)

    missing = get_customer.sync_detailed(uuid4(), client=CLIENT)
    assert isinstance(missing.parsed, Problem)
    assert (missing.parsed.code, missing.parsed.status) == ("not_found", 404)

    body = WebhookEndpointCreate(url=hook_of(FLOW), event_types=["customer.created"])
    hook = create_webhook_endpoint.sync(client=CLIENT, body=body)
    assert isinstance(hook, WebhookEndpointCreated), hook
    secret = get_webhook_secret.sync(hook.id, client=CLIENT)
    assert isinstance(secret, WebhookSecret)
    create(f"{FLOW} hooked")
    assert receive(FLOW, str(secret.key))["data"]["name"] == f"{FLOW} hooked"
    print(f"{FLOW}: all steps done")


if __name__ == "__main__":
    main()
