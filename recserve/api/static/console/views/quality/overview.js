// The start of Quality: what is in service and whether it is better than the last, the trend, and all bundles.

import { empty, field, h, showState, table } from "../../dom.js";
import { ago, number, percent, when } from "../../format.js";
import { about, get } from "../../http.js";
import { say } from "../../i18n.js";
import { go, href, note } from "../../router.js";
import { rollBack } from "./decide.js";
import { choices, exposure, report, retrievers, totals, trend } from "./outcomes.js";
import { trainingNotice } from "./training.js";
import { action, evidence, HEADLINE, heading, metricCell, signed, verdict } from "./words.js";

export async function showOverview(root, { query, signal }) {
  const [bundles, outcomes] = [h("div", { class: "stack" }), h("div", { class: "stack" })];
  root.append(h("h1", {}, say("Quality")), trainingNotice(signal), bundles, outcomes);
  const shown = () => showBundles(bundles, shown, signal);
  await Promise.all([shown(), showOutcomes(outcomes, query, signal)]);
}

function showBundles(place, again, signal) {
  return showState(place, async () => {
    const found = await get("v1/bundles", { signal });
    if (!found.bundles.length) {
      return empty(say("Nothing has been trained yet."), h("p", {}, say("Train with"), " ", h("code", {}, "recserve train"), say(", then come back.")));
    }
    const earlier = found.promotions.find((one) => one.bundle_id !== found.current);
    return [
      h("div", { class: "columns" }, inService(found, earlier, again), earlier && againstLast(found.current, earlier.bundle_id, signal)),
      listed(found), promotions(found),
    ];
  }, signal);
}

function inService(found, earlier, again) {
  const current = found.bundles.find((one) => one.bundle_id === found.current);
  const since = found.promotions.find((one) => one.bundle_id === found.current);
  const back = async () => {
    if (await rollBack(earlier.bundle_id)) again();
  };
  return h("section", { class: "panel" },
    h("h2", {}, say("In service")),
    found.current
      ? h("p", { class: "live" }, h("a", { href: href("quality", [found.current]) }, found.current))
      : h("p", {}, say("No bundle is promoted yet.")),
    found.current && found.serving !== found.current
      && h("p", { class: "notice warn" }, say("The process that answered still serves {}; it follows within seconds.", found.serving ?? say("none"))),
    h("dl", { class: "facts" },
      current && [h("dt", {}, say("Trained")), h("dd", { title: when(current.created) }, ago(current.created))],
      current?.events && [h("dt", {}, say("Events")), h("dd", {}, number(current.events))],
      since && [h("dt", {}, say("In service since")), h("dd", { title: when(since.at) }, ago(since.at)),
        h("dt", {}, say("Who")), h("dd", {}, since.actor ?? "–"),
        h("dt", {}, say("How")), h("dd", {}, action(since.action)),
        since.reason && [h("dt", {}, say("Why")), h("dd", {}, since.reason)]]),
    earlier && h("div", { class: "row" }, h("button", { type: "button", class: "danger", onclick: back }, say("Roll back to {}", earlier.bundle_id))));
}

/** Whether the bundle in service is better than the one before, by training and by what people did. */
function againstLast(current, earlier, signal) {
  const [offline, online] = [h("div"), h("div")];
  const section = h("section", { class: "panel" },
    h("h2", {}, say("Is it better than the last?")), offline, online,
    h("p", {}, h("a", { href: href("quality", ["compare"], { a: earlier, b: current }) }, say("Compare the two"))));
  showState(offline, async () => {
    const { measured } = await get("v1/bundles/compare", { query: { a: earlier, b: current }, signal });
    if (!measured) return h("p", {}, say("Offline: the two were not measured on the same data, so their figures cannot be compared."));
    const { value, low, high } = measured.difference;
    return h("p", {}, say("Offline, over the same {} users:", number(measured.users)), " ", verdict(measured.difference), " ",
      h("b", {}, `${heading(measured.metric)} ${signed(value)}`), h("small", {}, ` (${signed(low)} – ${signed(high)})`));
  }, signal);
  showState(online, async () => {
    const { rows } = await report("bundle", { days: 90 }, signal);
    const [before, now] = [earlier, current].map((name) => rows.find((row) => row.group === name));
    if (!before || !now) return h("p", {}, say("Online: nothing was shown by both within 90 days."));
    return [h("p", {}, say("Online, click-through rate:"), " ", h("b", {}, percent(now.ctr.value, 2)), " ",
      say("against {} of the one before", percent(before.ctr.value, 2)), " ", apart(now.ctr, before.ctr)),
    h("p", { class: "note" }, say("On other days and to other people: an experiment tells for certain."))];
  }, signal);
  return section;
}

function apart(now, before) {
  if (now.low === null || before.low === null) return h("span", { class: "chip" }, say("too few to tell"));
  return verdict({ low: now.low - before.high, high: now.high - before.low });
}

function listed(found) {
  const select = (chosen) => h("select", {}, found.bundles.map((one) => h("option", { value: one.bundle_id, selected: one.bundle_id === chosen }, one.bundle_id)));
  const [newest] = found.bundles.filter((one) => one.bundle_id !== found.current);
  const [first, second] = [select(found.current ?? found.bundles[0].bundle_id), select(newest?.bundle_id)];
  const compare = (event) => {
    event.preventDefault();
    go("quality", ["compare"], { a: first.value, b: second.value });
  };
  return h("section", { class: "panel" }, h("h2", {}, say("Bundles")),
    table({
      caption: say("Bundles"), hideCaption: true, rows: found.bundles,
      columns: [
        { title: say("Bundle"), header: true, cell: (one) => h("a", { href: href("quality", [one.bundle_id]) }, one.bundle_id) },
        { title: say("State"), cell: state },
        { title: say("Trained"), cell: (one) => h("span", { title: when(one.created) }, ago(one.created)) },
        { title: say("Events"), number: true, cell: (one) => number(one.events) },
        ...[HEADLINE, "coverage@10"].map((metric) => ({ title: heading(metric), number: true, cell: (one) => metricCell(metric, one.metrics[metric]) })),
      ],
    }),
    found.known > found.bundles.length && h("p", { class: "note" }, say("The newest {} of {}.", found.bundles.length, number(found.known))),
    newest && h("form", { class: "choose", onsubmit: compare },
      field(say("Compare"), first), field(say("with"), second), h("button", { type: "submit" }, say("Compare"))));
}

/** Chips that tell what is special about a bundle. */
export function state(one) {
  return h("span", { class: "row tight" },
    one.current && h("span", { class: "chip good" }, say("in service")),
    !one.present && h("span", { class: "chip bad" }, say("files gone")));
}

function promotions(found) {
  if (!found.promotions.length) return null;
  return h("section", { class: "panel" }, h("h2", {}, say("Promotions")), history(found.promotions, say("Promotions")));
}

/** Who made which bundle current, when, why and by which figures. */
export function history(rows, caption) {
  return table({
    caption, hideCaption: true, rows,
    columns: [
      { title: say("Bundle"), header: true, cell: (one) => h("a", { href: href("quality", [one.bundle_id]) }, one.bundle_id) },
      { title: say("When"), cell: (one) => when(one.at) },
      { title: say("How"), cell: (one) => action(one.action) },
      { title: say("Who"), cell: (one) => one.actor ?? "–" },
      { title: say("Why"), cell: (one) => one.reason ?? "–" },
      { title: say("By which figures"), cell: (one) => evidence(one.evidence) || "–" },
    ],
  });
}

async function showOutcomes(place, query, signal) {
  const asked = { days: [7, 28, 90].find((one) => String(one) === query.get("days")) ?? 28, scenario: query.get("scenario") ?? "" };
  const scenarios = await about().then((known) => known.scenarios, () => []);
  if (signal.aborted) return;
  const parts = [[say("What became of what was shown"), totals], [say("Day by day"), trend], [say("Which retriever earns its keep?"), retrievers], [say("Who gets the exposure?"), exposure]];
  const places = parts.map(() => h("div", { class: "stack" }));
  let inner = new AbortController();
  signal.addEventListener("abort", () => inner.abort());
  const draw = async (chosen) => {
    inner.abort();
    const mine = inner = new AbortController();
    // One at a time: the server makes one report at a time, too.
    for (const [index, [, show]] of parts.entries()) {
      if (mine.signal.aborted) return;
      await show(places[index], chosen, mine.signal);
    }
  };
  const changed = (chosen) => {
    note("quality", [], { days: chosen.days === 28 ? "" : chosen.days, scenario: chosen.scenario });
    draw(chosen);
  };
  place.append(h("div", { class: "heading" }, h("h2", {}, say("Online")), choices(asked, scenarios, changed)),
    ...parts.map(([heading], index) => h("section", { class: "panel" }, h("h2", {}, heading), places[index])));
  await draw(asked);
}
