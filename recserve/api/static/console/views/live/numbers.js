// What two answers of GET /v1/live, some seconds apart, say together: rates, shares and quantiles.

/** Routes that recommend. */
const ANSWERS = new Set(["/v1/recommend", "/v1/recommend/{user_id}", "/v1/similar", "/v1/rank"]);
/** Steps of a request in their order; others come after. */
const STEPS = ["history", "encoding", "retrieval", "ranking", "reranking", "explaining"];
const orderOf = (step) => (STEPS.includes(step) ? STEPS.indexOf(step) : STEPS.length);
/** Routes that machines and this page ask all the time. */
const ASIDE = /^\/(v1\/live$|v1\/health|v1\/metrics$|static|docs|openapi|$)/;

/** The route as its path, without the converters that some parts have. */
const plain = (route) => route.replace(/:\w+\}/g, "}");
const answers = (row) => ANSWERS.has(plain(row.route));
const asked = (row) => !ASIDE.test(row.route);

const sum = (rows) => rows.reduce((total, row) => total + row.count, 0);
/** Growth of a total; none where a replica that counted is gone. */
const grown = (now, before) => Math.max(now - before, 0);

/** The quantile of a histogram's counts, in seconds, as Prometheus interpolates it; null of nothing. */
export function quantile(share, bounds, buckets) {
  const total = buckets.reduce((all, count) => all + count, 0);
  if (!total) return null;
  let below = 0;
  for (let index = 0; index < buckets.length; index++) {
    if (below + buckets[index] >= share * total) {
      if (index >= bounds.length) return bounds.at(-1);
      const low = index ? bounds[index - 1] : 0;
      return low + ((share * total - below) / buckets[index]) * (bounds[index] - low);
    }
    below += buckets[index];
  }
  return bounds.at(-1);
}

/** Buckets of some rows, those of the answer before taken off. */
function grownBuckets(now, before, key, keep) {
  const total = new Array(now.bounds.length + 1).fill(0);
  let seconds = 0;
  const old = new Map(before[key].map((row) => [nameOf(row), row]));
  for (const row of now[key]) {
    if (!keep(row)) continue;
    const past = old.get(nameOf(row));
    row.buckets.forEach((count, index) => { total[index] += grown(count, past?.buckets[index] ?? 0); });
    seconds += grown(row.seconds, past?.seconds ?? 0);
  }
  return { buckets: total, seconds, count: total.reduce((all, count) => all + count, 0) };
}
const nameOf = (row) => row.route ?? row.step ?? row.call;

function timesOf(now, before, key, keep) {
  const { buckets, seconds, count } = grownBuckets(now.latency, before.latency, key, keep);
  const at = (share) => {
    const found = quantile(share, now.latency.bounds, buckets);
    return found === null ? null : found * 1000;
  };
  return { count, mean: count ? (1000 * seconds) / count : null, p50: at(0.5), p95: at(0.95), p99: at(0.99) };
}

/**
 * The difference of two answers.
 *
 * Rates are per second, times in milliseconds, shares of one; null where there is nothing to divide by.
 */
export function difference(now, before) {
  const seconds = (now.at - before.at) / 1000;
  const rate = (read) => grown(read(now), read(before)) / seconds;
  const answered = rate((one) => sum(one.requests.filter(answers)));
  const degraded = rate((one) => sum(one.degraded));
  const hits = rate((one) => sum(one.caches.filter((row) => row.cache === "result" && row.outcome === "hit")));
  const looked = rate((one) => sum(one.caches.filter((row) => row.cache === "result")));
  return {
    at: now.at,
    requests: rate((one) => sum(one.requests.filter(asked))),
    answers: answered,
    failed: rate((one) => sum(one.requests.filter((row) => row.status >= "500"))),
    refused: rate((one) => sum(one.requests.filter((row) => row.status >= "400" && row.status < "500"))),
    events: rate((one) => sum(one.events.accepted)),
    stored: rate((one) => one.events.stored),
    degraded: answered ? Math.min(degraded / answered, 1) : null,
    cached: looked ? hits / looked : null,
    times: timesOf(now, before, "requests", answers),
    steps: now.latency.steps.toSorted((one, other) => orderOf(one.step) - orderOf(other.step)).map((row) => ({ step: row.step, ...timesOf(now, before, "steps", (one) => one.step === row.step) })),
    lost: causes(now, before),
    errors: grownRows(now.errors, before.errors, (row) => row.code),
    routes: routesOf(now, before, seconds),
    caches: cachesOf(now, before, seconds),
    stages: now.stages.map((stage) => stageOf(stage, before, seconds)),
  };
}

/** Rows of a total with how much each grew, those that grew most first. */
function grownRows(now, before, name) {
  const old = new Map(before.map((row) => [name(row), row.count]));
  return now
    .map((row) => ({ ...row, recent: grown(row.count, old.get(name(row)) ?? 0) }))
    .sort((one, other) => other.recent - one.recent || other.count - one.count);
}

/** Parts that answers went on without, and why, by how often. */
const causes = (now, before) => grownRows(now.degraded, before.degraded, (row) => `${row.part} ${row.cause}`);

/** Routes that were asked since the start: how often, how many were refused or failed, how long they took. */
function routesOf(now, before, seconds) {
  const rows = grownRows(now.requests.filter(asked), before.requests, (row) => `${row.route} ${row.status}`);
  const of = (route, digit) => rows.filter((row) => row.route === route && (!digit || row.status.startsWith(digit)));
  const recent = (found) => found.reduce((all, row) => all + row.recent, 0);
  return [...new Set(rows.map((row) => row.route))]
    .map((route) => ({
      route: plain(route), rate: recent(of(route)) / seconds, refused: recent(of(route, "4")), failed: recent(of(route, "5")),
      count: sum(of(route)), bad: sum([...of(route, "4"), ...of(route, "5")]), times: timesOf(now, before, "requests", (row) => row.route === route),
    }))
    .sort((one, other) => other.rate - one.rate || other.count - one.count);
}

/** Caches: lookups a second, and shares that found something, lately and since the start. */
function cachesOf(now, before, seconds) {
  const rows = grownRows(now.caches, before.caches, (row) => `${row.cache} ${row.outcome}`);
  const share = (hits, all) => (all ? hits / all : null);
  return [...new Set(now.caches.map((row) => row.cache))].map((cache) => {
    const mine = rows.filter((row) => row.cache === cache);
    const hit = mine.find((row) => row.outcome === "hit") ?? { recent: 0, count: 0 };
    const recent = mine.reduce((all, row) => all + row.recent, 0);
    return { cache, rate: recent / seconds, recent: share(hit.recent, recent), ever: share(hit.count, sum(mine)) };
  });
}

function stageOf(stage, before, seconds) {
  const old = new Map((before.stages.find((one) => one.stage === stage.stage)?.replicas ?? []).map((one) => [one.replica, one]));
  const replicas = stage.replicas.map((one) => {
    const past = old.get(one.replica);
    return {
      ...one,
      rate: past ? grown(one.calls, past.calls) / seconds : null,
      cpu: past && one.cpu_seconds !== null ? grown(one.cpu_seconds, past.cpu_seconds) / seconds : null,
    };
  });
  return { stage: stage.stage, missing: stage.missing, replicas, rate: replicas.reduce((all, one) => all + (one.rate ?? 0), 0) };
}
