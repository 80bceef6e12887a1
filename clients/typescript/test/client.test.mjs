// Against a live server at RECSERVE_URL, and through a proxy that fails as planned.
import assert from "node:assert/strict";
import http from "node:http";
import { after, before, beforeEach, test } from "node:test";

import { AnswerError, Client, ClientError, EventsNotRecordedError, NoAnswerError } from "../dist/index.js";

const url = process.env.RECSERVE_URL ?? "http://localhost:8000";
const client = new Client({ url });

/** What each of the next requests meets: `{status, code, headers, carriedOut}`, or "hang". */
let planned = [];
let bodies = [];

const proxy = http.createServer(async (request, response) => {
  let body = "";
  for await (const chunk of request) {
    body += chunk;
  }
  bodies.push(body);
  const pass = () =>
    fetch(url + request.url, {
      method: request.method,
      headers: { "Content-Type": "application/json" },
      body: body || undefined,
    });
  const fault = planned.shift();
  if (fault === "hang") {
    return;
  }
  if (fault?.carriedOut ?? fault === undefined) {
    const answer = await pass();
    const text = await answer.text();
    if (fault === undefined) {
      response.writeHead(answer.status, { "Content-Type": answer.headers.get("Content-Type") });
      response.end(text);
      return;
    }
  }
  response.writeHead(fault.status, fault.headers ?? {});
  const error = { code: fault.code, message: "not now", field: null };
  response.end(fault.code === undefined ? "<html>Bad gateway</html>" : JSON.stringify({ error }));
});
let faulty;

before(async () => {
  await new Promise((ready) => proxy.listen(0, "127.0.0.1", ready));
  faulty = `http://127.0.0.1:${proxy.address().port}`;
});
after(() => {
  proxy.closeAllConnections();
  proxy.close();
});
beforeEach(() => {
  planned = [];
  bodies = [];
});

async function all(entries) {
  const found = [];
  for await (const entry of entries) {
    found.push(entry);
  }
  return found;
}

test("recommendations, similar items, ranks and audiences", async () => {
  await client.recordEvent({ user_id: "ts-ada", item_id: "260", event: "like" });
  const page = await client.recommend({ user_id: "ts-ada", n: 3, session: ["47"] });
  assert.equal(page.items.length, 3);
  assert.equal(page.items[0].rank, 1);
  assert.equal((await client.recommendToUser("ts-ada", { n: 2, explain: false })).items.length, 2);
  assert.equal((await client.similar({ item_id: "260", n: 4 })).items.length, 4);
  assert.deepEqual((await client.rank({ items: ["1", "nothing"] })).left_out, ["nothing"]);
  assert.equal((await client.audience("1196", { limit: 1 })).users.length, 1);
});

test("items, with ids that hold anything", async () => {
  const id = 'a/b "c" ☃/history';
  assert.equal((await client.item(id)).item_id, id);
  const listed = await all(client.iterItems({ limit: 7 }));
  assert.equal(new Set(listed.map((item) => item.item_id)).size, 25);
  const found = await client.listItems({ attribute: ["genres:Sci-Fi", "year:1977"] });
  assert.deepEqual(found.items.map((item) => item.item_id), ["260"]);
  await client.upsertItems({ items: [{ item_id: "ts-1", attributes: { title: "Dune", genres: [], year: 1 } }] });
  assert.equal((await client.patchItems({ items: [{ item_id: "ts-1", hidden: true }] })).changed, 1);
  assert.equal((await client.item("ts-1")).hidden, true);
  assert.equal((await client.deleteItem("ts-1")).deleted, 1);
  for (const wrong of ["", ".", ".."]) {
    assert.throws(() => client.item(wrong), RangeError);
  }
});

test("users and their histories", async () => {
  await client.upsertUsers({ users: [{ user_id: "ts-grace", attributes: { interests: "chess" } }] });
  assert.deepEqual((await client.user("ts-grace")).attributes, { interests: "chess" });
  const events = ["1", "2", "6", "32", "47"].map((item_id) => ({ user_id: "ts-grace", item_id, event: "view" }));
  const recorded = await client.recordEvents(events, { batch: 2 });
  assert.deepEqual(recorded, { accepted: 5, stored: 5, duplicates: 0 });
  const history = await all(client.iterHistory("ts-grace", { limit: 2 }));
  assert.deepEqual(history.map((event) => event.item_id), ["47", "32", "6", "2", "1"]);
  assert.equal((await client.deleteUser("ts-grace")).deleted.events, 5);
});

test("reports, experiments and the server itself", async () => {
  assert.equal((await client.reportOutcomes({ by: "scenario" })).by, "scenario");
  const arms = [{ name: "control" }, { name: "fewer", parameters: { budget: 100 } }];
  assert.equal((await client.createExperiment({ name: "ts", scenario: "home", share: 0.1, arms })).status.state, "created");
  assert.equal((await client.startExperiment("ts")).status.state, "running");
  assert.equal((await client.reportExperiment("ts")).experiment, "ts");
  assert.equal((await client.stopExperiment("ts", { reason: "decided" })).status.reason, "decided");
  assert.match(await client.metrics(), /recserve_requests_total/);
  assert.equal((await client.live()).status, "live");
});

test("errors have code, message and field", async () => {
  await assert.rejects(client.recommend({ n: 0 }), (error) => {
    assert.ok(error instanceof AnswerError);
    assert.deepEqual([error.status, error.code, error.field, error.attempts], [422, "invalid_request", "n", 1]);
    assert.equal(error.message, "422 invalid_request: n must be greater than or equal to 1 (got 0)");
    return true;
  });
});

test("what does no harm twice is sent again", async () => {
  const retried = new Client({ url: faulty, retries: { first: 0 } });
  planned = [
    { status: 503, code: "overloaded", headers: { "Retry-After": "0" } },
    { status: 429, code: "rate_limited" },
    { status: 502 },
    { status: 503, code: "outcome_unknown" },
  ];
  assert.equal((await retried.live()).status, "live");
  assert.equal(bodies.length, 5);
});

test("an event that is retried counts once", async () => {
  const retried = new Client({ url: faulty, retries: { first: 0 } });
  planned = [{ status: 503, code: "outcome_unknown", carriedOut: true }, { status: 502, carriedOut: true }];
  const recorded = await retried.recordEvent({ user_id: "ts-bob", item_id: "1", event: "view" });
  assert.deepEqual(recorded, { accepted: 1, stored: 0, duplicates: 1 });
  assert.equal(new Set(bodies).size, 1);
  assert.equal((await client.history("ts-bob")).events.length, 1);
});

test("events that failed can be recorded once more", async () => {
  const impatient = new Client({ url: faulty, retries: { attempts: 1 } });
  const events = Array.from({ length: 4 }, () => ({ user_id: "ts-eve", item_id: "1", event: "view" }));
  planned = [{ status: 503, code: "timeout", carriedOut: true }];
  const error = await impatient.recordEvents(events, { batch: 2 }).catch((caught) => caught);
  assert.ok(error instanceof EventsNotRecordedError);
  assert.deepEqual([error.remaining.length, error.accepted], [4, 0]);
  const recorded = await client.recordEvents(error.remaining);
  assert.deepEqual(recorded, { accepted: 4, stored: 2, duplicates: 2 });
});

test("what may do harm twice is not", async () => {
  const retried = new Client({ url: faulty, retries: { first: 0, attempts: 3 } });
  planned = [{ status: 503, code: "outcome_unknown" }];
  await assert.rejects(retried.stopExperiment("ts"), { code: "outcome_unknown", attempts: 1 });
  planned = Array.from({ length: 3 }, () => ({ status: 503, code: "store_unavailable" }));
  await assert.rejects(retried.stopExperiment("ts"), { code: "store_unavailable", attempts: 3 });
  planned = [{ status: 500, code: "internal" }];
  await assert.rejects(retried.live(), { code: "internal", attempts: 1 });
});

test("every wait has an end", async () => {
  const hasty = new Client({ url: faulty, timeout: 0.2, retries: { first: 0, attempts: 2 } });
  planned = ["hang", "hang"];
  await assert.rejects(hasty.live(), (error) => {
    assert.ok(error instanceof NoAnswerError);
    assert.deepEqual([error.attempts, error.maybeDone], [2, true]);
    return true;
  });
  planned = [{ status: 429, code: "rate_limited", headers: { "Retry-After": "3600" } }];
  await assert.rejects(hasty.live(), { code: "rate_limited", retryAfter: 3600 });
  planned = [{ status: 503, code: "overloaded", headers: { "Retry-After": "9" } }];
  const given = AbortSignal.timeout(100);
  await assert.rejects(new Client({ url: faulty }).live({ signal: given }), { name: "TimeoutError" });
});

test("nobody listens, and somebody else does", async () => {
  const gone = http.createServer();
  await new Promise((ready) => gone.listen(0, "127.0.0.1", ready));
  const { port } = gone.address();
  await new Promise((closed) => gone.close(closed));
  const nobody = new Client({ url: `http://127.0.0.1:${port}`, retries: { first: 0, attempts: 2 } });
  await assert.rejects(nobody.stopExperiment("ts"), { name: "NoAnswerError", attempts: 2, maybeDone: false });
  planned = [{ status: 200, headers: { "Content-Type": "text/html" } }];
  await assert.rejects(new Client({ url: faulty }).about(), (error) => {
    assert.ok(error instanceof ClientError);
    assert.match(error.message, /is this a recserve server/);
    return true;
  });
});
