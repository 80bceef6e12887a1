// How items and events are put into words.

import { day, number, percent } from "../../format.js";
import { say } from "../../i18n.js";

const PAST = { view: "viewed", like: "liked", dislike: "disliked", click: "clicked", play: "played", rating: "rated",
  purchase: "bought", add_to_cart: "put in cart", skip: "skipped", hide: "hid", search: "searched",
  watch: "watched", follow: "followed", unfollow: "unfollowed", reply: "replied to", repost: "reposted" };
const CHIPS = 6;
const LONG = 40;
const MOMENT = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)$/;

/** What an item is called. */
export const titleOf = (item) => String(item.attributes.title || item.attributes.name || item.item_id);

/** What somebody did, such as "Rated 4 of 5"; `kinds` are the event types of the server, which know the scale. */
export function sentence(event, value, kinds = {}) {
  const said = valued(event, value, kinds[event]?.value_range);
  return said.charAt(0).toUpperCase() + said.slice(1);
}

function valued(event, value, range) {
  const verb = say(PAST[event] ?? event.replace(/[_-]+/g, " "));
  if (value === null || value === undefined) return verb;
  // Of short videos: watch time over duration.
  if (event === "watch") return `${verb} ${percent(value, 0)}`;
  if (range) return say("{} {} of {}", verb, number(value, 2), number(range[1], 2));
  if (event !== "play") return say("{}, value {}", verb, number(value, 2));
  return value === 1 ? verb : say("{} {} times", verb, number(value, 2));
}

/** Attributes to show: short values as chips, times as days, and the first long text. */
export function attributes(known) {
  const chips = [];
  let long = "";
  for (const [name, value] of Object.entries(known)) {
    if (name === "title" || name === "name" || value === null || value === "") continue;
    if (Array.isArray(value)) chips.push(...value.filter((one) => typeof one !== "object").map(String));
    else if (typeof value === "string" && value.length > LONG) long ||= value;
    else if (MOMENT.test(value)) chips.push(day(value));
    else if (typeof value !== "object") chips.push(typeof value === "boolean" ? `${name}: ${value}` : String(value));
  }
  return { chips: chips.slice(0, CHIPS), long };
}

/** The first letters of a title's first two words. */
export function initials(title) {
  const words = title.match(/[\p{L}\p{N}]+/gu) ?? ["?"];
  return words.slice(0, 2).map((word) => [...word][0].toUpperCase()).join("");
}

/** A colour for an item; steps of the golden angle keep neighbouring ids apart. */
export function hue(id) {
  let hash = 7;
  for (const character of id.slice(0, 200)) hash = (hash * 31 + character.codePointAt(0)) % 100_003;
  return ((hash * 137.508) % 360).toFixed(1);
}
