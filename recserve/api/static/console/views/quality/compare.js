// Two bundles side by side: what training measured, what people did, and what differs in what made them.

import { h, showState, table } from "../../dom.js";
import { number, percent } from "../../format.js";
import { get } from "../../http.js";
import { say } from "../../i18n.js";
import { href } from "../../router.js";
import { report } from "./outcomes.js";
import { figure, heading, inOrder, lessIsBetter, metricCell, rateCell, signed, verdict } from "./words.js";

export async function showComparison(root, { query, signal }) {
  const [a, b] = [query.get("a"), query.get("b")];
  root.append(h("p", {}, h("a", { href: href("quality") }, say("← Quality"))), h("h1", {}, say("{} beside {}", a ?? "?", b ?? "?")));
  const [offline, online, trials] = [h("div", { class: "stack" }), h("div", { class: "stack" }), h("div", { class: "stack" })];
  root.append(offline,
    h("section", { class: "panel" }, h("h2", {}, say("Online, within 90 days")), online),
    h("section", { class: "panel" }, h("h2", {}, say("Experiments with them")), trials));
  await Promise.all([showOffline(offline, a, b, signal), showOnline(online, a, b, signal), showTrials(trials, a, b, signal)]);
}

function showOffline(place, a, b, signal) {
  return showState(place, async () => {
    const found = await get("v1/bundles/compare", { query: { a, b }, signal });
    return [
      h("section", { class: "panel" }, h("h2", {}, say("Offline")), paired(found.measured), metrics(found)),
      h("section", { class: "panel" }, differing(found)),
    ];
  }, signal);
}

function paired(measured) {
  if (!measured) {
    return h("p", { class: "notice warn" }, say("The two were not measured on the same data: figures below are of different users and tell little. On the command line, recserve promote fits both anew to compare them."));
  }
  const { value, low, high } = measured.difference;
  return h("p", { class: "verdict" }, verdict(measured.difference), " ",
    h("b", {}, `${heading(measured.metric)} ${signed(value)}`), ` (${signed(low)} – ${signed(high)}), `,
    say("{} against {}, paired over the same {} users", figure(measured.metric, measured.second), figure(measured.metric, measured.first), number(measured.users)));
}

function metrics(found) {
  const change = ({ a, b }) => (a.mean === null || b.mean === null ? null : b.mean - a.mean);
  return [h("h3", {}, say("Each as its own training measured it")), h("div", { class: "compared" }, table({
    caption: say("Each as its own training measured it"), hideCaption: true, rows: inOrder(found.metrics.map((row) => row.metric)).map((name) => found.metrics.find((row) => row.metric === name)),
    columns: [
      { title: say("Metric"), header: true, cell: (row) => [heading(row.metric), lessIsBetter(row.metric) && h("small", {}, " ", say("(less is better)"))] },
      { title: found.a, number: true, cell: (row) => metricCell(row.metric, row.a) },
      { title: found.b, number: true, cell: (row) => metricCell(row.metric, row.b) },
      { title: say("Difference"), number: true, cell: (row) => signed(change(row)) },
    ],
  }))];
}

function differing(found) {
  if (!found.differs.length) return h("p", {}, say("Nothing differs in what made them."));
  const shown = (value) => (value === null ? "–" : h("code", {}, JSON.stringify(value)));
  return [h("h2", {}, say("What differs in what made them")), table({
    caption: say("What differs in what made them"), hideCaption: true, rows: found.differs,
    columns: [
      { title: say("What"), header: true, cell: (row) => h("code", {}, row.key) },
      { title: found.a, cell: (row) => shown(row.a) },
      { title: found.b, cell: (row) => shown(row.b) },
    ],
  })];
}

function showOnline(place, a, b, signal) {
  return showState(place, async () => {
    const { rows } = await report("bundle", { days: 90, limit: 1000 }, signal);
    const both = [a, b].map((name) => rows.find((row) => row.group === name)).filter(Boolean);
    if (!both.length) return h("p", {}, say("Neither of them showed anything."));
    return [
      table({
        caption: say("What people did"), hideCaption: true, rows: both,
        columns: [
          { title: say("Bundle"), header: true, cell: (row) => row.group },
          { title: say("Impressions"), number: true, cell: (row) => number(row.impressions) },
          { title: say("Click-through rate"), number: true, cell: (row) => rateCell(row.ctr) },
          { title: say("Conversion rate"), number: true, cell: (row) => rateCell(row.conversion) },
          { title: say("Coverage"), number: true, cell: (row) => percent(row.coverage, 1) },
        ],
      }),
      h("p", { class: "note" }, say("On other days and to other people: an experiment tells for certain.")),
    ];
  }, signal);
}

function showTrials(place, a, b, signal) {
  return showState(place, async () => {
    const { experiments } = await get("v1/experiments", { signal });
    const with_ = experiments.filter((one) => one.arms.some((arm) => arm.bundle === a || arm.bundle === b));
    const fresh = h("p", {}, h("a", { href: href("experiments", ["new"], { bundle: b }) }, say("Try one against the other in an experiment")));
    if (!with_.length) return [h("p", {}, say("None yet.")), fresh];
    return [h("ul", { class: "names" }, with_.map((one) => h("li", {}, h("a", { href: href("experiments", [one.name]) }, one.name), " ", one.status.state))), fresh];
  }, signal);
}
