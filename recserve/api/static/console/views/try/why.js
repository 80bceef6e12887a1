// Why an item is in an answer, as far as the answer tells.

import { h } from "../../dom.js";
import { fixed } from "../../format.js";
import { say } from "../../i18n.js";

/** What stands behind an item, unfolded on demand. */
export function because(item, title) {
  const sources = item.sources.length
    ? h("ol", { class: "sources" }, item.sources.map((name) => h("li", {}, name)))
    : h("p", {}, say("No retriever: it was asked for or filled in."));
  return h("details", { class: "because" },
    h("summary", { "aria-label": say("Why is {} here?", title) }, say("Why?")),
    h("dl", {},
      h("dt", {}, say("In words")), h("dd", {}, item.explanation ?? "–"),
      h("dt", {}, say("Proposed by, strongest first")), h("dd", {}, sources),
      h("dt", {}, say("Final score")), h("dd", {}, fixed(item.score, 4)),
      h("dt", {}, say("Place")), h("dd", {}, String(item.rank)),
      h("dt", {}, say("Item id")), h("dd", {}, h("code", {}, item.item_id))));
}
