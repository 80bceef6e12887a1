// A person's events, newest first, page by page; each can be taken back.

import { empty, failing, h, loading, toast } from "../../dom.js";
import { ago, when } from "../../format.js";
import { about, del, get } from "../../http.js";
import { say } from "../../i18n.js";
import { itemLink } from "../catalogue/parts.js";
import { sentence } from "../try/words.js";

const PAGE = 10;

/** The list; `changed` is called when an event was taken back. */
export class History {
  constructor(id, changed, signal) {
    Object.assign(this, { id, changed, signal, cursor: null });
    this.list = h("ol", { class: "events" });
    this.foot = h("div", { class: "foot" });
    this.element = h("div", { class: "stack" }, this.list, this.foot);
  }

  /** Show the next part; the first if nothing is shown yet. */
  async show() {
    this.foot.replaceChildren(loading());
    try {
      const path = `v1/users/${encodeURIComponent(this.id)}/history`;
      const answer = await get(path, { query: { limit: PAGE, cursor: this.cursor }, signal: this.signal });
      const { events: kinds } = await about();
      this.list.append(...answer.events.map((event) => this.row(event, kinds)));
      this.cursor = answer.cursor;
      this.end();
    } catch (error) {
      if (this.signal.aborted) return;
      this.foot.replaceChildren(failing(error, () => this.show()));
    }
  }

  end() {
    if (this.cursor) this.foot.replaceChildren(h("button", { type: "button", onclick: () => this.show() }, say("Older")));
    else if (this.list.childElementCount) this.foot.replaceChildren();
    else this.foot.replaceChildren(empty(say("No events.")));
  }

  row(event, kinds) {
    const what = sentence(event.event, event.value, kinds);
    const name = event.title ?? event.text ?? what;
    const back = h("button", { type: "button", class: "ghost", "aria-label": say("Take back: {}, {}", name, what), onclick: () => this.takeBack(event, made) }, say("Take back"));
    const made = h("li", {},
      h("div", {},
        event.item_id !== null && itemLink(event.item_id, event.title),
        event.text !== null && h("q", {}, event.text),
        h("p", { class: "note" }, what, " · ", h("time", { datetime: new Date(event.timestamp).toISOString(), title: when(event.timestamp) }, ago(event.timestamp)))),
      back);
    return made;
  }

  async takeBack(event, row) {
    const button = row.querySelector("button");
    button.disabled = true;
    try {
      await del(`v1/events/${encodeURIComponent(event.event_id)}`);
      if (this.signal.aborted) return; // nothing of another view takes the keyboard
      const next = row.nextElementSibling ?? row.previousElementSibling;
      row.remove();
      (next?.querySelector("button") ?? document.getElementById("view")).focus();
      this.end();
      toast(say("Taken back. It counts in no answer from now on."));
      this.changed();
    } catch (error) {
      button.disabled = false;
      toast(error.message, "bad");
    }
  }
}
