// What the catalogue's pages share.

import { h } from "../../dom.js";
import { when } from "../../format.js";
import { say } from "../../i18n.js";
import { href } from "../../router.js";

const NAMES = new Set(["title", "name"]);
const LONGEST = 60;

/** Single values of an item's attributes, without its title: `[name, text]`, lists taken apart. */
export function labels(attributes) {
  return Object.entries(attributes).filter(([name]) => !NAMES.has(name)).flatMap(([name, value]) => (
    (Array.isArray(value) ? value : [value])
      .filter((one) => one !== null && typeof one !== "object" && String(one).length <= LONGEST && String(one) !== "")
      .map((one) => [name, String(one)])));
}

/** A chip that leads to the items with the same value. */
export function label([name, value]) {
  return h("a", { class: "chip", href: href("catalogue", [], { attribute: `${name}:${value}` }), title: `${name}: ${value}` }, value);
}

/** What keeps an item out of answers, if anything does. */
export function state(item) {
  if (item.hidden) return h("span", { class: "chip warn" }, say("hidden"));
  if (item.expires_at === null) return null;
  const over = item.expires_at <= Date.now();
  return h("span", { class: over ? "chip warn" : "chip" }, over ? say("expired {}", when(item.expires_at)) : say("until {}", when(item.expires_at)));
}

/** A link to an item's page. */
export function itemLink(id, title) {
  return h("a", { href: href("catalogue", [id]) }, title);
}
