// Differences with their intervals on one axis, beside zero.

import { measure } from "../../charts.js";
import { h } from "../../dom.js";

/**
 * Draw intervals: a row each, all on one axis that has zero on it.
 *
 * `rows`: `[{ label, note, value, low, high, verdict }]`; `verdict` ("better", "worse", "undecided") sets the colour, and
 * null bounds are written, not drawn. `format` writes values, `bound` the ends of their intervals. It is a table, and
 * reads as one.
 */
export function intervals({ title, rows, names, format, bound = format, unknown }) {
  const known = rows.filter((row) => row.low !== null && row.low !== undefined);
  const low = Math.min(0, ...known.map((row) => row.low));
  const high = Math.max(0, ...known.map((row) => row.high));
  const span = high - low || 1;
  const at = (value) => `${(100 * (value - low)) / span}%`;
  const drawn = (row) => h("span", { class: `scale ${row.verdict}`, "aria-hidden": "true" },
    h("i", { class: "zero", style: { left: at(0) } }),
    h("i", { class: "span", style: { left: at(row.low), width: `${(100 * (row.high - row.low)) / span}%` } }),
    h("i", { class: "dot", style: { left: at(row.value) } }));
  const told = (row) => (row.low === null || row.low === undefined
    ? h("span", { class: "note" }, unknown)
    : measure(drawn(row), format(row.value), h("small", {}, ` (${bound(row.low)} – ${bound(row.high)})`)));
  return h("figure", { class: "chart" }, h("figcaption", {}, title), h("table", { class: "bars intervals" },
    h("thead", { class: "unseen" }, h("tr", {}, h("th", { scope: "col" }, names), h("th", { scope: "col" }, title))),
    h("tbody", {}, rows.map((row) => h("tr", {},
      h("th", { scope: "row" }, row.label, row.note && h("span", { class: "block" }, row.note)), h("td", {}, told(row)))))));
}
