import assert from "node:assert/strict";
import {
  createCustomer,
  createWebhookEndpoint,
  getCustomer,
  getWebhookSecret,
  listCustomers,
  updateCustomer,
} from "../generated/hey-api/index.js";
import { client } from "../generated/hey-api/client.gen.js";
import { apiKey, baseUrl, checkPages, checkProblem, hookOf, receive, run, unique } from "./shared.js";

client.setConfig({ baseUrl, auth: apiKey });

async function create(name: string) {
  const { data, error } = await createCustomer({
    body: { name, phone: "010", website: "https://a.example" },
    headers: { "Idempotency-Key": unique() },
  });
  assert.ok(data, error?.detail);
  return data;
}

run("hey-api", async (flow) => {
  const made = await create(`${flow} 1`);
  for (const n of [2, 3]) await create(`${flow} ${n}`);

  const first = await listCustomers({ query: { limit: 2 } });
  assert.ok(first.data?.next_cursor);
  const second = await listCustomers({ query: { limit: 2, cursor: first.data.next_cursor } });
  assert.ok(second.data);
  checkPages(first.data.data, second.data.data, 2);

  const path = { id: made.id };
  const headers = { "If-Match": `"${made.version}"` };
  const changed = await updateCustomer({ path, headers, body: { name: "Changed" } });
  assert.equal(changed.data?.name, "Changed");
  const cleared = await updateCustomer({ path, body: { phone: null, clear: ["website"] } });
  assert.equal(cleared.data?.phone, null);
  assert.equal(cleared.data?.website, null);

  const missing = await getCustomer({ path: { id: unique() } });
  assert.ok(missing.error);
  checkProblem(missing.error);

  const hook = await createWebhookEndpoint({ body: { url: hookOf(flow), event_types: ["customer.created"] } });
  assert.ok(hook.data, hook.error?.detail);
  const secret = await getWebhookSecret({ path: { id: hook.data.id } });
  assert.ok(secret.data?.key);
  await create(`${flow} hooked`);
  assert.equal((await receive(flow, secret.data.key)).data.name, `${flow} hooked`);
});
