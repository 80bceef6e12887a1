// Elements. Whatever comes from the server becomes text, never markup.

import { askForKey } from "./http.js";
import { say } from "./i18n.js";

const SVG = "http://www.w3.org/2000/svg";

/**
 * Make an element: `h("button", { class: "primary", onclick: save }, "Save")`.
 *
 * Attributes: a function under `on…` listens; `style` and `dataset` are objects (custom properties too); true sets an
 * attribute without a value, and false, null and undefined leave it out. Children: nodes and texts; null, undefined
 * and false are passed over, lists are taken apart.
 */
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same for a part of a picture. */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [property, one] of Object.entries(value)) made.style.setProperty(property, one);
    else if (name === "dataset") Object.assign(made.dataset, value);
    else if (name === "value") made.value = value;
    else made.setAttribute(name, value === true ? "" : String(value));
  }
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

/**
 * A table that scrolls by itself where the screen is narrow.
 *
 * `columns`: `{ title, cell, number, header }`; `cell(row)` gives a text or nodes, `number` aligns to the right and
 * `header` makes the cell the row's name. `marked(row)` tells which rows stand out.
 */
export function table({ caption, columns, rows, hideCaption = false, marked = () => false }) {
  const kind = (column) => (column.number ? "number" : null);
  const cells = (row) => columns.map((column) => (column.header
    ? h("th", { scope: "row", class: kind(column) }, column.cell(row))
    : h("td", { class: kind(column) }, column.cell(row))));
  return h("div", { class: "table", tabindex: 0, role: "region", "aria-label": caption }, h("table", {},
    h("caption", { class: hideCaption ? "unseen" : null }, caption),
    h("thead", {}, h("tr", {}, columns.map((column) => h("th", { scope: "col", class: kind(column) }, column.title)))),
    h("tbody", {}, rows.map((row) => h("tr", { class: marked(row) ? "marked" : null }, cells(row))))));
}

/** A labelled field of a form; `control` is the input, select or textarea. */
export function field(label, control, { optional = false, note = null } = {}) {
  control.id ||= `field-${++numbered}`;
  return h("div", { class: "field" },
    h("label", { for: control.id }, label, optional && [" ", h("span", { class: "optional" }, say("optional"))]),
    control, note && h("p", { class: "note" }, note));
}
let numbered = 0;

/** The state of a view that waits. */
export function loading(what = say("Loading…")) {
  return h("p", { class: "state loading", role: "status" }, what);
}

/** The state of a view that has nothing to show: what is missing and, further, how it comes to be. */
export function empty(what, ...further) {
  return h("div", { class: "state nothing" }, h("p", {}, what), further);
}

/** The state of a view whose call failed: why, and a way on. A key that lacks a scope can be changed for another one. */
export function failing(error, again) {
  const barred = error.status === 401 || error.status === 403;
  const otherKey = async () => {
    if (await askForKey()) again();
  };
  return h("div", { class: "state notice bad", role: "alert" },
    h("p", {}, error.message),
    h("div", { class: "row" },
      h("button", { type: "button", class: "again", onclick: () => again() }, say("Try again")),
      barred && h("button", { type: "button", class: "other-key", onclick: otherKey }, say("Use another key"))));
}

const latest = new WeakMap();

/**
 * Show `pending()` in `place` in its state: loading, then what it resolves to, or the failure with a way to try again.
 *
 * Errors that are no ApiError are faults of the console and thrown; a view that was left shows nothing. Of several
 * calls for one place the last one is shown, in whichever order they end.
 */
export async function showState(place, pending, signal) {
  const late = () => signal?.aborted || latest.get(place) !== pending;
  latest.set(place, pending);
  place.replaceChildren(loading());
  try {
    const content = await pending();
    if (!late()) place.replaceChildren(...[content].flat(Infinity));
  } catch (error) {
    if (late()) return;
    if (error.status === undefined) throw error;
    place.replaceChildren(failing(error, () => showState(place, pending, signal)));
  }
}

/**
 * Ask in a modal dialog; resolves to the value of the button that closed it, "" if it was dismissed.
 *
 * `actions`: `[value, label, class]`, the first is what Enter does. `content` may hold fields of a form.
 */
export function dialog({ title, content = [], actions }) {
  const name = `dialog-${++numbered}`;
  const [main, ...others] = actions;
  const made = h("dialog", { class: "panel", "aria-labelledby": name },
    h("form", { method: "dialog", autocomplete: "off" },
      h("h2", { id: name }, title), content,
      h("div", { class: "choices" },
        h("button", { type: "submit", value: main[0], class: main[2] ?? "primary" }, main[1]),
        others.map(([value, label, kind]) => h("button", { type: "submit", value, class: kind ?? "ghost", formnovalidate: true }, label)),
        h("button", { type: "submit", value: "", class: "ghost", formnovalidate: true }, say("Cancel")))));
  document.body.append(made);
  return new Promise((resolve) => {
    made.addEventListener("cancel", () => { made.returnValue = ""; });
    made.addEventListener("close", () => {
      made.remove();
      resolve(made.returnValue);
    }, { once: true });
    made.showModal();
  });
}

/** Say something for some seconds: what was done, or, with kind "bad", what was not. */
export function toast(text, kind = "good") {
  const made = h("p", { class: `toast ${kind}` }, text);
  document.getElementById("toasts").append(made);
  setTimeout(() => made.remove(), 6000);
}
