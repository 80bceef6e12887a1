// The form of Try: whom to recommend for, and what to compare the answer with.

import { field, h } from "../../dom.js";
import { say } from "../../i18n.js";

/** Before the id of a bundle among what can be compared with; no scenario is called so. */
const BUNDLE = "bundle:";
const group = (label, options) => h("optgroup", { label }, options.map(([value, text]) => h("option", { value }, text)));
const WIDE = matchMedia("(min-width: 861px)");

/**
 * The form, and ways to read it. On a narrow screen it folds into one line above the list.
 *
 * `onask()` is called when something changed that asks anew; `onrestart()` when the session starts over.
 */
export function form({ signal, onask, onrestart }) {
  const input = (name, attributes) => h("input", { id: name, name, maxlength: 10_000, spellcheck: "false", ...attributes });
  const users = h("datalist", { id: "users" });
  const user = input("user", { list: "users", placeholder: say("any id, known or new") });
  const query = input("query", { type: "search", maxlength: 4000, placeholder: say("free text, any language") });
  const item = input("item", { placeholder: say("an item id") });
  const scenario = h("select", { id: "scenario", name: "scenario" });
  const beside = h("select", { id: "beside", name: "beside" });
  const who = (value, label) => h("label", {}, h("input", { type: "radio", name: "who", value, checked: value === "user" }), h("span", {}, label));

  const userField = h("div", { id: "user-field" }, field(say("User id"), user), users);
  const note = h("p", { class: "note", id: "session-note" }, say("Clicks travel with each request as a session. Nothing is stored."));
  const scenarioField = field(say("Scenario"), scenario);
  const besideField = field(say("Compare with"), beside);
  const restart = h("button", { type: "button", id: "restart", class: "ghost" }, say("Start the session over"));
  const made = h("form", { id: "ask", autocomplete: "off" },
    h("fieldset", { class: "segmented" },
      h("legend", {}, say("Recommend for")), who("user", say("A user")), who("session", say("An anonymous visitor"))),
    userField, note,
    field(say("In the mood for"), query, { optional: true }),
    field(say("Like the item"), item, { optional: true }),
    scenarioField, besideField,
    h("button", { type: "submit", class: "primary" }, say("Recommend")), restart);
  const summary = h("summary", {}, say("What to ask"));
  const element = h("details", { class: "panel ask", open: WIDE.matches }, summary, made);

  const isUser = () => made.elements.who.value === "user";
  const settle = () => {
    userField.hidden = !isUser();
    note.hidden = restart.hidden = isUser();
    const asked = [isUser() ? user.value || say("A user") : say("An anonymous visitor"), query.value, item.value, scenario.options.length > 1 && scenario.value];
    summary.textContent = say("For {}", asked.filter(Boolean).join(" · "));
  };
  WIDE.addEventListener("change", () => { element.open = WIDE.matches; }, { signal });
  made.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!WIDE.matches) element.open = false;
    onask();
  });
  made.addEventListener("change", (event) => {
    settle();
    if (event.target !== query && event.target !== item) onask();
  });
  restart.addEventListener("click", onrestart);

  return {
    element,
    settle,
    isUser,
    user: () => user.value,
    /** What to compare with, as fields of the question; null for nothing. */
    beside() {
      if (!beside.value) return null;
      return beside.value.startsWith(BUNDLE) ? { bundle: beside.value.slice(BUNDLE.length) } : { scenario: beside.value };
    },
    /** Fill in what the server can be asked, and what `asked` (of the address, else of the last time) says. */
    begin({ sample_users: samples, scenarios, default_scenario: standard }, asked) {
      users.replaceChildren(...samples.map((one) => h("option", { value: one })));
      user.value = asked.user ?? samples[0] ?? "";
      if (asked.who === "session" || (!samples.length && !asked.user)) made.elements.who.value = "session";
      query.value = asked.query ?? "";
      item.value = asked.item ?? "";
      scenario.replaceChildren(...scenarios.map((name) => h("option", { value: name }, name)));
      scenario.value = scenarios.includes(asked.scenario) ? asked.scenario : standard;
      scenarioField.hidden = scenarios.length < 2;
      settle();
    },
    /** Offer what the answer can be compared with: scenarios, and loaded bundles beside the current one. */
    offer(scenarios, bundles, chosen) {
      const others = bundles.map((id) => [`${BUNDLE}${id}`, id]);
      const alternatives = scenarios.length > 1 ? scenarios.map((name) => [name, name]) : [];
      beside.replaceChildren(h("option", { value: "" }, say("nothing")),
        ...(alternatives.length ? [group(say("Scenario"), alternatives)] : []),
        ...(others.length ? [group(say("Bundle"), others)] : []));
      const known = [...alternatives, ...others];
      beside.value = known.some(([value]) => value === chosen) ? chosen : "";
      besideField.hidden = !known.length;
    },
    /** What is asked, in the fields of the form; of the address and for the next visit. */
    asked() {
      return {
        who: isUser() ? null : "session", user: isUser() ? user.value : null, query: query.value.trim(), item: item.value.trim(),
        scenario: scenario.options.length > 1 ? scenario.value : null, beside: beside.value,
      };
    },
  };
}
