// The form of a new experiment. The server says what is wrong with it, and each mistake is shown where it is.

import { field, h, showState, toast } from "../../dom.js";
import { about, get, post } from "../../http.js";
import { say } from "../../i18n.js";
import { go, href } from "../../router.js";
import { startAsDefined as start } from "./change.js";
import { armFields } from "./arm.js";
import { mistakesIn, NAME } from "./mistakes.js";

const RAILS = [["degraded", "Answers that lost something, in percent"], ["slow", "Slow answers, in percent"], ["dislikes", "Dislikes for each answer, in percent"]];

export async function showForm(root, { like, query, signal }) {
  root.append(h("p", {}, h("a", { href: href("experiments") }, say("← Experiments"))), h("h1", {}, say("New experiment")));
  const place = h("div");
  root.append(place);
  await showState(place, async () => {
    const [known, model] = await Promise.all([choices(signal), like ? get(`v1/experiments/${encodeURIComponent(like)}`, { signal }) : null]);
    return form(known, model ? again(model) : fresh(known, query), signal);
  }, signal);
  if (!signal.aborted) place.querySelector("input")?.focus({ preventScroll: true });
}

/** What a definition can name: scenarios with their retrievers, and bundles. */
async function choices(signal) {
  const [{ scenarios, default_scenario: first }, { plugins }, { bundles }, { experiments }] = await Promise.all(
    [about(), get("v1/plugins", { signal }), get("v1/bundles", { signal }), get("v1/experiments", { signal })]);
  const retrievers = Object.fromEntries(scenarios.map((name) => [name, []]));
  for (const component of plugins.flatMap((plugin) => plugin.components)) {
    for (const use of component.used) {
      if (use.where.startsWith(`scenarios.${use.scenario}.retrievers[`)) retrievers[use.scenario]?.push(component.name);
    }
  }
  // One that runs over a scenario shares its layer and holdout with those that begin beside it.
  const beside = (scenario) => experiments.find((one) => one.status.state === "running" && one.scenario === scenario) ?? { layer: scenario, holdout: 0 };
  return { scenarios, first, retrievers, beside, bundles: bundles.filter((one) => one.present) };
}

function fresh(known, query) {
  const bundle = query.get("bundle");
  const other = known.bundles.some((one) => one.bundle_id === bundle) ? { bundle } : {};
  return { name: other.bundle ? `bundle-${bundle}` : "", description: "", scenario: known.first, kind: "split", share: 0.1, holdout: known.beside(known.first).holdout, layer: known.beside(known.first).layer, guardrails: {}, arms: [{ name: "control" }, { name: "other", ...other }] };
}

/** An experiment that was defined before, as a model of a new one; shares that were not given are left out again. */
function again(model) {
  const shown = model.arms.filter((arm) => !arm.shadow);
  const equal = shown.every((arm) => Math.abs(arm.share - 1 / shown.length) < 1e-6);
  return { ...model, arms: model.arms.map((arm) => ({ ...arm, share: (arm.shadow ? arm.share === 1 : equal) ? null : arm.share })) };
}

function form(known, model, signal) {
  const text = (name, value, more = {}) => h("input", { name, value: value ?? "", ...more });
  const percentage = (name, value, more = {}) => text(name, value === null || value === undefined ? "" : +(100 * value).toFixed(4), { type: "number", min: 0, max: 100, step: "any", ...more });
  const select = (name, options, chosen, more = {}) => h("select", { name, ...more }, options.map(([value, label]) => h("option", { value, selected: value === chosen }, label)));
  const scenario = select("scenario", known.scenarios.map((name) => [name, name]), model.scenario, { onchange: moved });
  function moved() {
    const { layer, holdout } = known.beside(scenario.value);
    made.elements.layer.value = layer === scenario.value ? "" : layer;
    made.elements.holdout.value = 100 * holdout;
    arms.forEach((arm) => arm.refresh());
  }
  const context = { known, scenario: () => scenario.value, select, text, percentage };
  const list = h("div", { class: "stack" });
  let arms = [];
  const put = () => list.replaceChildren(...arms.map((arm, index) => arm.element(index, arms.length > 2 ? () => remove(arm) : null)));
  const add = (one) => {
    arms = [...arms, armFields(one, context)];
    put();
  };
  const remove = (arm) => {
    arms = arms.filter((one) => one !== arm);
    put();
  };
  for (const one of model.arms) add(one);
  const rails = model.guardrails;
  const made = h("form", { class: "define", autocomplete: "off", novalidate: true },
    h("section", { class: "panel" },
      h("div", { class: "fields" },
        field(say("Name"), text("name", model.created ? "" : model.name, { required: true, pattern: NAME, maxlength: 100, spellcheck: false }), { note: say("Letters, digits, ., - and _; for good.") }),
        field(say("Scenario"), scenario, { note: say("Whose requests it takes in.") }),
        field(say("Kind"), select("kind", [["split", say("each user gets one arm")], ["interleaving", say("pages have items of both arms")]], model.kind)),
        field(say("Share of users, in percent"), percentage("share", model.share, { required: true, min: 0.01 })),
        field(say("Held out, in percent"), percentage("holdout", model.holdout), { note: say("Kept out of all experiments of the layer.") }),
        field(say("Layer"), text("layer", model.layer && model.layer !== model.scenario ? model.layer : "", { pattern: NAME, spellcheck: false }), { optional: true, note: say("Experiments of one layer share no user.") })),
      field(say("What it is about"), h("textarea", { name: "description", rows: 2, maxlength: 10_000, value: model.description }), { optional: true })),
    h("section", { class: "panel" }, h("h2", {}, say("Arms")), h("p", { class: "note" }, say("The first one is what the others are compared with.")), list,
      h("div", { class: "row" }, h("button", { type: "button", onclick: () => add({ name: "" }) }, say("Add an arm")))),
    h("section", { class: "panel" }, h("details", {}, h("summary", {}, say("Guardrails: when an arm is stopped by itself")),
      h("p", { class: "note" }, say("By how much its bad answers may exceed those of the first arm; empty for no bound.")),
      h("div", { class: "fields" },
        RAILS.map(([name, label]) => field(say(label), percentage(`guardrails.${name}`, rails[name] === undefined ? 0.1 : rails[name]))),
        field(say("An answer is slow over, in milliseconds"), text("guardrails.slow_ms", rails.slow_ms ?? 500, { type: "number", min: 1, step: "any", required: true })),
        field(say("Answers of an arm that are looked at"), text("guardrails.answers", rails.answers ?? 200, { type: "number", min: 10, max: 100_000, required: true }))))),
    h("p", { class: "note" }, say("It does not run before it is started, and its definition never changes.")),
    h("div", { class: "row" }, h("button", { type: "submit", class: "primary" }, say("Create")),
      h("button", { type: "submit", value: "start" }, say("Create and start")), h("a", { href: href("experiments") }, say("Cancel"))));

  made.addEventListener("submit", async (event) => {
    event.preventDefault();
    const mistakes = mistakesIn(made);
    mistakes.clear();
    if (!mistakes.ownAreFine()) return;
    lock(true);
    try {
      const created = await post("v1/experiments", definition(made, arms), { signal });
      // Its own page says what it met that could not be started, and offers to start it once more.
      if (event.submitter?.value === "start") await start(created);
      else toast(say("{} is created; start it when you like.", created.name));
      if (!signal.aborted) go("experiments", [created.name]);
    } catch (error) {
      if (signal.aborted) return;
      if (error.status === undefined && !(error instanceof SyntaxError)) throw error;
      lock(false);
      mistakes.show(error.field, error.message);
    }
  });
  // A second press while the first one is on its way would make another one.
  function lock(on) {
    for (const button of made.querySelectorAll("button[type=submit]")) button.disabled = on;
  }
  return made;
}

/** What the form asks for. Throws SyntaxError with a `field` where a text is no JSON. */
function definition(made, arms) {
  const value = (name) => made.elements.namedItem(name).value.trim();
  const share = (name) => (value(name) === "" ? null : Number(value(name)) / 100);
  return {
    name: value("name"), description: value("description"), scenario: value("scenario"), kind: value("kind"),
    share: share("share"), holdout: share("holdout") ?? 0, ...(value("layer") ? { layer: value("layer") } : {}),
    arms: arms.map((arm, index) => arm.definition(index)),
    guardrails: {
      ...Object.fromEntries(RAILS.map(([name]) => [name, share(`guardrails.${name}`)])),
      slow_ms: Number(value("guardrails.slow_ms")), answers: Number(value("guardrails.answers")),
    },
  };
}
