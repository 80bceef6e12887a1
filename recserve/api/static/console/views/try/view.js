// Try: asks the public API for recommendations, posts what is clicked, shows what changed and why.

import { h } from "../../dom.js";
import { about, aborted, ApiError, get, post } from "../../http.js";
import { language, say } from "../../i18n.js";
import { go, href, note, parse } from "../../router.js";
import { trainingNotice } from "../quality/training.js";
import { against, card, changeOf, glide } from "./cards.js";
import { form } from "./form.js";
import { sentence, titleOf } from "./words.js";

export const title = "Try";

const COUNT = 12;
const HISTORY = 12;
/** What outlives the view while the page is open: the visitor's session, titles, and what was asked last. */
const kept = { session: [], titles: new Map(), asked: {} };

/** Show the view. `#/try?user=42&scenario=home&query=…&item=…` asks for it at once. */
export async function show(root, { query, signal }) {
  await new Try(root, signal).start(query.size ? Object.fromEntries(query) : kept.asked);
}

class Try {
  constructor(root, signal) {
    this.signal = signal;
    this.number = 0; // of the latest question
    this.shown = null; // items of the latest answer
    this.events = {};
    this.form = form({ signal, onask: () => this.recommend(), onrestart: () => this.restart() });
    this.parts = {
      items: h("ol", { id: "items", class: "items", tabindex: "-1", "aria-label": say("Recommendations") }),
      others: h("ol", { id: "others", class: "items", "aria-label": say("The other list") }),
      status: h("p", { id: "status", class: "status", role: "status", "aria-live": "polite" }, say("Loading…")),
      error: h("div", { id: "error", class: "notice bad", role: "alert", hidden: true }),
      degraded: h("div", { id: "degraded", class: "notice warn", role: "status", hidden: true }),
      history: h("ol", { id: "history", class: "history" }),
      historyTitle: h("h2", { id: "history-title" }, say("What they did")),
      bundle: h("dd", { id: "bundle" }, "–"),
      scenario: h("dd", { id: "answered-scenario" }, "–"),
      total: h("dd", { id: "total" }, "–"),
      bar: h("div", { id: "bar", class: "bar", "aria-hidden": "true" }),
      timings: h("ul", { id: "timings", class: "timings" }),
      here: h("h2", { class: "side", hidden: true }),
      there: h("h2", { class: "side" }),
    };
    const parts = this.parts;
    this.lists = h("div", { class: "lists" },
      h("section", { class: "list" }, parts.here, parts.items), h("section", { class: "list beside", hidden: true }, parts.there, parts.others));
    root.append(h("h1", { class: "unseen" }, say(title)), h("div", { class: "layout" },
      h("div", { class: "side-column", role: "group", "aria-label": say("What to ask") },
        this.form.element,
        h("section", { class: "panel", "aria-labelledby": "history-title" }, parts.historyTitle, parts.history),
        h("section", { class: "panel", "aria-labelledby": "run-title" },
          h("h2", { id: "run-title" }, say("How it was answered")),
          h("dl", { class: "facts" },
            h("dt", {}, say("Bundle")), parts.bundle, h("dt", {}, say("Scenario")), parts.scenario, h("dt", {}, say("Total")), parts.total),
          parts.bar, parts.timings)),
      h("div", { class: "results" }, trainingNotice(signal), parts.degraded, parts.error, parts.status, this.lists)));
  }

  async start(asked) {
    try {
      const known = await about();
      if (this.signal.aborted) return;
      this.events = known.events;
      this.form.begin(known, asked);
      this.form.offer(known.scenarios, [], asked.beside);
      // Nobody waits for these but who compares with one.
      const missing = asked.beside && !this.form.asked().beside;
      const bundles = this.otherBundles().then((others) => this.form.offer(known.scenarios, others, missing ? asked.beside : this.form.asked().beside));
      if (missing) await bundles;
    } catch (error) {
      if (this.signal.aborted) return;
      // Nobody chose this view, and the key given on the way is good for others only.
      if (error.status === 403 && !parse(location.hash).name) go("live");
      else this.fail(error, () => this.start(asked));
      return;
    }
    await this.recommend();
  }

  /** Bundles that are loaded beside the current one; none where the key may not know, or nobody does now. */
  async otherBundles() {
    try {
      const { bundle } = await get("v1/live", { signal: this.signal, ask: false });
      return bundle.loaded.filter((id) => id !== bundle.id);
    } catch (error) {
      if (!(error instanceof ApiError) && !aborted(error)) throw error;
      return [];
    }
  }

  /** The body of the question. */
  question() {
    const asked = this.form.asked();
    const body = { n: COUNT, language: language(), details: true };
    if (asked.user) body.user_id = asked.user;
    if (!this.form.isUser() && kept.session.length) {
      body.session = kept.session.map(({ item_id, event, timestamp, value }) => ({ item_id, event, timestamp, value }));
    }
    if (asked.query) body.query = asked.query;
    if (asked.item) body.item_id = asked.item;
    if (asked.scenario) body.scenario = asked.scenario;
    return body;
  }

  /** Ask and show; `deed` says what the user just did, if anything. */
  async recommend(deed = null) {
    if (this.signal.aborted) return; // the address is another view's by now
    const number = ++this.number;
    const late = () => this.signal.aborted || number !== this.number; // a later question is already on its way
    const { items, error: place } = this.parts;
    const beside = this.form.beside();
    kept.asked = this.form.asked();
    note("try", [], kept.asked);
    this.form.settle();
    items.setAttribute("aria-busy", "true");
    place.hidden = true; // now and not with the answer: what failed meanwhile is to be read
    try {
      const [answer, other] = await Promise.all([
        post("v1/recommend", this.question(), { signal: this.signal }),
        beside ? this.compared({ ...this.question(), ...beside }) : null,
      ]);
      if (late()) return;
      this.answer(answer, other, deed);
      await this.history(late);
    } catch (error) {
      if (!late()) this.fail(error, () => this.recommend());
    } finally {
      if (number === this.number) items.removeAttribute("aria-busy");
    }
  }

  /** The answer to compare with, which counts nowhere as shown; one that failed takes nothing from the other. */
  async compared(question) {
    try {
      return await post("v1/recommend", { ...question, preview: true }, { signal: this.signal });
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      return { items: [], degraded: [], failed: error.message };
    }
  }

  restart() {
    kept.session = [];
    this.recommend();
  }

  async act(item, event, value) {
    const deed = [sentence(event, value, this.events), titleOf(item)];
    const timestamp = Date.now();
    this.lock(true);
    try {
      if (this.form.isUser()) {
        const user = this.form.user();
        if (!user) throw new ApiError(say("Enter a user id first, or choose the anonymous visitor."));
        await post("v1/events", { user_id: user, item_id: item.item_id, event, value, timestamp, event_id: crypto.randomUUID?.() });
      } else {
        kept.session.push({ item_id: item.item_id, event, value, timestamp });
      }
      await this.recommend(deed);
    } catch (error) {
      this.fail(error);
    } finally {
      this.lock(false);
      this.focusNear(item.rank - 1);
    }
  }

  fail(error, again = null) {
    if (this.signal.aborted) return;
    if (!(error instanceof ApiError)) throw error;
    const { error: place, status } = this.parts;
    place.replaceChildren(h("p", {}, error.message), again && error.status !== 422
      ? h("button", { type: "button", class: "again", onclick: again }, say("Try again")) : "");
    place.hidden = false;
    status.textContent = "";
  }

  lock(on) {
    for (const button of this.lists.querySelectorAll(".actions button")) button.disabled = on;
  }

  /** The clicked card is usually gone: keep the keyboard where it was. */
  focusNear(position) {
    const cards = this.parts.items.children;
    const near = cards[Math.min(position, cards.length - 1)];
    (near?.querySelector(".actions button") ?? this.parts.items).focus({ preventScroll: true });
  }

  // ---- What is shown --------------------------------------------------------------------------------

  answer(answer, other, deed) {
    const { items, others, degraded, bundle, scenario, here, there } = this.parts;
    const before = deed && this.shown ? mapOf(this.shown) : null;
    const places = new Map([...items.children].map((made) => [made.dataset.id, made.getBoundingClientRect()]));
    for (const item of [...answer.items, ...(other?.items ?? [])]) kept.titles.set(item.item_id, titleOf(item));

    const act = (...deedOf) => this.act(...deedOf);
    const cards = (listed, change) => (listed.length ? listed.map((item) => card(item, change(item), this.events, act))
      : [h("li", { class: "empty-list" }, h("p", {}, say("Nothing to recommend.")), h("p", {}, h("a", { href: href("catalogue") }, say("See what is in the catalogue"))))]);
    const beside = other && mapOf(other.items);
    items.replaceChildren(...cards(answer.items, (item) => (before ? changeOf(item, before) : beside && against(item, beside))));
    others.replaceChildren(...(other ? cards(other.items, (item) => against(item, mapOf(answer.items))) : []));
    this.lists.classList.toggle("two", Boolean(other));
    others.parentElement.hidden = here.hidden = !other;
    here.textContent = nameOf(answer);
    there.textContent = !other ? "" : other.failed ? say("No answer") : nameOf(other);
    if (other?.failed) others.replaceChildren(h("li", { class: "empty-list" }, other.failed));
    if (before) glide(items, places);
    this.announce(answer, other, before, deed);
    this.shown = answer.items;

    const lost = [...new Set([...answer.degraded, ...(other?.degraded ?? [])])];
    degraded.hidden = lost.length === 0;
    degraded.textContent = say("Degraded answer, it went on without: {}", lost.join(", "));
    bundle.replaceChildren(h("a", { href: href("quality", [answer.bundle]) }, answer.bundle));
    scenario.textContent = answer.experiment ? `${answer.scenario} · ${answer.experiment}: ${answer.arm}` : answer.scenario;
    this.timings(answer.timings);
  }

  announce(answer, other, before, deed) {
    const { status } = this.parts;
    if (!before) {
      const both = other && other.items.filter((item) => mapOf(answer.items).has(item.item_id)).length;
      status.textContent = other ? say("{} of {} items are in both lists", both, answer.items.length) : say("{} recommendations", answer.items.length);
      return;
    }
    const now = mapOf(answer.items);
    const fresh = answer.items.filter((item) => !before.has(item.item_id)).length;
    const moved = answer.items.filter((item) => before.has(item.item_id) && before.get(item.item_id).rank !== item.rank).length;
    const gone = [...before.values()].filter((item) => !now.has(item.item_id)).map(titleOf);
    const named = gone.slice(0, 3).join(", ") + (gone.length > 3 ? say(" and {} more", gone.length - 3) : "");
    status.textContent = say("{} “{}” → {} new, {} moved", ...deed, fresh, moved) + (gone.length ? say("; left: {}", named) : "");
  }

  timings(timings) {
    const { total, bar, timings: list } = this.parts;
    const stages = Object.entries(timings).filter(([stage]) => stage !== "total");
    const sum = stages.reduce((all, [, ms]) => all + ms, 0) || 1;
    total.textContent = timings.total === undefined ? "–" : `${timings.total.toFixed(1)} ms`;
    bar.replaceChildren(...stages.map(([, ms], index) => h("span", { class: `c${index % 6}`, style: { width: `${(100 * ms) / sum}%` } })));
    list.replaceChildren(...stages.map(([stage, ms], index) => h("li", {},
      h("i", { class: `c${index % 6}` }), h("span", {}, say(stage)), h("b", {}, `${ms.toFixed(2)} ms`))));
  }

  async history(late) {
    const { history, historyTitle } = this.parts;
    historyTitle.textContent = say(this.form.isUser() ? "What they did" : "This session");
    let events = kept.session.slice(-HISTORY).reverse();
    if (this.form.isUser()) {
      const user = this.form.user();
      events = user ? await this.eventsOf(user) : [];
    }
    if (events !== null) await Promise.all([...new Set(events.flatMap((event) => event.item_id ?? []))].map((id) => this.lookUp(id)));
    if (late()) return;
    if (events === null || !events.length) {
      const nothing = events === null ? say("This key may not read histories.") : say("Nothing yet. Click something.");
      history.replaceChildren(h("li", { class: "empty" }, nothing));
      return;
    }
    history.replaceChildren(...events.map((event) => h("li", {},
      h("span", {}, event.item_id === null ? `“${event.text}”` : kept.titles.get(event.item_id) ?? event.item_id),
      h("span", { class: "what" }, sentence(event.event, event.value, this.events).toLowerCase()))));
  }

  /** A user's newest events; null where the key may not read them, which recommending does not need. */
  async eventsOf(user) {
    try {
      const path = `v1/users/${encodeURIComponent(user)}/history`;
      return (await get(path, { query: { limit: HISTORY }, signal: this.signal })).events;
    } catch (error) {
      if (error.status === 403) return null;
      throw error;
    }
  }

  async lookUp(id) {
    if (kept.titles.has(id)) return;
    try {
      kept.titles.set(id, (await get(`v1/items/${encodeURIComponent(id)}`, { signal: this.signal })).title);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      kept.titles.set(id, id); // not in the catalogue: its id is all there is
    }
  }
}

const mapOf = (items) => new Map(items.map((item) => [item.item_id, item]));
const nameOf = (answer) => `${answer.scenario} · ${answer.bundle}`;
