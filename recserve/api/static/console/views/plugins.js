// What is installed, with every parameter explained, and the configuration that uses it.

import { h } from "../dom.js";
import { say } from "../i18n.js";
import { href } from "../router.js";
import { showConfiguration } from "./plugins/configuration.js";
import { showInstalled } from "./plugins/installed.js";

export const title = "Plugins";

const PARTS = [["", "Installed"], ["config", "Configuration"]];

/** `#/plugins`, `#/plugins?q=words`, `#/plugins/config`. */
export async function show(root, { path, query, signal }) {
  const [part = ""] = path;
  const place = h("div", { class: "stack" });
  root.append(
    h("div", { class: "heading" }, h("h1", {}, say("Plugins")),
      h("nav", { class: "tabs", "aria-label": say("Parts of this view") }, PARTS.map(([name, label]) => h("a", { href: href("plugins", name ? [name] : []), "aria-current": name === part && "page" }, say(label))))),
    place);
  if (part === "config") await showConfiguration(place, signal);
  else await showInstalled(place, query, signal);
}
