// One bundle: what made it, what training measured, its report, and when it was in service.

import { h, showState, table } from "../../dom.js";
import { ago, bytes, number, when } from "../../format.js";
import { get } from "../../http.js";
import { say } from "../../i18n.js";
import { href } from "../../router.js";
import { promote } from "./decide.js";
import { history, state } from "./overview.js";
import { showReport } from "./report.js";
import { heading, inOrder, metricCell } from "./words.js";

export async function showBundle(root, bundleId, signal) {
  const place = h("div", { class: "stack" });
  root.append(h("p", {}, h("a", { href: href("quality") }, say("← Quality"))), h("h1", {}, bundleId), place);
  const shown = () => showState(place, async () => {
    const found = await get(`v1/bundles/${encodeURIComponent(bundleId)}`, { signal });
    return [h("div", { class: "columns" }, facts(found, shown), measured(found)), found.report && report(found, signal), components(found), further(found), past(found)].filter(Boolean);
  }, signal);
  await shown();
}

function facts(found, again) {
  const offer = async () => {
    if (await promote(found.bundle_id)) again();
  };
  const pair = (name, value) => value !== null && value !== undefined && [h("dt", {}, name), h("dd", {}, value)];
  return h("section", { class: "panel" },
    h("div", { class: "row" }, state(found), !found.current && found.present && h("button", { type: "button", class: "primary", onclick: offer }, say("Promote"))),
    !found.present && h("p", { class: "notice warn" }, say("Its files are gone, so it cannot be served.")),
    h("dl", { class: "facts" },
      pair(say("Trained"), `${when(found.created)} (${ago(found.created)})`),
      pair(say("Events"), number(found.events)),
      found.data && [
        pair(say("Users"), number(found.data.users)), pair(say("Items"), number(found.data.items)),
        pair(say("Newest event"), when(found.data.until)), pair(say("Data"), found.data.fingerprint.slice(0, 16)),
      ],
      pair(say("Seed"), found.seed), pair(say("Size"), found.bytes && bytes(found.bytes)), pair("recserve", found.recserve_version)));
}

function measured(found) {
  const names = inOrder(Object.keys(found.metrics));
  if (!names.length) return h("section", { class: "panel" }, h("h2", {}, say("Measured in training")), h("p", {}, say("Nothing: the data allowed no evaluation, or it was left out.")));
  return h("section", { class: "panel" }, h("h2", {}, say("Measured in training")),
    h("p", { class: "note" }, say("On events that it had not learnt from; 95% intervals over users.")), table({
    caption: say("Measured in training"), hideCaption: true, rows: names,
    columns: [
      { title: say("Metric"), header: true, cell: heading },
      { title: say("Mean"), number: true, cell: (name) => metricCell(name, found.metrics[name]) },
    ],
  }));
}

function report(found, signal) {
  const place = h("div");
  return h("section", { class: "panel" }, h("h2", {}, say("Offline report")), place, showReport(place, found.bundle_id, signal));
}

function components(found) {
  const rows = Object.entries(found.components ?? {});
  if (!rows.length) return null;
  const values = (plain) => Object.entries(plain).map(([name, value]) => h("div", {}, `${name}: `, h("code", {}, JSON.stringify(value))));
  const folded = (plain) => (Object.keys(plain).length ? h("details", {}, h("summary", {}, say("Values: {}", Object.keys(plain).length)), values(plain)) : "–");
  return h("section", { class: "panel" }, h("h2", {}, say("Components")), table({
    caption: say("Components"), hideCaption: true, rows,
    columns: [
      { title: say("Component"), header: true, cell: ([key]) => key },
      { title: say("From"), cell: ([, one]) => `${one.distribution} ${one.version}` },
      { title: say("Parameters"), cell: ([, one]) => folded(one.params) },
      { title: say("What its fit reported"), cell: ([, one]) => folded(one.facts) },
    ],
  }));
}

/** What training chose and left out, and the configuration: for who wants to know exactly. */
function further(found) {
  const parts = [
    [say("Left out of training"), found.left_out], [say("Order of candidates that training chose"), found.orders], [say("Configuration it was trained with"), found.config],
  ].filter(([, value]) => value && Object.keys(value).length);
  if (!parts.length) return null;
  return h("section", { class: "panel" }, parts.map(([name, value]) => h("details", {}, h("summary", {}, name), h("pre", { tabindex: 0 }, JSON.stringify(value, null, 1)))));
}

function past(found) {
  return found.promotions.length > 0 && h("section", { class: "panel" }, h("h2", {}, say("In service")), history(found.promotions, say("In service")));
}
