// People: who is known, and what is known of one of them.

import { empty, failing, field, h, loading } from "../../dom.js";
import { ago, number } from "../../format.js";
import { about, get } from "../../http.js";
import { say } from "../../i18n.js";
import { go, href } from "../../router.js";
import { showPerson } from "./person.js";

export const title = "People";

const PAGE = 50;
const RECENT = 12;
const SHOWN_LABELS = 4;

/** Show the view: `#/people` lists, `#/people/USER` is one person. */
export async function show(root, { path, query, signal }) {
  if (path.length) return showPerson(root, path.join("/"), signal);
  const having = ["events", "profile"].includes(query.get("having")) ? query.get("having") : "any";
  const kinds = [["any", say("Everybody")], ["events", say("With events")], ["profile", say("With a profile")]];
  const recent = h("div", { class: "recent" });
  const list = h("ul", { class: "rows" });
  const status = h("p", { class: "note", role: "status" });
  const foot = h("div", { class: "foot" });
  root.append(
    h("div", { class: "row heading" },
      h("h1", {}, say(title)),
      h("nav", { class: "tabs", "aria-label": say("Who is listed") },
        kinds.map(([kind, name]) => h("a", { href: href("people", [], { having: kind === "any" ? null : kind }), "aria-current": kind === having ? "page" : null }, name)))),
    form(signal), recent, status, list, foot);
  showRecent(recent, signal);

  let cursor = null;
  let found = 0;
  async function more() {
    const before = found;
    foot.replaceChildren(loading());
    try {
      do {
        const answer = await get("v1/users", { query: { having, limit: PAGE, cursor }, signal });
        list.append(...answer.users.map(row));
        found += answer.users.length;
        cursor = answer.cursor;
        status.textContent = say("{} people", number(found)) + (cursor ? "+" : "");
      } while (cursor && found === before);
    } catch (error) {
      if (!signal.aborted) foot.replaceChildren(failing(error, more));
      return;
    }
    if (cursor) foot.replaceChildren(h("button", { type: "button", onclick: more }, say("More")));
    else if (found) foot.replaceChildren();
    else foot.replaceChildren(empty(say("Nobody is known yet."), h("p", {}, say("People appear with their first event or profile:")), h("code", {}, "POST /v1/events · POST /v1/users")));
  }
  await more();
}

function form(signal) {
  const id = h("input", { type: "search", required: true, maxlength: 10_000, spellcheck: false, autocomplete: "off", placeholder: say("the exact id") });
  const made = h("form", { class: "panel search", role: "search" },
    field(say("A person's id"), id), h("button", { type: "submit", class: "primary" }, say("Open")));
  made.addEventListener("submit", (event) => {
    event.preventDefault();
    go("people", [id.value]);
  }, { signal });
  return made;
}

/** Those who did something last, where the key may know. */
async function showRecent(place, signal) {
  try {
    const { sample_users: users } = await about();
    if (signal.aborted || !users.length) return;
    place.append(h("h2", {}, say("Active lately")), h("div", { class: "chips" }, users.slice(0, RECENT).map((id) => h("a", { class: "chip", href: href("people", [id]) }, id))));
  } catch (error) {
    if (error.status === undefined && !signal.aborted) throw error; // the list says what is wrong with the server
  }
}

function row(user) {
  const labels = Object.entries(user.attributes).filter(([, value]) => value !== null && typeof value !== "object");
  return h("li", {},
    h("div", { class: "named" }, h("a", { href: href("people", [user.user_id]) }, user.user_id), !user.profile && h("small", {}, say("no profile"))),
    h("div", { class: "chips" }, labels.slice(0, SHOWN_LABELS).map(([name, value]) => h("span", { class: "chip", title: name }, String(value).slice(0, 60))),
      labels.length > SHOWN_LABELS && h("small", {}, `+${labels.length - SHOWN_LABELS}`)),
    h("div", { class: "note moment" }, user.last_event === null ? say("no events") : ago(user.last_event)));
}
