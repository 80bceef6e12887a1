// What people did with what they were shown: day by day, by retriever, and how exposure falls upon items.

import { bars, line } from "../../charts.js";
import { empty, field, h, showState, table } from "../../dom.js";
import { fixedPercent, number, percent, short } from "../../format.js";
import { get } from "../../http.js";
import { say } from "../../i18n.js";
import { href } from "../../router.js";
import { rateCell } from "./words.js";

const DAY = 86_400_000;
const MOST_ITEMS = 1000;

/** A report of outcomes over the last days. */
export function report(by, { days, scenario, limit = null }, signal) {
  const since = new Date(Date.now() - (days - 1) * DAY).toISOString().slice(0, 10);
  return get("v1/reports/outcomes", { query: { by, since, scenario, limit }, signal });
}

/** Selects for the span of days and the scenario; `changed` is called with what is chosen. */
export function choices({ days, scenario }, scenarios, changed) {
  const option = (value, label, chosen) => h("option", { value, selected: String(value) === String(chosen) }, label);
  const span = h("select", { onchange: tell }, [7, 28, 90].map((count) => option(count, say("{} days", count), days)));
  const place = h("select", { onchange: tell }, option("", say("All scenarios"), scenario), scenarios.map((name) => option(name, name, scenario)));
  function tell() {
    changed({ days: Number(span.value), scenario: place.value });
  }
  return h("div", { class: "choose" }, field(say("Span"), span), field(say("Scenario"), place));
}

const nobody = () => empty(say("Nothing was shown in these days."), h("p", {}, say("Figures appear here as soon as recommendations are asked for, and events sent.")));

/** The trend by day: rates with their intervals, coverage and volume. */
export function trend(place, asked, signal) {
  return showState(place, async () => {
    const found = await report("day", { ...asked, limit: 1000 }, signal);
    const rows = found.rows.sort((one, other) => one.group.localeCompare(other.group));
    if (!rows.length) return nobody();
    const x = rows.map((row) => Date.parse(`${row.group}T00:00:00Z`));
    const rate = (name, label) => ({
      label, values: rows.map((row) => row[name].value), low: rows.map((row) => row[name].low), high: rows.map((row) => row[name].high),
    });
    const chart = (title, series, more = {}) => line({ title, x, series, time: "day", format: (value) => percent(value, 2), signal, ...more }).element;
    return h("div", { class: "pictures" },
      chart(say("Click-through rate"), [rate("ctr", say("Clicks by impressions"))]),
      chart(say("Conversion rate"), [rate("conversion", say("Conversions by impressions"))]),
      chart(say("Coverage: share of the catalogue that was shown"), [{ label: say("Coverage"), values: rows.map((row) => row.coverage) }]),
      chart(say("Impressions"), [{ label: say("Impressions"), values: rows.map((row) => row.impressions) }], { kind: "columns", format: short }));
  }, signal);
}

/** Totals of the span. */
export function totals(place, asked, signal) {
  return showState(place, async () => {
    const { total, catalogue } = await report(null, asked, signal);
    const tile = (value, label) => h("div", { class: "tile" }, h("b", {}, value), h("span", {}, label));
    return h("div", { class: "tiles" },
      tile(percent(total.ctr.value, 2), say("click-through rate")),
      tile(percent(total.conversion.value, 2), say("conversion rate")),
      tile(short(total.impressions), say("impressions")),
      tile(short(total.value), say("value of conversions")),
      tile(percent(total.coverage, 1), say("of {} items were shown", number(catalogue))));
  }, signal);
}

/** Which retriever earns its keep: each beside all others together. */
export function retrievers(place, asked, signal) {
  return showState(place, async () => {
    const { rows, total } = await report("retriever", asked, signal);
    if (!rows.length) return nobody();
    const share = (row) => (total.impressions ? row.impressions / total.impressions : null);
    return [
      bars({
        title: say("Click-through rate of what each found, with 95% intervals"), names: say("Retriever"), format: fixedPercent,
        rows: rows.map((row) => ({ label: row.group ?? say("none"), note: say("{} of impressions", percent(share(row), 0)), ...row.ctr })),
      }),
      table({
        caption: say("Retrievers"), hideCaption: true, rows,
        columns: [
          { title: say("Retriever"), header: true, cell: (row) => row.group ?? say("none") },
          { title: say("Verdict"), cell: (row) => worth(row, total) },
          { title: say("Impressions"), number: true, cell: (row) => number(row.impressions) },
          { title: say("Clicks"), number: true, cell: (row) => number(row.clicks) },
          { title: say("Conversion rate"), number: true, cell: (row) => rateCell(row.conversion) },
          { title: say("Items"), number: true, cell: (row) => number(row.items) },
        ],
      }),
      h("p", { class: "note" }, say("An item that several found counts for the one that ranked it highest. A retriever below average may still be the only one that finds what is new; an experiment without it tells.")),
    ];
  }, signal);
}

function worth(row, total) {
  const { low, high } = row.ctr;
  const average = total.ctr.value;
  if (low === null || average === null) return h("span", { class: "chip" }, say("too few to tell"));
  if (low > average) return h("span", { class: "chip good" }, say("above average"));
  if (high < average) return h("span", { class: "chip bad" }, say("below average"));
  return h("span", { class: "chip" }, say("no difference shown"));
}

/** How exposure falls upon items: a Lorenz curve, and those that get the most. */
export function exposure(place, { days }, signal) {
  return showState(place, async () => {
    const { rows, total, groups, catalogue } = await report("item", { days, limit: MOST_ITEMS }, signal);
    if (!rows.length) return nobody();
    const most = rows.slice(0, 10);
    const titles = new Map(await Promise.all(most.map(async ({ group }) => [group, await titleOf(group, signal)])));
    const curve = lorenz(rows.map((row) => row.impressions), total.impressions, groups, Math.max(catalogue, groups));
    return [
      h("div", { class: "pictures" },
        line({
          title: say("Share of impressions that the most shown items get"), x: curve.map(([x]) => x), signal, height: 220, format: (value) => percent(value, 0),
          formatX: (value) => percent(value, 0), nameX: say("Share of the catalogue"),
          series: [{ label: say("Impressions"), values: curve.map(([, y]) => y) }, { label: say("If all were shown equally"), values: curve.map(([x]) => x) }],
        }).element,
        bars({
          title: say("Items shown most"), names: say("Item"), format: (value) => fixedPercent(value, 1),
          rows: most.map((row) => ({
            label: h("a", { href: href("catalogue", [row.group]) }, titles.get(row.group)), note: say("{} clicks", number(row.clicks)), value: row.impressions / total.impressions,
          })),
        })),
      h("p", { class: "note" }, say("{} of {} items were shown; the tenth that is shown most gets {} of all impressions. Over all scenarios.",
        number(groups), number(catalogue), percent(at(curve, 0.1), 0))),
    ];
  }, signal);
}

/** What an item is called; its id if it is in the catalogue no more. */
async function titleOf(id, signal) {
  try {
    return (await get(`v1/items/${encodeURIComponent(id)}`, { signal })).title;
  } catch (error) {
    if (error.status !== 404) throw error;
    return id;
  }
}

/** Points (share of the catalogue, share of impressions), most shown first; of items beyond the listed ones only their sum is known. */
function lorenz(listed, sum, shown, catalogue) {
  const counts = [...listed].sort((one, other) => other - one);
  const points = [[0, 0]];
  const step = Math.max(1, Math.ceil(counts.length / 200));
  let reached = 0;
  counts.forEach((count, index) => {
    reached += count;
    if ((index + 1) % step === 0 || index + 1 === counts.length) points.push([(index + 1) / catalogue, reached / sum]);
  });
  if (shown > counts.length) points.push([shown / catalogue, 1]);
  if (shown < catalogue) points.push([1, 1]);
  return points;
}

function at(curve, x) {
  const next = curve.findIndex(([place]) => place >= x);
  const [[left, low], [right, high]] = [curve[Math.max(next - 1, 0)], curve[Math.max(next, 0)]];
  return right === left ? high : low + ((high - low) * (x - left)) / (right - left);
}
