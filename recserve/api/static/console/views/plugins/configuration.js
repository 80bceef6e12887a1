// The configuration: shown without secrets, changed as text, checked and compared by the server, applied by whoever deploys it.

import { failing, field, h, showState, table } from "../../dom.js";
import { aborted, get, post } from "../../http.js";
import { say } from "../../i18n.js";

const QUIET_MS = 700;

export function showConfiguration(place, signal) {
  return showState(place, async () => editor(await get("v1/config", { signal }), signal), signal);
}

function editor(shown, signal) {
  const text = h("textarea", { class: "yaml", rows: 22, spellcheck: false, autocapitalize: "off", value: shown.text, "aria-describedby": "config-lead" });
  const result = h("div", { class: "result", "aria-live": "polite" }, h("p", { class: "note" }, say("Change something, or press Check.")));
  const restore = h("button", { type: "button", class: "ghost", disabled: true, onclick: () => { text.value = shown.text; changed(); } }, say("As it was"));
  let waiting = null;
  let asked = null;

  function changed() {
    restore.disabled = text.value === shown.text;
    clearTimeout(waiting);
    waiting = setTimeout(check, QUIET_MS);
  }

  async function check() {
    clearTimeout(waiting);
    asked?.abort();
    asked = new AbortController();
    const { signal: mine } = asked;
    try {
      const found = await post("v1/config/validate", { text: text.value }, { signal: mine });
      result.replaceChildren(...told(found, text));
    } catch (error) {
      if (aborted(error)) return;
      if (error.status === undefined) throw error;
      result.replaceChildren(failing(error, check));
    }
  }

  signal.addEventListener("abort", () => {
    clearTimeout(waiting);
    asked?.abort();
  });
  text.addEventListener("input", changed);
  return [
    h("p", { class: "lead", id: "config-lead" }, say("What this server runs with. Change the text and see what that would do: nothing is written or applied here. A server gets its configuration from whoever deploys it, the same on every machine.")),
    shown.masked && h("p", { class: "notice warn" }, say("Secrets are shown as ***. Left as they are they stand for what they are.")),
    h("div", { class: "columns" },
      h("section", { class: "panel" }, field(say("Configuration, as YAML"), text), h("div", { class: "row" }, h("button", { type: "button", class: "primary", onclick: check }, say("Check")), restore)),
      h("section", { class: "panel" }, h("h2", {}, say("What it would do")), result)),
  ].filter(Boolean);
}

function told(found, text) {
  if (!found.valid) {
    return [
      h("p", {}, h("span", { class: "chip bad" }, found.mistakes.length === 1 ? say("1 mistake") : say("{} mistakes", found.mistakes.length))),
      h("ol", { class: "mistakes" }, found.mistakes.map((one) => h("li", {}, one.field && h("code", {}, one.field), one.field && " ", one.message))),
      difference(found.diff),
    ];
  }
  const needs = { nothing: say("It changes nothing."), restart: say("Servers follow once they are started anew with it."), training: say("Servers need a bundle that is trained with it: train, then start them anew.") }[found.needs];
  return [
    h("p", {}, h("span", { class: "chip good" }, say("valid")), " ", needs),
    changes(found.changes), difference(found.diff),
    found.needs !== "nothing" && steps(found, text),
  ].filter(Boolean);
}

function changes(rows) {
  if (!rows.length) return null;
  const value = (one) => (one === null ? "–" : h("code", {}, JSON.stringify(one)));
  return table({
    caption: say("Changes"), hideCaption: true, rows,
    columns: [
      { title: say("Setting"), header: true, cell: (row) => h("code", {}, row.key) },
      { title: say("Before"), cell: (row) => value(row.before) }, { title: say("After"), cell: (row) => value(row.after) },
    ],
  });
}

function difference(diff) {
  if (!diff) return null;
  const kind = (line) => (/^(\+\+\+|---|@@)/.test(line) ? "head" : line.startsWith("+") ? "plus" : line.startsWith("-") ? "minus" : "");
  return h("details", { open: true }, h("summary", {}, say("Difference")),
    h("pre", { class: "diff", tabindex: 0, role: "region", "aria-label": say("Difference") }, diff.split("\n").map((line) => h("span", { class: kind(line) }, `${line}\n`))));
}

function steps(found, text) {
  const save = () => {
    const link = h("a", { href: URL.createObjectURL(new Blob([text.value], { type: "application/yaml" })), download: "recserve.yaml" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  };
  const commands = [found.needs === "training" && "recserve train --config recserve.yaml --no-promote", found.needs === "training" && "recserve promote --config recserve.yaml", "recserve serve --config recserve.yaml"].filter(Boolean);
  return h("div", { class: "steps" },
    h("p", {}, h("button", { type: "button", onclick: save }, say("Save it as recserve.yaml"))),
    found.masked && h("p", { class: "notice warn" }, say("It holds ***: put the secrets back before you use it.")),
    h("p", { class: "note" }, say("Then, where the server is deployed:")),
    h("pre", { tabindex: 0 }, commands.join("\n")));
}
