// Hash routes: `#/catalogue/ITEM?q=words` shows the view "catalogue" with path ["ITEM"] and query q.

import { about, ApiError } from "./http.js";
import { failing, h, loading } from "./dom.js";
import { say } from "./i18n.js";

/** Views in the order of the navigation: name, title, module. Each has styles/NAME.css and locales/zh/NAME.js. */
export const VIEWS = [
  ["live", "Live", () => import("./views/live/view.js")],
  ["try", "Try", () => import("./views/try/view.js")],
  ["catalogue", "Catalogue", () => import("./views/catalogue/view.js")],
  ["people", "People", () => import("./views/people/view.js")],
  ["quality", "Quality", () => import("./views/quality.js")],
  ["experiments", "Experiments", () => import("./views/experiments.js")],
  ["plugins", "Plugins", () => import("./views/plugins.js")],
];

let open = null;

/** The address of a view; parts of the path may hold any characters. */
export function href(name, path = [], query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const asked = given.length ? `?${new URLSearchParams(given)}` : "";
  return `#/${[name, ...path].map(encodeURIComponent).join("/")}${asked}`;
}

/** Go to a view. */
export function go(name, path = [], query = {}) {
  location.hash = href(name, path, query);
}

/** Let the address say what the open view shows by now, without opening it anew; Back still leaves the view. */
export function note(name, path = [], query = {}) {
  history.replaceState(null, "", href(name, path, query));
}

/** Name, path and query of a hash; the name is "" for the start. */
export function parse(hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  const [name, ...rest] = path.split("/").map(decode);
  return { name, path: rest.filter((part) => part !== ""), query: new URLSearchParams(query) };
}

function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // typed by hand
  }
}

/** Where a person starts: with recommendations, or, if their key is not good for these, with how the server does. */
async function start() {
  try {
    await about({ ask: false }); // the view asks for a key if there must be one
  } catch (error) {
    if (error instanceof ApiError && error.status === 403) return "live";
    if (!(error instanceof ApiError)) throw error;
  }
  return "try";
}

/** Show what the address says, now and whenever it changes. */
export async function follow() {
  const navigation = document.getElementById("views");
  navigation.replaceChildren(...VIEWS.map(([name, title]) => h("li", {}, h("a", { href: href(name), dataset: { view: name } }, say(title)))));
  window.addEventListener("hashchange", () => show(true));
  await show(false);
}

/** Show the open view anew, in the language chosen by now. */
export async function refresh() {
  for (const [name, title] of VIEWS) document.querySelector(`#views [data-view="${name}"]`).textContent = say(title);
  await show(false);
}

async function show(focus) {
  const main = document.getElementById("view");
  open?.abort();
  // A question about what is no longer shown has no answer.
  for (const asked of document.querySelectorAll("dialog.panel[open]:not(#key-dialog)")) asked.close("");
  const { signal } = (open = new AbortController());
  const { name: asked, path, query } = parse(location.hash);
  const name = asked || await start();
  if (signal.aborted) return;
  const view = VIEWS.find(([one]) => one === name);
  for (const link of document.querySelectorAll("#views a")) {
    if (link.dataset.view === name) {
      link.setAttribute("aria-current", "page");
      link.scrollIntoView({ block: "nearest", inline: "center" });
    } else link.removeAttribute("aria-current");
  }
  const root = h("div", { class: `view ${view ? name : "unknown"}` });
  main.replaceChildren(root);
  if (focus) main.focus({ preventScroll: true });
  if (!view) {
    root.append(h("h1", {}, say("There is no such view.")), h("p", {}, h("a", { href: "#/" }, say("To the start"))));
    return;
  }
  document.title = `${say(view[1])} · recserve`;
  root.append(loading());
  try {
    const [module] = await Promise.all([view[2](), style(name)]);
    if (signal.aborted) return;
    root.replaceChildren();
    await module.show(root, { path, query, signal });
  } catch (error) {
    if (signal.aborted) return;
    // A view handles what its calls may meet; here are its faults, and a server that went away before its module came.
    console.error(error);
    root.replaceChildren(failing(error, () => show(false)));
  }
}

const styles = new Map();

/** The style sheet of a view, loaded before the view is seen. */
function style(name) {
  if (!styles.has(name)) {
    styles.set(name, new Promise((resolve) => {
      document.head.append(h("link", { rel: "stylesheet", href: `static/styles/${name}.css`, onload: resolve, onerror: resolve }));
    }));
  }
  return styles.get(name);
}
