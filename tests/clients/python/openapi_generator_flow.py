"""The smoke flow through the python client of openapi-generator."""

from __future__ import annotations

from sixteen_generated import ApiClient, Configuration, CustomersApi, WebhooksApi
from sixteen_generated.exceptions import NotFoundException
from sixteen_generated.models.customer import Customer
from sixteen_generated.models.customer_create import CustomerCreate
from sixteen_generated.models.customer_patch import CustomerPatch
from sixteen_generated.models.problem import Problem
from sixteen_generated.models.webhook_endpoint_create import WebhookEndpointCreate
from smoke import API_KEY, BASE_URL, check_pages, hook_of, receive, unique

FLOW = "openapi-generator-python"


def refusal(customers: CustomersApi) -> Problem:
    try:
        customers.get_customer(unique())
    except NotFoundException as error:
        problem = Problem.from_json(str(error.body))
        assert problem is not None
        return problem
    raise AssertionError("a customer that there is none of was found")


def main() -> None:
    with ApiClient(Configuration(host=BASE_URL, access_token=API_KEY)) as client:
        customers, webhooks = CustomersApi(client), WebhooksApi(client)

        def create(name: str) -> Customer:
            body = CustomerCreate(name=name, phone="010", website="https://a.example")
            return customers.create_customer(body, idempotency_key=unique())

        made = create(f"{FLOW} 1")
        for n in (2, 3):
            create(f"{FLOW} {n}")

        first = customers.list_customers(limit=2)
        second = customers.list_customers(limit=2, cursor=first.next_cursor)
        check_pages(first.data, second.data, 2)

        changed = customers.update_customer(made.id, CustomerPatch(name="Changed"), if_match=f'"{made.version}"')
        assert changed.name == "Changed"
        cleared = customers.update_customer(made.id, CustomerPatch(phone=None, clear=["website"]))
        assert (cleared.phone, cleared.website) == (None, None)

        problem = refusal(customers)
        assert (problem.code, problem.status) == ("not_found", 404)
        assert problem.request_id

        hook = webhooks.create_webhook_endpoint(
            WebhookEndpointCreate(url=hook_of(FLOW), event_types=["customer.created"])
        )
        secret = webhooks.get_webhook_secret(hook.id)
        create(f"{FLOW} hooked")
        assert receive(FLOW, str(secret.key))["data"]["name"] == f"{FLOW} hooked"
    print(f"{FLOW}: all steps done")


if __name__ == "__main__":
    main()
