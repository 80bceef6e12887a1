// Live: what all replicas do at this moment, drawn from the difference of two answers of GET /v1/live.

import { bars, line } from "../../charts.js";
import { empty, failing, h, loading } from "../../dom.js";
import { clock, milliseconds, number, percent, short } from "../../format.js";
import { aborted, ApiError, get, poll } from "../../http.js";
import { say } from "../../i18n.js";
import { href } from "../../router.js";
import { graph } from "./graph.js";
import { difference } from "./numbers.js";
import { cachesOf, errorsOf, lostOf, machinesOf, routesOf } from "./tables.js";

export const title = "Live";

const KEPT = 300;
/** Seconds over which rates and times are taken, so that they do not jump with every request. */
const WINDOW = 10_000;
/** Answers and their differences outlive the view while the page is open. */
const seen = { answers: [], points: [] };

/** Show the view. */
export async function show(root, { signal }) {
  const live = new Live(root, signal);
  await live.watch();
}

class Live {
  constructor(root, signal) {
    this.root = root;
    this.signal = signal;
    this.parts = null; // the view once there is something to show
    this.state = h("div", { class: "waiting" });
    this.updated = h("p", { class: "lead", role: "status", "aria-live": "off" });
    this.stop = new AbortController();
    signal.addEventListener("abort", () => this.stop.abort());
    this.pause = h("button", { type: "button", class: "ghost", "aria-pressed": "false", onclick: () => this.toggle() }, say("Pause"));
    root.append(h("div", { class: "row spread" }, h("h1", {}, say(title)), h("div", { class: "row" }, this.updated, this.pause)), this.state);
    this.paused = false;
  }

  toggle(paused = !this.paused) {
    this.paused = paused;
    this.pause.setAttribute("aria-pressed", String(this.paused));
    this.pause.textContent = this.paused ? say("Go on") : say("Pause");
  }

  async watch() {
    if (!seen.points.length) this.state.replaceChildren(loading(say("Measuring for some seconds…")));
    else this.draw();
    let wait = 2000;
    // The router waits for show(), so watching goes on beside it.
    poll(1000, async () => {
      if (this.paused || Date.now() < this.next) return;
      this.next = Date.now() + wait - 500;
      wait = await this.look();
    }, this.stop.signal);
  }

  /** Ask once; returns milliseconds until it is worth asking again. */
  async look() {
    let answer;
    try {
      answer = await get("v1/live", { signal: this.signal });
    } catch (error) {
      this.fail(error);
      return 4000;
    }
    if (this.parts) this.state.replaceChildren();
    // Another replica may answer with what it gathered a moment before.
    if (answer.at > (seen.answers.at(-1)?.at ?? 0)) this.note(answer);
    return answer.every * 1000;
  }

  note(answer) {
    seen.answers.push(answer);
    if (seen.answers.length < 2) return;
    const from = seen.answers.find((one) => one.at >= answer.at - WINDOW) ?? seen.answers.at(-2);
    seen.answers = seen.answers.filter((one) => one.at >= from.at);
    seen.points = [...seen.points, difference(answer, from === answer ? seen.answers.at(-2) : from)].slice(-KEPT);
    this.draw();
  }

  fail(error) {
    if (aborted(error) || this.signal.aborted) return;
    if (!(error instanceof ApiError)) throw error;
    if (error.status === 401 || error.status === 403) this.toggle(true);
    this.state.replaceChildren(failing(error, () => {
      this.toggle(false);
      this.next = 0;
    }));
  }

  draw() {
    const answer = seen.answers.at(-1);
    const now = seen.points.at(-1);
    this.parts ??= this.build();
    this.updated.textContent = say("as of {}", clock(now.at));
    const { tiles, picture, requests, times, steps, caches, lost, errors, routes, machines, quiet } = this.parts;
    put(tiles, ...tilesOf(answer, now));
    picture.draw(now);
    const x = seen.points.map((point) => point.at);
    requests.update({ x, series: seriesOf(REQUESTS) });
    times.update({ x, series: seriesOf(TIMES) });
    const rows = now.steps.filter((step) => step.mean !== null).map((step) => ({ label: say(step.step), value: step.mean, note: say("p99 {}", milliseconds(step.p99)) }));
    put(steps, bars({ title: say("Time of each step, mean"), names: say("Step"), format: milliseconds, rows }),
      rows.length ? "" : h("p", { class: "lead" }, say("No step was timed in the last seconds.")));
    put(caches, cachesOf(now));
    put(lost, lostOf(now));
    put(errors, errorsOf(now));
    put(routes, ...[routesOf(now)].flat().filter(Boolean));
    put(machines, machinesOf(now));
    quiet.hidden = answer.requests.some((row) => row.route.startsWith("/v1/rec"));
  }

  build() {
    const { signal } = this;
    const x = seen.points.map((point) => point.at);
    const parts = {
      tiles: h("div", { class: "tiles" }),
      picture: graph(),
      requests: line({ title: say("Per second"), x, series: seriesOf(REQUESTS), time: "clock", kind: "line", format: (value) => number(value, 1), signal }),
      times: line({ title: say("Time of an answer"), x, series: seriesOf(TIMES), time: "clock", format: milliseconds, signal }),
      steps: h("div", { class: "panel" }),
      caches: h("div", { class: "panel" }),
      lost: h("div", { class: "panel" }),
      errors: h("div", { class: "panel" }),
      routes: h("div", { class: "panel" }),
      machines: h("div", { class: "panel" }),
      quiet: h("div", {}, empty(say("Nobody has asked for recommendations yet."), h("a", { href: href("try") }, say("Ask for some in Try")))),
    };
    this.state.replaceChildren();
    this.root.append(parts.tiles, parts.quiet,
      h("section", { class: "panel", "aria-label": say("The graph of stages") }, parts.picture.element),
      h("div", { class: "columns" }, h("div", { class: "panel" }, parts.requests.element), h("div", { class: "panel" }, parts.times.element)),
      h("div", { class: "columns" }, parts.steps, h("div", { class: "stack" }, parts.caches, parts.lost, parts.errors)),
      parts.routes, parts.machines);
    return parts;
  }
}

const REQUESTS = [["Requests", (point) => point.requests], ["Events", (point) => point.events]];
const TIMES = [["Median", (point) => point.times.p50], ["p95", (point) => point.times.p95], ["p99", (point) => point.times.p99]];

const seriesOf = (definitions) => definitions.map(([label, read]) => ({ label: say(label), values: seen.points.map(read) }));

/** Put new content where old one was, as far scrolled as that, and with the keyboard if that had it. */
function put(place, ...content) {
  const scrolled = place.querySelector(".table")?.scrollLeft;
  const kept = place.contains(document.activeElement) ? document.activeElement.matches("a") ? "a" : ".table" : null;
  place.replaceChildren(...content);
  if (scrolled) place.querySelector(".table")?.scrollTo(scrolled, 0);
  if (kept) place.querySelector(kept)?.focus({ preventScroll: true });
}

function tilesOf(answer, now) {
  const { bundle } = answer;
  const tile = (value, name, kind = null) => h("div", { class: `tile ${kind ?? ""}` }, h("b", {}, value), h("span", {}, name));
  const rate = (value) => number(value, value < 10 ? 1 : 0);
  return [
    tile(bundle.id ? h("a", { href: href("quality", [bundle.id]) }, bundle.id) : "–", bundleWords(bundle)),
    tile(rate(now.requests), say("requests a second")),
    tile(rate(now.events), say("events a second")),
    tile(milliseconds(now.times.p50), say("median answer")),
    tile(milliseconds(now.times.p99), say("99% of answers within")),
    tile(percent(now.degraded), say("of answers degraded"), now.degraded > 0 ? "warn" : null),
    tile(percent(now.cached), say("of answers from the cache")),
    tile(rate(now.failed), say("failures a second"), now.failed > 0 ? "bad" : null),
    tile(short(answer.queue), say("requests wait")),
  ];
}

function bundleWords({ age_seconds: age, served_seconds: served }) {
  if (age === null) return say("bundle");
  return say("bundle; trained on events until {} ago, in service for {}", span(age), span(served));
}

/** Seconds in the unit that fits. */
function span(seconds) {
  for (const [size, unit] of [[86_400, "{} d"], [3600, "{} h"], [60, "{} min"]]) {
    if (seconds >= size) return say(unit, number(seconds / size, seconds < 10 * size ? 1 : 0));
  }
  return say("{} s", number(seconds));
}
