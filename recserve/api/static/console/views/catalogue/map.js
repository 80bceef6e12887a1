// The map: items on a plane, near one another where their texts are alike.

import { scatter } from "../../charts.js";
import { empty, field, h, showState } from "../../dom.js";
import { number, percent } from "../../format.js";
import { get } from "../../http.js";
import { say } from "../../i18n.js";
import { go } from "../../router.js";
import { labels } from "./parts.js";

/** Colours for groups: the most frequent values, and one for all others. */
const GROUPS = 5;

/** Show the map; points take the colour of an attribute, which the address or the first items name. */
export async function showMap(root, query, signal) {
  const place = h("div", { class: "panel" });
  root.append(h("p", { class: "lead" }, say("Items are near one another where their texts are alike. Click one to open it.")), place);
  await showState(place, async () => {
    const { items } = await get("v1/items", { query: { limit: 50 }, signal });
    const names = groupings(items);
    const chosen = query.get("attribute") ?? names[0] ?? "";
    const found = await get("v1/vectors/map", { query: { attribute: chosen }, signal });
    return found.points.length ? draw(found, names, chosen, signal) : nothing();
  }, signal);
}

/** Attributes that group items: those whose values repeat most. */
function groupings(items) {
  const counts = new Map();
  for (const item of items) {
    for (const [name, value] of labels(item.attributes)) {
      const seen = counts.get(name) ?? counts.set(name, new Map()).get(name);
      seen.set(value, (seen.get(value) ?? 0) + 1);
    }
  }
  const repeats = ([, seen]) => [...seen.values()].reduce((sum, count) => sum + count, 0) / seen.size;
  return [...counts].sort((a, b) => repeats(b) - repeats(a)).map(([name]) => name);
}

function draw(found, names, chosen, signal) {
  const counts = new Map();
  for (const { value } of found.points) if (value !== null) counts.set(value, (counts.get(value) ?? 0) + 1);
  const top = [...counts].sort((a, b) => b[1] - a[1]).slice(0, GROUPS).map(([value]) => value);
  const group = (value) => (top.includes(value) ? value : say("other"));
  const points = found.points.map((point) => ({ ...point, label: point.title, group: chosen ? group(point.value) : null }));
  // Groups take their colours in the order in which they come.
  points.sort((a, b) => rank(top, a.group) - rank(top, b.group));
  const { element } = scatter({
    title: say("Map of {} items", number(points.length)), points, height: 480, signal,
    onpick: (point) => go("catalogue", [point.item_id]),
  });
  const choices = names.includes(chosen) || !chosen ? names : [chosen, ...names];
  const select = h("select", { onchange: () => go("catalogue", [], { show: "map", attribute: select.value }) },
    choices.map((name) => h("option", { value: name, selected: name === chosen }, name)));
  return [
    h("div", { class: "row spread" },
      choices.length > 0 && field(say("Colour"), select),
      h("p", { class: "note" }, say("{} of {} items of the bundle {}. The plane shows {} of what tells their texts apart.",
        number(points.length), number(found.items), found.bundle, percent(found.explained)))),
    element,
  ];
}

function rank(top, group) {
  const at = top.indexOf(group);
  return at < 0 ? top.length : at;
}

function nothing() {
  return empty(say("There are no text vectors to draw."), h("p", {}, say("The bundle was trained without a text encoder, or has no items.")));
}
