// Live: what is best read as a table: caches, errors, routes, replicas.

import { h, table } from "../../dom.js";
import { bytes, milliseconds, number, percent } from "../../format.js";
import { say } from "../../i18n.js";

/** Parts that answers went on without, and why. */
export function lostOf(now) {
  const caption = say("What answers went on without");
  if (!now.lost.length) return nothing(caption, say("Nothing: every answer was whole."));
  return table({
    caption, rows: now.lost,
    columns: [
      { title: say("Part"), header: true, cell: (row) => say(row.part) },
      { title: say("Cause"), cell: (row) => say(row.cause) },
      { title: say("Last seconds"), number: true, cell: (row) => number(row.recent) },
      { title: say("Since the start"), number: true, cell: (row) => number(row.count) },
    ],
  });
}

/** A heading over what there is none of. */
const nothing = (caption, text) => h("div", {}, h("h2", {}, caption), h("p", { class: "lead" }, text));

const CACHES = { result: "answers", user: "histories of users", text: "vectors of texts" };

/** How often each cache was asked, and had what was asked for. */
export function cachesOf(now) {
  const caption = say("What the caches saved");
  if (!now.caches.length) return nothing(caption, say("This server keeps no caches."));
  return table({
    caption, rows: now.caches,
    columns: [
      { title: say("Cache of"), header: true, cell: (row) => say(CACHES[row.cache] ?? row.cache) },
      { title: say("Lookups a second"), number: true, cell: (row) => number(row.rate, 1) },
      { title: say("Hit rate, last seconds"), number: true, cell: (row) => percent(row.recent) },
      { title: say("Hit rate since the start"), number: true, cell: (row) => percent(row.ever) },
    ],
  });
}

/** Errors by their stable code. */
export function errorsOf(now) {
  const caption = say("Answers that were errors");
  if (!now.errors.length) return nothing(caption, say("None since the start."));
  return table({
    caption, rows: now.errors,
    columns: [
      { title: say("Code"), header: true, cell: (row) => h("code", {}, row.code) },
      { title: say("Last seconds"), number: true, cell: (row) => number(row.recent) },
      { title: say("Since the start"), number: true, cell: (row) => number(row.count) },
    ],
  });
}

/** What is asked, how much of it is refused or fails, and how long it takes. */
export function routesOf(now) {
  const caption = say("Requests by route");
  if (!now.routes.length) return nothing(caption, say("None since the start."));
  const rows = now.routes.filter((row) => row.rate || row.bad);
  const quiet = now.routes.length - rows.length;
  const rest = quiet > 0 && h("p", { class: "note" }, say("Routes that nobody asked in the last seconds: {}.", number(quiet)));
  return [rows.length ? routeTable(caption, rows) : h("h2", {}, caption), rest];
}

function routeTable(caption, rows) {
  const marked = (kind, count) => (count ? h("span", { class: `chip ${kind}` }, number(count)) : number(count));
  return table({
    caption, rows,
    columns: [
      { title: say("Route"), header: true, cell: (row) => h("code", {}, row.route) },
      { title: say("Requests a second"), number: true, cell: (row) => number(row.rate, 1) },
      { title: say("Refused (4xx)"), number: true, cell: (row) => marked("warn", row.refused) },
      { title: say("Failed (5xx)"), number: true, cell: (row) => marked("bad", row.failed) },
      { title: say("Median"), number: true, cell: (row) => milliseconds(row.times.p50) },
      { title: "p99", number: true, cell: (row) => milliseconds(row.times.p99) },
      { title: say("Since the start"), number: true, cell: (row) => number(row.count) },
      { title: say("of them errors"), number: true, cell: (row) => number(row.bad) },
    ],
  });
}

/** The replicas of each stage and the machines they are on. */
export function machinesOf(now) {
  const rows = now.stages.flatMap((stage) => [
    ...stage.replicas.map((one) => ({ stage: stage.stage, ...one })),
    ...Array.from({ length: stage.missing }, () => ({ stage: stage.stage, missing: true })),
  ]);
  const nodes = new Set(rows.filter((row) => !row.missing).map((row) => row.node));
  const dash = (row, text) => (row.missing ? "–" : text());
  return table({
    caption: say("Replicas: {}; machines: {}", rows.length, nodes.size), rows,
    columns: [
      { title: say("Stage"), header: true, cell: (row) => say(row.stage) },
      { title: say("Replica"), cell: (row) => (row.missing ? h("span", { class: "chip bad" }, say("does not answer")) : h("code", {}, row.replica)) },
      { title: say("Machine"), cell: (row) => dash(row, () => row.node) },
      { title: say("Bundle"), cell: (row) => dash(row, () => row.bundle ?? "–") },
      { title: say("Calls a second"), number: true, cell: (row) => dash(row, () => number(row.rate, 1)) },
      { title: say("CPU cores"), number: true, cell: (row) => dash(row, () => number(row.cpu, 2)) },
      { title: say("Memory"), number: true, cell: (row) => dash(row, () => bytes(row.memory_bytes)) },
    ],
  });
}
