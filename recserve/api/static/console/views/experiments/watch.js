// One experiment: what it compares, what it has shown so far, its alarms, and starting and stopping it.

import { h, showState, table } from "../../dom.js";
import { ago, number, percent, when } from "../../format.js";
import { aborted, get, poll } from "../../http.js";
import { say } from "../../i18n.js";
import { href } from "../../router.js";
import { start, stop } from "./change.js";
import { stateOf } from "./list.js";
import { alarms, findings } from "./report.js";

const LOOK_MS = 60_000;

export async function showExperiment(root, name, signal) {
  const place = h("div", { class: "stack" });
  root.append(h("p", {}, h("a", { href: href("experiments") }, say("← Experiments"))), h("h1", {}, name), place);
  const path = `v1/experiments/${encodeURIComponent(name)}`;
  const look = async () => {
    const found = await get(path, { signal });
    return [found, found.status.started === null ? null : await get(`${path}/report`, { signal })];
  };
  let running = false;
  const draw = ([found, report]) => {
    running = found.status.state === "running";
    return [
      facts(found, again), report ? alarms(found, report) : null,
      ...(report ? findings(found, report) : [h("section", { class: "panel" }, h("p", {}, say("It has not been started, so nobody has seen its arms.")))]),
      arms(found, again), guardrails(found),
    ].filter(Boolean);
  };
  let drawn = 0;
  const again = () => {
    drawn += 1;
    return showState(place, async () => draw(await look()), signal);
  };
  await again();
  await poll(LOOK_MS, async () => {
    if (!running || signal.aborted || !place.isConnected || place.contains(document.activeElement)) return;
    const before = drawn;
    try {
      const seen = await look();
      // What somebody did meanwhile is newer, and where they are stays as it is.
      if (drawn === before && !place.contains(document.activeElement)) place.replaceChildren(...draw(seen));
    } catch (error) {
      // The next look may be luckier; what is seen stays, with its time on it.
      if (!aborted(error) && error.status === undefined) throw error;
    }
  }, signal);
}

function facts(found, again) {
  const { status } = found;
  const pair = (name, value) => value && [h("dt", {}, name), h("dd", {}, value)];
  const act = (work) => async () => {
    if (await work()) again();
  };
  return h("section", { class: "panel" },
    h("div", { class: "row" }, stateOf(found),
      status.state === "created" && h("button", { type: "button", class: "primary", onclick: act(() => start(found)) }, say("Start")),
      status.state === "running" && status.share < 1 && h("button", { type: "button", onclick: act(() => start(found)) }, say("Take in more")),
      status.state !== "stopped" && h("button", { type: "button", class: "danger", onclick: act(() => stop(found)) }, say("Stop")),
      h("a", { class: "button", href: href("experiments", [found.name, "copy"]) }, say("Another one like it"))),
    found.description && h("p", {}, found.description),
    status.reason && h("p", { class: "notice warn" }, say("Stopped: {}", status.reason)),
    h("dl", { class: "facts" },
      pair(say("Scenario"), found.scenario),
      pair(say("Kind"), found.kind === "split" ? say("each user gets one arm") : say("pages have items of both arms")),
      pair(say("Share of users"), percent(status.share || found.share, 1)),
      found.holdout > 0 && pair(say("Held out"), percent(found.holdout, 1)),
      found.layer !== found.scenario && pair(say("Layer"), found.layer),
      pair(say("Started"), status.started && `${when(status.started)} (${ago(status.started)})`),
      pair(say("Stopped on"), status.stopped && when(status.stopped))));
}

function arms(found, again) {
  const { status } = found;
  const halt = (arm) => async () => {
    if (await stop(found, arm.name)) again();
  };
  return h("section", { class: "panel" }, h("h2", {}, say("Arms")), table({
    caption: say("Arms"), hideCaption: true, rows: found.arms,
    columns: [
      { title: say("Name"), header: true, cell: (arm) => [arm.name, arm === found.arms[0] && h("small", {}, " ", say("the others are compared with it"))] },
      { title: say("What it changes"), cell: changes },
      { title: say("Share"), number: true, cell: (arm) => percent(arm.share, 1) },
      {
        title: say("State"), cell: (arm) => {
          if (status.stopped_arms[arm.name] !== undefined) return [h("span", { class: "chip bad" }, say("stopped")), h("small", { class: "block" }, status.stopped_arms[arm.name])];
          if (status.state !== "running") return "–";
          return [h("span", { class: "chip good" }, arm.shadow ? say("in the shadow") : say("served")), " ",
            arm !== found.arms[0] && h("button", { type: "button", class: "link", onclick: halt(arm) }, say("Stop {}", arm.name))];
        },
      },
    ],
  }));
}

function changes(arm) {
  if (arm.bundle) return [say("bundle"), " ", h("a", { href: href("quality", [arm.bundle]) }, arm.bundle)];
  if (arm.scenario) return say("scenario {}", arm.scenario);
  if (arm.parameters) return h("code", {}, JSON.stringify(arm.parameters));
  return say("nothing: as it is configured");
}

function guardrails(found) {
  const rails = found.guardrails;
  const share = (value) => (value === null ? say("no bound") : `+${percent(value, 1)}`);
  return h("section", { class: "panel" }, h("details", {}, h("summary", {}, say("Guardrails: when an arm is stopped by itself")),
    h("p", { class: "note" }, say("By how much its bad answers may exceed those of the first arm, among the last {} of each.", number(rails.answers))),
    h("dl", { class: "facts" },
      h("dt", {}, say("Answers that lost something")), h("dd", {}, share(rails.degraded)),
      h("dt", {}, say("Answers over {} ms", number(rails.slow_ms))), h("dd", {}, share(rails.slow)),
      h("dt", {}, say("Dislikes for each answer")), h("dd", {}, share(rails.dislikes)))));
}
