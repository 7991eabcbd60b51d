// The types that openapi-typescript makes, and openapi-fetch with them, at work; see clients.sh. That this compiles is half of the test.

import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

declare const process: { env: Record<string, string | undefined> };

const { API_URL = "", API_KEY = "" } = process.env;
const target = "https://www.iras.gov.sg/taxes";
const admin = clientOf(API_KEY);

function clientOf(key: string) {
  return createClient<paths>({ baseUrl: API_URL, headers: { Authorization: `Bearer ${key}` } });
}

function equal(found: unknown, expected: unknown) {
  const [a, b] = [JSON.stringify(found), JSON.stringify(expected)];
  if (a !== b) throw new Error(`${b} expected: ${a}`);
}

/** What was answered, if it is what was asked for. */
function data<T>(answer: { data?: T; error?: unknown }): T {
  if (answer.data === undefined) throw new Error(`refused: ${JSON.stringify(answer.error)}`);
  return answer.data;
}

/** Status and kind of a refusal, whose type is an address that explains it. */
function refusal(answer: { data?: unknown; error?: components["schemas"]["Problem"] }) {
  const { status, type } = problem(answer);
  return [status, type.split("/").pop()];
}

function problem(answer: { data?: unknown; error?: components["schemas"]["Problem"] }) {
  if (answer.error === undefined) throw new Error(`a refusal expected: ${JSON.stringify(answer.data)}`);
  return answer.error;
}

const made = data(await admin.POST("/keys", { body: { name: "typescript", scopes: ["links:read", "links:write", "stats:read"] } }));
const client = clientOf(made.key);

// Make, read, change.
const link = data(await client.POST("/links", { body: { target_url: target, code: "ts-tax", tags: ["tax"] } }));
equal([link.code, link.state, link.expires_at, link.tags.length], ["ts-tax", "active", null, 1]);
const path = { code: "ts-tax" };
const changed = await client.PATCH("/links/{code}", {
  params: { path, header: { "If-Match": '"1"' } },
  headers: { "Content-Type": "application/merge-patch+json" },
  body: { state: "inactive", description: "Income tax", contact_email: null },
});
equal([data(changed).version, changed.response.headers.get("ETag")], [2, '"2"']);
equal(data(await client.GET("/links/{code}", { params: { path } })).description, "Income tax");
const past = data(await client.GET("/links/{code}/history", { params: { path } }));
if (!("items" in past)) throw new Error("a list expected");
equal(past.items.map((entry) => entry.version), [2, 1]);

// Refusals.
const stale = await client.PATCH("/links/{code}", { params: { path, header: { "If-Match": '"1"' } }, body: { forward_query: true } });
equal(refusal(stale), [412, "stale"]);
equal(refusal(await client.POST("/links", { body: { target_url: target, code: "ts-tax" } })), [409, "code-taken"]);
const wrong = problem(await client.POST("/links", { body: { target_url: "http://x", code: "No" } }));
equal(wrong.errors?.map((mistake) => mistake.pointer).sort(), ["/code", "/target_url"]);
equal(refusal(await clientOf("mlk_no_key").GET("/me")), [401, "unauthorized"]);

// Sent again, a request makes nothing twice.
const repeated = { params: { header: { "Idempotency-Key": crypto.randomUUID() } }, body: { target_url: target } };
const [first, second] = [await client.POST("/links", repeated), await client.POST("/links", repeated)];
equal(data(first).code, data(second).code);
equal(second.response.headers.get("Idempotency-Replayed"), "true");

// Many.
const rows = Array.from({ length: 25 }, (_, number) => ({ target_url: `${target}/${number}`, code: `ts-${number}`, tags: ["ts-many"] }));
const batch = data(await client.POST("/batch", { body: [...rows, { target_url: target, code: "ts-3" }] }));
equal([batch.created, batch.failed, batch.results[25]?.problem?.status], [25, 1, 409]);
const codes: string[] = [];
let cursor: string | undefined;
do {
  const query = { tag: ["ts-many"], sort: "code", limit: 10, ...(cursor && { cursor }) };
  const page = data(await client.GET("/links", { params: { query } }));
  codes.push(...page.items.map((item) => item.code));
  cursor = page.next_cursor ?? undefined;
} while (cursor);
equal(codes, rows.map((row) => row.code).sort());
const exported: string = data(
  await client.GET("/export", { params: { header: { Accept: "text/csv" } }, headers: { Accept: "text/csv" }, parseAs: "text" }),
);
equal(exported.split("\n").filter((line) => line.includes("ts-many")).length, 25);

// Statistics.
const clicks = data(await client.GET("/links/{code}/clicks", { params: { path } }));
equal([clicks.total, clicks.devices.mobile, clicks.daily.length], [0, 0, 7]);
equal(data(await client.GET("/tags")).items.find((tag) => tag.tag === "ts-many")?.links, 25);
const picture: Blob = data(await client.GET("/links/{code}/qr", { params: { path, query: { format: "png" } }, parseAs: "blob" })) as unknown as Blob;
equal(picture.type, "image/png");

// The end.
equal(data(await client.POST("/links/{code}/transfer", { params: { path }, body: { owner: "ts@iras.gov.sg" } })).owner, "ts@iras.gov.sg");
equal((await admin.DELETE("/keys/{id}", { params: { path: { id: made.id } } })).response.status, 204);
equal(refusal(await client.GET("/me")), [401, "unauthorized"]);
console.log("works");
