// Installed plugins: where each comes from, what it contributes, where that is used, and its parameters.

import { empty, field, h, showState } from "../../dom.js";
import { list, number } from "../../format.js";
import { get } from "../../http.js";
import { say } from "../../i18n.js";
import { note } from "../../router.js";
import { parameters } from "./schema.js";

const STAGES = {
  retriever: "Retriever", encoder: "Encoder", ranker: "Ranker", reranker: "Reranker", filter: "Filter", explainer: "Explainer", item_text: "Item text", dataset: "Data set",
};

/** So few components have the parameters unfolded that were looked for. */
const FEW = 4;

export function showInstalled(place, query, signal) {
  return showState(place, async () => {
    const { plugins } = await get("v1/plugins", { signal });
    if (!plugins.length) return empty(say("No plugin is installed."), h("p", {}, h("code", {}, "pip install 'recserve[standard]'")));
    const words = h("input", { type: "search", value: query.get("q") ?? "", oninput: draw });
    const used = h("input", { type: "checkbox", checked: query.get("used") === "1", onchange: draw });
    const [told, results] = [h("p", { class: "note", role: "status" }), h("div", { class: "stack" })];
    function draw() {
      note("plugins", [], { q: words.value, used: used.checked ? "1" : "" });
      const found = plugins.map((plugin) => ({ ...plugin, components: plugin.components.filter((one) => matches(plugin, one, words.value, used.checked)) }))
        .filter((plugin) => plugin.components.length || (plugin.error && !used.checked));
      told.textContent = say("Components: {}; plugins: {}", number(found.reduce((sum, plugin) => sum + plugin.components.length, 0)), number(found.length));
      const unfolded = found.reduce((sum, plugin) => sum + plugin.components.length, 0) <= FEW ? words.value : "";
      results.replaceChildren(...(found.length ? found.map((plugin) => shown(plugin, unfolded)) : [empty(say("Nothing of that kind is installed."))]));
    }
    draw();
    return [
      h("div", { class: "panel search" }, field(say("Search"), words), h("label", { class: "check" }, used, say("Only what the configuration uses"))), told, results,
    ];
  }, signal);
}

const wordsIn = (text) => text.toLowerCase().split(/\s+/).filter(Boolean);

function matches(plugin, component, words, used) {
  if (used && !component.used.length) return false;
  const scenarios = component.used.map((use) => use.scenario);
  const text = [plugin.name, plugin.distribution, component.name, component.stage, component.summary, ...scenarios, ...namesOf(component)].join(" ").toLowerCase();
  return wordsIn(words).every((word) => text.includes(word));
}

/** Names of a component's parameters. */
const namesOf = (component) => Object.keys(component.parameters.properties ?? {});

/** Tells whether somebody looks for a parameter, by its name. */
const seeker = (words) => (name) => wordsIn(words).some((word) => word.length >= 3 && name.toLowerCase().includes(word));

function shown(plugin, words) {
  return h("section", { class: "panel" },
    h("div", { class: "heading" }, h("h2", {}, plugin.name), h("span", { class: "note" }, `${plugin.distribution} ${plugin.version}`)),
    plugin.error && h("p", { class: "notice bad" }, say("It could not be loaded: {}", plugin.error)),
    plugin.components.map((one) => component(one, seeker(words))));
}

function component(one, sought) {
  const scenarios = [...new Set(one.used.map((use) => use.scenario ?? say("all scenarios")))];
  const count = namesOf(one).length;
  return h("article", { class: "component" },
    h("h3", {}, one.name, " ", h("span", { class: "chip" }, say(STAGES[one.stage] ?? one.stage)), " ",
      one.used.length > 0 && h("span", { class: "chip good" }, say("used by {}", list(scenarios)))),
    one.summary && h("p", {}, one.summary),
    one.needs_vectors && h("p", { class: "note" }, say("Needs a text encoder.")),
    one.used.length > 0 && h("ul", { class: "uses" }, one.used.map((use) => h("li", {}, h("code", {}, use.where), " ",
      Object.keys(use.params).length > 0 && h("code", { class: "muted" }, JSON.stringify(use.params))))),
    count > 0 && h("details", { open: namesOf(one).some(sought) }, h("summary", {}, count === 1 ? say("1 parameter") : say("{} parameters", count)), parameters(one.parameters, say("Parameters of {}", one.name), given(one), sought)),
    one.argument && h("details", {}, h("summary", {}, say("Argument in requests")), h("pre", { tabindex: 0 }, JSON.stringify(one.argument, null, 1))));
}

/** Parameters that some place of the configuration sets, with what it sets. */
function given(one) {
  const found = {};
  for (const use of one.used) for (const [name, value] of Object.entries(use.params)) (found[name] ??= []).push(value);
  return found;
}
