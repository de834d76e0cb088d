import assert from "node:assert/strict";
import {
  Configuration,
  CustomersApi,
  ProblemFromJSON,
  ResponseError,
  WebhooksApi,
} from "../generated/typescript-fetch/index.js";
import { apiKey, baseUrl, checkPages, checkProblem, hookOf, receive, run, unique } from "./shared.js";

const configuration = new Configuration({ basePath: baseUrl, accessToken: apiKey });
const customers = new CustomersApi(configuration);
const webhooks = new WebhooksApi(configuration);

const create = (name: string) =>
  customers.createCustomer({
    customerCreate: { name, phone: "010", website: "https://a.example" },
    idempotencyKey: unique(),
  });

run("typescript-fetch", async (flow) => {
  const made = await create(`${flow} 1`);
  for (const n of [2, 3]) await create(`${flow} ${n}`);

  const first = await customers.listCustomers({ limit: 2 });
  assert.ok(first.nextCursor);
  const second = await customers.listCustomers({ limit: 2, cursor: first.nextCursor });
  checkPages(first.data, second.data, 2);

  const changed = await customers.updateCustomer({
    id: made.id,
    ifMatch: `"${made.version}"`,
    customerPatch: { name: "Changed" },
  });
  assert.equal(changed.name, "Changed");
  assert.ok(changed.recordedAt instanceof Date);
  const cleared = await customers.updateCustomer({ id: made.id, customerPatch: { phone: null, clear: ["website"] } });
  assert.equal(cleared.phone, null);
  assert.equal(cleared.website, null);

  const error = await customers.getCustomer({ id: unique() }).catch((caught: unknown) => caught);
  assert.ok(error instanceof ResponseError);
  const problem = ProblemFromJSON(await error.response.json());
  checkProblem({ code: problem.code, status: problem.status, request_id: problem.requestId });

  const hook = await webhooks.createWebhookEndpoint({
    webhookEndpointCreate: { url: hookOf(flow), eventTypes: ["customer.created"] },
  });
  const secret = await webhooks.getWebhookSecret({ id: hook.id });
  assert.ok(secret.key);
  await create(`${flow} hooked`);
  assert.equal((await receive(flow, secret.key)).data.name, `${flow} hooked`);
});
