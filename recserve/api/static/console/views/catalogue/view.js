// The catalogue: search and browse items, look at one, and see all of them on a map.

import { h } from "../../dom.js";
import { say } from "../../i18n.js";
import { href } from "../../router.js";
import { showItem } from "./item.js";
import { showMap } from "./map.js";
import { showSearch } from "./search.js";

export const title = "Catalogue";

/** Show the view: `#/catalogue` lists, `#/catalogue/ITEM` is one item, `#/catalogue?show=map` the map. */
export async function show(root, { path, query, signal }) {
  if (path.length) return showItem(root, path.join("/"), signal);
  const map = query.get("show") === "map";
  const link = (name, asked, current) => h("a", { href: href("catalogue", [], asked), "aria-current": current ? "page" : null }, name);
  root.append(
    h("div", { class: "row heading" },
      h("h1", {}, say(title)),
      h("nav", { class: "tabs", "aria-label": say("Ways to look at the catalogue") },
        link(say("List"), {}, !map), link(say("Map"), { show: "map" }, map))));
  return (map ? showMap : showSearch)(root, query, signal);
}
