// All experiments, those that run first.

import { empty, h, showState, table } from "../../dom.js";
import { ago, list, percent, when } from "../../format.js";
import { get } from "../../http.js";
import { say } from "../../i18n.js";
import { href } from "../../router.js";

const ORDER = ["running", "created", "stopped"];

export async function showList(root, signal) {
  const place = h("div", { class: "stack" });
  const fresh = h("a", { class: "button primary", href: href("experiments", ["new"]) }, say("New experiment"));
  root.append(h("div", { class: "heading" }, h("h1", {}, say("Experiments")), fresh), place);
  await showState(place, async () => {
    const { experiments } = await get("v1/experiments", { signal });
    if (!experiments.length) {
      return empty(say("There is no experiment yet."), h("p", {}, say("An experiment gives some people another bundle, scenario or parameters, and tells with intervals what that changes.")));
    }
    const rows = experiments.toSorted((one, other) => ORDER.indexOf(one.status.state) - ORDER.indexOf(other.status.state) || other.created - one.created);
    return h("section", { class: "panel" }, table({
      caption: say("Experiments"), hideCaption: true, rows,
      columns: [
        { title: say("Name"), header: true, cell: (one) => [h("a", { href: href("experiments", [one.name]) }, one.name), one.description && h("small", { class: "block" }, one.description)] },
        { title: say("State"), cell: stateOf },
        { title: say("Scenario"), cell: (one) => one.scenario },
        { title: say("Arms"), cell: (one) => list(one.arms.map((arm) => arm.name)) },
        { title: say("Share"), number: true, cell: (one) => percent(one.status.share || one.share, 1) },
        { title: say("Started"), cell: (one) => h("span", { title: when(one.status.started) }, ago(one.status.started)) },
      ],
    }));
  }, signal);
}

/** What has become of an experiment, as a chip. */
export function stateOf({ status }) {
  const [kind, word] = { running: ["good", say("running")], created: ["", say("not started")], stopped: ["warn", say("stopped")] }[status.state];
  return h("span", { class: `chip ${kind}` }, word);
}
