import assert from "node:assert/strict";
import createClient from "openapi-fetch";
import type { components, paths } from "../generated/openapi-typescript/schema.js";
import { apiKey, baseUrl, checkPages, checkProblem, hookOf, receive, run, unique } from "./shared.js";

const client = createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${apiKey}` } });

async function create(name: string): Promise<components["schemas"]["Customer"]> {
  const { data, error } = await client.POST("/v1/customers", {
    body: { name, phone: "010", website: "https://a.example" },
    params: { header: { "Idempotency-Key": unique() } },
  });
  assert.ok(data, error?.detail);
  return data;
}

run("openapi-typescript", async (flow) => {
  const made = await create(`${flow} 1`);
  for (const n of [2, 3]) await create(`${flow} ${n}`);

  const first = await client.GET("/v1/customers", { params: { query: { limit: 2 } } });
  assert.ok(first.data?.next_cursor);
  const query = { limit: 2, cursor: first.data.next_cursor };
  const second = await client.GET("/v1/customers", { params: { query } });
  assert.ok(second.data);
  checkPages(first.data.data, second.data.data, 2);

  const path = { id: made.id };
  const header = { "If-Match": `"${made.version}"` };
  const changed = await client.PATCH("/v1/customers/{id}", { params: { path, header }, body: { name: "Changed" } });
  assert.equal(changed.data?.name, "Changed");
  const cleared = await client.PATCH("/v1/customers/{id}", {
    params: { path },
    body: { phone: null, clear: ["website"] },
  });
  assert.equal(cleared.data?.phone, null);
  assert.equal(cleared.data?.website, null);

  const missing = await client.GET("/v1/customers/{id}", { params: { path: { id: unique() } } });
  assert.ok(missing.error);
  checkProblem(missing.error);

  const hook = await client.POST("/v1/webhook-endpoints", {
    body: { url: hookOf(flow), event_types: ["customer.created"] },
  });
  assert.ok(hook.data, hook.error?.detail);
  const secret = await client.GET("/v1/webhook-endpoints/{id}/secret", { params: { path: { id: hook.data.id } } });
  assert.ok(secret.data?.key);
  await create(`${flow} hooked`);
  assert.equal((await receive(flow, secret.data.key)).data.name, `${flow} hooked`);
});
