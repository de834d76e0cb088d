/** What the smoke flows have alike: where the service is, what must hold, and receiving a webhook. */
import assert from "node:assert/strict";
import { setTimeout as wait } from "node:timers/promises";
import { Webhook } from "standardwebhooks";

function given(name: string): string {
  const value = process.env[name];
  assert.ok(value, `${name} is not set`);
  return value;
}

export const baseUrl = given("SMOKE_BASE_URL");
export const apiKey = given("SMOKE_API_KEY");
const receiver = given("SMOKE_RECEIVER");

export const hookOf = (flow: string): string => `${receiver}/hooks/${flow}`;
export const unique = (): string => crypto.randomUUID();

/** The rows of two pages: none twice, and more than one page could hold. */
export function checkPages(first: { id: string }[], second: { id: string }[], limit: number): void {
  const ids = [...first, ...second].map((row) => row.id);
  assert.equal(first.length, limit);
  assert.ok(second.length >= 1);
  assert.equal(new Set(ids).size, ids.length);
}

export function checkProblem(problem: { code: string; status: number; request_id?: string | null }): void {
  assert.equal(problem.code, "not_found");
  assert.equal(problem.status, 404);
  assert.ok(problem.request_id);
}

/** Waits for the delivery and verifies its signature as a consumer would; gives its payload. */
export async function receive(flow: string, key: string): Promise<{ type: string; data: { name?: string } }> {
  for (let attempt = 0; attempt < 300; attempt++) {
    const response = await fetch(`${receiver}/received/${flow}`);
    if (response.ok) {
      const { headers, body } = (await response.json()) as { headers: Record<string, string>; body: string };
      assert.throws(() => new Webhook(key).verify(`${body} `, headers));
      return new Webhook(key).verify(body, headers) as { type: string; data: { name?: string } };
    }
    await wait(100);
  }
  throw new Error("no webhook came within 30 seconds");
}

export function run(flow: string, steps: (flow: string) => Promise<void>): void {
  steps(flow).then(
    () => console.log(`${flow}: all steps done`),
    (error: unknown) => {
      console.error(error);
      process.exitCode = 1;
    },
  );
}
