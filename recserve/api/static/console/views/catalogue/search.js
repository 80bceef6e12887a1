// The list of items: all, or those that a search finds.

import { empty, failing, field, h, loading } from "../../dom.js";
import { number } from "../../format.js";
import { get } from "../../http.js";
import { say } from "../../i18n.js";
import { go, href } from "../../router.js";
import { itemLink, label, labels, state } from "./parts.js";

const PAGE = 50;
const SHOWN_LABELS = 6;

/** Show the search form, filled with what the address asks for, and what it finds. */
export function showSearch(root, query, signal) {
  const asked = { q: query.get("q") ?? "", attribute: query.getAll("attribute"), state: query.get("state") ?? "" };
  root.append(form(asked, signal));
  return new Results(root, asked, signal).more();
}

function form(asked, signal) {
  const words = h("input", { type: "search", value: asked.q, maxlength: 200, placeholder: say("words, or an id") });
  const attribute = h("input", { value: asked.attribute.join(", "), maxlength: 400, placeholder: say("such as genres:Drama") });
  const states = [["", say("any")], ["shown", say("may be shown")], ["hidden", say("hidden")], ["expired", say("expired")]];
  const chosen = h("select", {}, states.map(([value, name]) => h("option", { value, selected: value === asked.state }, name)));
  const made = h("form", { class: "panel search", role: "search" },
    field(say("Words"), words),
    field(say("Attribute"), attribute, { optional: true }),
    field(say("State"), chosen),
    h("button", { type: "submit", class: "primary" }, say("Search")));
  const submit = (event) => {
    event?.preventDefault();
    go("catalogue", [], { q: words.value.trim(), attribute: attribute.value.trim(), state: chosen.value });
  };
  made.addEventListener("submit", submit, { signal });
  chosen.addEventListener("change", () => submit(), { signal });
  return made;
}

/** Items that were found so far, and the search for more. */
class Results {
  constructor(root, asked, signal) {
    this.signal = signal;
    this.search = new URLSearchParams({ limit: PAGE });
    if (asked.q) this.search.set("q", asked.q);
    // One value may hold a comma: what has no colon belongs to the value before.
    for (const part of asked.attribute.join(", ").split(/,\s*(?=[^,:]+:)/)) if (part.trim()) this.search.append("attribute", part.trim());
    if (asked.state) this.search.set("state", asked.state);
    this.q = asked.q;
    this.narrowed = [...this.search.keys()].length > 1;
    this.found = 0;
    this.examined = 0;
    this.list = h("ul", { class: "rows" });
    this.status = h("p", { class: "note", role: "status" });
    this.foot = h("div", { class: "foot" });
    root.append(this.status, this.list, this.foot);
  }

  /** Look until a page is full, the catalogue ends, or somebody stops it: each call looks at so many items only. */
  async more() {
    const before = this.found;
    const stop = new AbortController();
    this.foot.replaceChildren(loading(this.narrowed ? say("Searching…") : say("Loading…")),
      this.narrowed && this.examined ? this.button(say("Stop"), () => stop.abort()) : "");
    try {
      do {
        const answer = await get(`v1/items?${this.search}`, { signal: AbortSignal.any([this.signal, stop.signal]) });
        this.list.append(...answer.items.map(row));
        this.found += answer.items.length;
        this.examined += answer.examined;
        this.cursor = answer.cursor;
        if (answer.cursor) this.search.set("cursor", answer.cursor);
        this.say();
        if (answer.cursor && this.found - before < PAGE) {
          this.foot.replaceChildren(loading(say("Searching…")), this.button(say("Stop"), () => stop.abort()));
        }
      } while (this.cursor && this.found - before < PAGE);
    } catch (error) {
      if (this.signal.aborted) return;
      if (!stop.signal.aborted) {
        this.foot.replaceChildren(failing(error, () => this.more()));
        return;
      }
    }
    this.end();
  }

  say() {
    const looked = this.narrowed ? say("{} items looked through", number(this.examined)) : null;
    this.status.textContent = [say("{} items", number(this.found)) + (this.cursor ? "+" : ""), looked].filter(Boolean).join(" · ");
  }

  end() {
    const id = this.q && h("p", {}, h("a", { href: href("catalogue", [this.q]) }, say("Open the item with the id “{}”", this.q)));
    if (this.cursor) {
      this.foot.replaceChildren(this.button(this.found ? say("More") : say("Search on"), () => this.more()));
    } else if (this.found) {
      this.foot.replaceChildren();
    } else if (this.narrowed) {
      this.foot.replaceChildren(empty(say("No item matches."), id, h("p", {}, h("a", { href: href("catalogue") }, say("Show all items")))));
    } else {
      this.foot.replaceChildren(empty(say("The catalogue is empty."), h("p", {}, say("Import a file, or send items:")), h("code", {}, "recserve import · POST /v1/items")));
    }
  }

  button(name, onclick) {
    return h("button", { type: "button", onclick }, name);
  }
}

function row(item) {
  const all = labels(item.attributes);
  return h("li", {},
    h("div", { class: "named" }, itemLink(item.item_id, item.title), item.title !== item.item_id && h("code", {}, item.item_id), state(item)),
    h("div", { class: "chips" }, all.slice(0, SHOWN_LABELS).map(label), all.length > SHOWN_LABELS && h("small", {}, `+${all.length - SHOWN_LABELS}`)));
}
