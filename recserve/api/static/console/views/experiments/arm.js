// The fields of one arm of a new experiment.

import { field, h } from "../../dom.js";
import { say } from "../../i18n.js";
import { NAME } from "./mistakes.js";

/**
 * The fields of an arm.
 *
 * `context`: what can be named, the chosen scenario, and makers of controls. Returns `element(index, remove)`, the
 * fieldset under its place in the list; `refresh()` after the scenario changed; and `definition(index)`, what they say.
 */
export function armFields(arm, { known, scenario, select, text, percentage }) {
  const kind = arm.bundle ? "bundle" : arm.scenario ? "scenario" : arm.parameters ? "parameters" : "nothing";
  const named = {
    name: text("", arm.name, { required: true, pattern: NAME, maxlength: 100, spellcheck: false }),
    share: percentage("", arm.share ?? null, { min: 0.01 }),
    kind: select("", [["nothing", say("nothing: as it is configured")], ["bundle", say("another bundle")], ["scenario", say("another scenario")], ["parameters", say("other parameters")]], kind, { onchange: refresh }),
    shadow: h("input", { type: "checkbox", checked: Boolean(arm.shadow) }),
  };
  const special = h("div", { class: "fields" });
  let parts = {};
  let place = 0;

  function refresh() {
    parts = makers[named.kind.value]();
    special.replaceChildren(...Object.values(parts).map((part) => part.element));
    name(place);
  }

  const one = (control, label, options) => ({ control, element: field(label, control, options) });
  const parameters = arm.parameters ?? {};
  const makers = {
    nothing: () => ({}),
    bundle: () => ({ bundle: one(select("", known.bundles.map(({ bundle_id: id, current }) => [id, current ? say("{} (in service)", id) : id]), arm.bundle), say("Bundle")) }),
    scenario: () => ({ scenario: one(select("", known.scenarios.map((other) => [other, other]), arm.scenario), say("Scenario")) }),
    parameters: () => ({
      ...Object.fromEntries(known.retrievers[scenario()].map((retriever) => [`parameters.retrievers.${retriever}`,
        one(text("", parameters.retrievers?.[retriever]?.weight, { type: "number", min: 0, step: "any" }), say("Weight of {}", retriever), { optional: true, note: say("0 leaves it out.") })])),
      "parameters.budget": one(text("", parameters.budget, { type: "number", min: 1, max: 10_000 }), say("Candidates for the ranker"), { optional: true }),
      "parameters.ranker": one(select("", [["", say("as it is configured")], ["false", say("without")]], parameters.ranker === false ? "false" : ""), say("Ranker")),
      "parameters.seen": one(select("", [["", say("as it is configured")], ["exclude", say("never again")], ["decay", say("lower the more recent")], ["allow", say("as good as any")]], parameters.seen ?? ""), say("Items of the user's history")),
      "parameters.rules": one(h("textarea", { rows: 2, spellcheck: false, value: parameters.rules ? JSON.stringify(parameters.rules) : "" }), say("Rules, as JSON"), { optional: true, note: say("Name of a reranker: its parameters, or false.") }),
    }),
  };

  /** Name the controls by the arm's place, as the request body has it. */
  function name(index) {
    place = index;
    const all = { ...named, ...Object.fromEntries(Object.entries(parts).map(([part, { control }]) => [part, control])) };
    for (const [part, control] of Object.entries(all)) if (part !== "kind") control.name = `arms[${index}].${part}`;
  }

  const legend = h("legend");
  const removal = h("button", { type: "button", class: "danger" }, say("Remove this arm"));
  let onremove = null;
  removal.addEventListener("click", () => onremove?.());
  const element = h("fieldset", { class: "arm" }, legend,
    h("div", { class: "fields" },
      field(say("Name"), named.name), field(say("What it changes"), named.kind),
      field(say("Share of those in it, in percent"), named.share, { optional: true, note: say("Of every arm, or of none: then they are equal.") })),
    special,
    h("div", { class: "row" }, h("label", { class: "check" }, named.shadow, say("In the shadow: computed and logged, shown to nobody")), removal));
  refresh();

  return {
    refresh,
    element(index, remove) {
      name(index);
      legend.textContent = index === 0 ? say("Arm 1, what the others are compared with") : say("Arm {}", index + 1);
      onremove = remove;
      removal.hidden = remove === null;
      return element;
    },
    definition(index) {
      const value = (part) => parts[part].control.value.trim();
      const made = { name: named.name.value.trim() };
      if (named.share.value !== "") made.share = Number(named.share.value) / 100;
      if (named.shadow.checked) made.shadow = true;
      if (named.kind.value === "bundle") made.bundle = value("bundle");
      if (named.kind.value === "scenario") made.scenario = value("scenario");
      if (named.kind.value === "parameters") made.parameters = changed(value, index);
      return made;
    },
  };

  function changed(value, index) {
    // What there is no field for stays as the experiment had it that this one is like.
    const { budget, ranker, seen, rules, retrievers = {}, ...made } = parameters;
    for (const [name, { candidates }] of Object.entries(retrievers)) if (candidates) (made.retrievers ??= {})[name] = { candidates };
    for (const part of Object.keys(parts)) {
      const given = value(part);
      if (given === "") continue;
      const key = part.replace("parameters.", "");
      if (key.startsWith("retrievers.")) {
        const name = key.replace("retrievers.", "");
        (made.retrievers ??= {})[name] = { ...made.retrievers[name], weight: Number(given) };
      }
      else if (key === "budget") made.budget = Number(given);
      else if (key === "ranker") made.ranker = false;
      else if (key === "rules") made.rules = parsed(given, `arms[${index}].parameters.rules`);
      else made[key] = given;
    }
    return made;
  }
}

function parsed(text, where) {
  try {
    return JSON.parse(text);
  } catch {
    throw Object.assign(new SyntaxError(say("This is no JSON.")), { field: where });
  }
}
