// One person: profile, history, current recommendations, and what may be done about them.

import { empty, field, h, showState, toast } from "../../dom.js";
import { ago, fixed, list, number } from "../../format.js";
import { about, get, post } from "../../http.js";
import { language, say } from "../../i18n.js";
import { href } from "../../router.js";
import { editProfile } from "../catalogue/editing.js";
import { itemLink } from "../catalogue/parts.js";
import { forget, merge } from "./administration.js";
import { History } from "./history.js";

const RECOMMENDED = 10;

/** Show the page of a person; also of one who is not known, who has a page without anything on it. */
export async function showPerson(root, id, signal) {
  const place = h("div", { class: "person" });
  root.append(h("p", {}, h("a", { href: href("people") }, `← ${say("People")}`)), place);
  const again = () => {
    root.replaceChildren();
    return showPerson(root, id, signal);
  };
  await showState(place, async () => {
    const { users: [known = null] } = await get("v1/users", { query: { user_id: id }, signal });
    return page(id, known, place, again, signal);
  }, signal);
}

function page(id, known, place, again, signal) {
  const recommended = new Recommended(id, signal);
  const history = new History(id, () => recommended.show(), signal);
  const seen = known === null ? say("not known: no profile, no events") : known.last_event === null ? say("no events") : say("last event {}", ago(known.last_event));
  history.show();
  recommended.start();
  return [
    h("div", { class: "row heading" },
      h("div", { class: "named" }, h("h1", {}, id), h("span", { class: "note" }, seen)),
      h("div", { class: "row" },
        h("button", { type: "button", onclick: async () => await merge(id) && again() }, say("Merge…")),
        h("button", { type: "button", class: "danger", onclick: () => forget(id, place) }, say("Delete…")))),
    h("div", { class: "columns" },
      h("div", { class: "stack" },
        h("section", { class: "panel" }, h("h2", {}, say("Profile")), profile(id, known, again)),
        h("section", { class: "panel" }, h("h2", {}, say("History, newest first")), history.element)),
      h("section", { class: "panel" }, h("h2", {}, say("What they would be recommended now")), recommended.element)),
  ];
}

function profile(id, known, again) {
  const begin = async () => {
    try {
      await post("v1/users", { users: [{ user_id: id, attributes: {} }] });
      await editProfile({ user_id: id, attributes: {} });
      again();
    } catch (error) {
      toast(error.message, "bad");
    }
  };
  if (known === null || !known.profile) {
    return [h("p", { class: "note" }, say("There is no profile; events alone are enough.")), h("div", {}, h("button", { type: "button", onclick: begin }, say("Add one")))];
  }
  const rows = Object.entries(known.attributes);
  return [
    rows.length
      ? h("dl", { class: "known" }, rows.map(([name, value]) => [h("dt", {}, name), h("dd", {}, typeof value === "string" ? value : JSON.stringify(value))]))
      : h("p", { class: "note" }, say("The profile is empty.")),
    h("div", {}, h("button", { type: "button", onclick: async () => await editProfile(known) && again() }, say("Edit"))),
  ];
}

/** What the server would answer now. Nobody is shown it, so it is not logged and counts as no impression. */
class Recommended {
  constructor(id, signal) {
    Object.assign(this, { id, signal });
    this.scenario = h("select", { onchange: () => this.show() });
    this.list = h("div");
    this.choice = h("div", {}, field(say("Scenario"), this.scenario));
    this.element = h("div", { class: "stack" }, this.choice, this.list);
  }

  start() {
    return showState(this.list, async () => {
      const { scenarios, default_scenario: usual } = await about();
      this.scenario.replaceChildren(...scenarios.map((name) => h("option", { value: name, selected: name === usual }, name)));
      this.choice.hidden = scenarios.length < 2;
      return this.answer();
    }, this.signal);
  }

  show() {
    return showState(this.list, () => this.answer(), this.signal);
  }

  async answer() {
    const body = { user_id: this.id, n: RECOMMENDED, scenario: this.scenario.value, language: language(), preview: true };
    const answer = await post("v1/recommend", body, { signal: this.signal });
    if (!answer.items.length) return empty(say("Nothing can be recommended."));
    return [
      answer.degraded.length > 0 && h("p", { class: "notice warn" }, say("The server went on without: {}.", list(answer.degraded))),
      h("ol", { class: "reasons" }, answer.items.map((item) => h("li", {},
        h("span", { class: "rank", "aria-hidden": "true" }, item.rank),
        h("div", {},
          itemLink(item.item_id, String(item.attributes.title ?? item.attributes.name ?? item.item_id)),
          item.explanation && h("p", {}, item.explanation),
          h("small", {}, item.sources.join(", "), item.score !== null && ` · ${say("score {}", fixed(item.score, 3))}`))))),
      h("p", { class: "note" }, say("Bundle {}. Looking at this page counts as no impression.", answer.bundle)),
    ].filter(Boolean);
  }
}
