// One item: what is known of it, what became of showing it, its neighbours, and who would like it.

import { line } from "../../charts.js";
import { empty, h, showState, toast } from "../../dom.js";
import { fixed, list, number, percent, when } from "../../format.js";
import { get, patch, post } from "../../http.js";
import { language, say } from "../../i18n.js";
import { href } from "../../router.js";
import { editAttributes } from "./editing.js";
import { itemLink, state } from "./parts.js";

const NEIGHBOURS = 12;
const AUDIENCE = 20;

/** Show the page of an item. */
export async function showItem(root, id, signal) {
  const place = h("div", { class: "item" });
  root.append(h("p", {}, h("a", { href: href("catalogue") }, `← ${say("Catalogue")}`)), place);
  await showState(place, async () => page(await get(`v1/items/${encodeURIComponent(id)}`, { signal }), () => {
    root.replaceChildren();
    showItem(root, id, signal);
  }, signal), signal);
}

function page(item, again, signal) {
  const outcomes = h("div", { class: "stack" });
  const neighbours = h("div");
  const audience = h("div", { class: "stack start" });
  showState(outcomes, () => shownAndClicked(item, signal), signal);
  showState(neighbours, () => similar(item, signal), signal);
  audience.append(
    h("p", { class: "note" }, say("Compares users who did something lately. It takes longer than a recommendation.")),
    h("button", { type: "button", onclick: () => showState(audience, () => wanted(item, signal), signal) }, say("Find who would like it")));
  return [
    h("div", { class: "row heading" },
      h("div", { class: "named" }, h("h1", {}, item.title), h("code", {}, item.item_id), state(item)),
      h("div", { class: "row" },
        h("button", { type: "button", class: item.hidden ? "primary" : null, onclick: (event) => hide(event.currentTarget, item, again) }, item.hidden ? say("Show again") : say("Hide")),
        h("button", { type: "button", onclick: async () => await editAttributes(item) && again() }, say("Edit")))),
    h("div", { class: "columns" },
      h("div", { class: "stack" },
        panel(say("What is known"), facts(item)),
        panel(say("Shown and clicked, last 28 days"), outcomes)),
      h("div", { class: "stack" },
        panel(say("Similar items"), neighbours),
        panel(say("Who would like it"), audience))),
  ];
}

function panel(title, content) {
  return h("section", { class: "panel" }, h("h2", {}, title), content);
}

/** Hide an item or show it again; hiding one by mistake takes one click to mend, so nobody is asked. */
async function hide(button, item, again) {
  button.disabled = true;
  try {
    await patch("v1/items", { items: [{ item_id: item.item_id, hidden: !item.hidden }] });
    toast(item.hidden ? say("“{}” may be recommended again.", item.title) : say("“{}” is in no answer from now on.", item.title));
    again();
  } catch (error) {
    button.disabled = false;
    toast(error.message, "bad");
  }
}

function facts(item) {
  const rows = Object.entries(item.attributes);
  if (item.expires_at !== null) rows.push([say("expires"), when(item.expires_at)]);
  if (!rows.length) return empty(say("Nothing but its id is known."));
  return h("dl", { class: "known" }, rows.map(([name, value]) => [h("dt", {}, name), h("dd", {}, shownValue(value))]));
}

function shownValue(value) {
  if (Array.isArray(value) && value.every((one) => typeof one !== "object")) return h("span", { class: "chips" }, value.map((one) => h("span", { class: "chip" }, String(one))));
  return typeof value === "string" ? value : JSON.stringify(value);
}

async function shownAndClicked(item, signal) {
  const { total, rows } = await get("v1/reports/outcomes", { query: { item: item.item_id, by: "day" }, signal });
  if (!total.impressions) return empty(say("It was not shown in these days."));
  const tile = (name, value, note) => h("div", { class: "tile" }, h("b", {}, value), h("span", {}, name), note && h("small", {}, note));
  const interval = total.ctr.low === null ? null : `${percent(total.ctr.low, 2)} – ${percent(total.ctr.high, 2)}`;
  const days = rows.filter((row) => row.group !== null).sort((one, other) => one.group.localeCompare(other.group));
  const chart = days.length > 1 && line({
    title: say("Impressions and clicks a day"), time: "day", signal, format: (value) => number(value), height: 150,
    x: days.map((row) => Date.parse(row.group)),
    series: [{ label: say("impressions"), values: days.map((row) => row.impressions) }, { label: say("clicks"), values: days.map((row) => row.clicks) }],
  }).element;
  return [
    h("div", { class: "tiles" },
      tile(say("impressions"), number(total.impressions)),
      tile(say("clicks"), number(total.clicks)),
      tile(say("click-through rate"), percent(total.ctr.value, 2), interval),
      tile(say("conversions"), number(total.conversions))),
    chart,
  ].filter(Boolean);
}

async function similar(item, signal) {
  const body = { item_id: item.item_id, n: NEIGHBOURS, explain: false, preview: true, language: language() };
  const answer = await post("v1/similar", body, { signal });
  if (!answer.items.length) return empty(say("Nothing is similar."));
  return [
    answer.degraded.length > 0 && h("p", { class: "notice warn" }, say("The server went on without: {}.", list(answer.degraded))),
    h("ol", { class: "ranked" }, answer.items.map((one) => h("li", {},
      itemLink(one.item_id, String(one.attributes.title ?? one.attributes.name ?? one.item_id)), h("small", {}, one.sources.join(", "))))),
  ].filter(Boolean);
}

async function wanted(item, signal) {
  const answer = await post(`v1/items/${encodeURIComponent(item.item_id)}/audience`, { limit: AUDIENCE }, { signal });
  if (!answer.users.length) return empty(say("Nobody who did something lately has not had it."));
  return [
    h("p", { class: "note" }, say("The first {} of {} users who were compared.", number(answer.users.length), number(answer.considered))),
    h("ol", { class: "ranked" }, answer.users.map((user) => h("li", {},
      h("a", { href: href("people", [user.user_id]) }, user.user_id), h("small", {}, say("score {}", fixed(user.score, 3)))))),
  ];
}
