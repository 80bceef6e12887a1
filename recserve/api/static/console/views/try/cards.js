// The cards of recommended items: what each is, why it is there, how it moved, what can be done with it.

import { h } from "../../dom.js";
import { say } from "../../i18n.js";
import { href } from "../../router.js";
import { because } from "./why.js";
import { attributes, hue, initials, titleOf } from "./words.js";

const STARS = 5;
const BUTTONS = [["view", "View"], ["like", "Like"], ["dislike", "Dislike"]];

/**
 * The card of an item.
 *
 * `change` is what `changeOf` or `against` says; `events` are the event types of the server; `act(item, event, value)`
 * is called for what the person does.
 */
export function card(item, change, events, act) {
  const title = titleOf(item);
  const { chips, long } = attributes(item.attributes);
  return h("li", { class: change ? `card changed` : "card", dataset: { id: item.item_id } },
    h("div", { class: "poster", "aria-hidden": "true", style: { "--hue": hue(item.item_id) } }, initials(title),
      h("span", { class: "rank" }, `#${item.rank}`),
      change && h("span", { class: `badge ${change.kind}` }, change.text)),
    h("div", { class: "body" },
      h("h3", {}, h("a", { href: href("catalogue", [item.item_id]) }, title), change && h("span", { class: "unseen" }, ` (${change.words})`)),
      chips.length > 0 && h("ul", { class: "chips" }, chips.map((text) => h("li", {}, text))),
      long && h("p", { class: "long" }, long),
      item.explanation && h("p", { class: "why" }, item.explanation),
      h("p", { class: "origin" },
        h("span", { title: say("Retrievers that proposed it") }, item.sources.join(" · ") || "–"),
        h("span", { class: "score", title: say("Score, comparable only within this list") }, item.score?.toFixed(3) ?? "–")),
      because(item, title),
      actions(item, title, events, act)));
}

/** How an item's place differs from the list before, which maps ids to items; null where it does not. */
export function changeOf(item, before) {
  const old = before?.get(item.item_id);
  if (!before) return null;
  if (!old) return { kind: "new", text: say("new"), words: say("new") };
  return moved(old.rank - item.rank, say("up {}", old.rank - item.rank), say("down {}", item.rank - old.rank));
}

/** How an item's place differs from that in the list beside. */
export function against(item, other) {
  const there = other.get(item.item_id);
  if (!there) return { kind: "new", text: say("only here"), words: say("only here") };
  const words = say("place {} in the other list", there.rank);
  return moved(there.rank - item.rank, words, words) ?? { kind: "same", text: "=", words };
}

function moved(steps, up, down) {
  if (steps > 0) return { kind: "up", text: `▲ ${steps}`, words: up };
  if (steps < 0) return { kind: "down", text: `▼ ${-steps}`, words: down };
  return null;
}

function actions(item, title, events, act) {
  const range = events.rating?.value_range;
  const star = (place) => {
    const value = Math.max(range[0], (range[1] * place) / STARS);
    return button("★", say("Rate {} of {}", place, STARS), () => act(item, "rating", value));
  };
  return h("div", { class: "actions" },
    BUTTONS.filter(([event]) => events[event]).map(([event, label]) => button(say(label), `${say(label)}: ${title}`, () => act(item, event))),
    range && h("span", { class: "stars", role: "group", "aria-label": say("Rate {}", title) }, [1, 2, 3, 4, 5].map(star)));
}

function button(label, description, onclick) {
  return h("button", { type: "button", "aria-label": description, title: description, onclick }, label);
}

/** Let cards that stayed glide from where they were. */
export function glide(list, places) {
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
  for (const made of list.children) {
    const old = places.get(made.dataset.id);
    if (!old) {
      made.animate([{ opacity: 0, transform: "scale(.96)" }, { opacity: 1, transform: "none" }], { duration: 350, easing: "ease-out" });
      continue;
    }
    const now = made.getBoundingClientRect();
    const [x, y] = [old.left - now.left, old.top - now.top];
    if (x || y) made.animate([{ transform: `translate(${x}px, ${y}px)` }, { transform: "none" }], { duration: 450, easing: "ease-in-out" });
  }
}
