// Why an item is in an answer, as far as the answer tells.

import { h, table } from "../../dom.js";
import { fixed, number } from "../../format.js";
import { say } from "../../i18n.js";
import { href } from "../../router.js";
import { sentence } from "./words.js";

/** What stands behind an item, unfolded on demand. */
export function because(item, title) {
  return h("details", { class: "because" },
    h("summary", { "aria-label": say("Why is {} here?", title) }, say("Why?")),
    proposals(item, title),
    h("dl", {},
      evidence(item.details),
      h("dt", {}, say("In words")), h("dd", {}, item.explanation ?? "–"),
      h("dt", {}, say("Final score")), h("dd", {}, fixed(item.score, 4)),
      h("dt", {}, say("Item id")), h("dd", {}, h("code", {}, item.item_id))));
}

/** Which retrievers proposed it, and what each thought of it. */
function proposals({ details, sources }, title) {
  if (!sources.length) return h("p", {}, say("No retriever: it was asked for or filled in."));
  return table({
    caption: say("Retrievers that proposed {}", title), hideCaption: true, rows: details.proposals,
    columns: [
      { title: say("Retriever"), header: true, cell: (row) => row.retriever },
      { title: say("its place"), number: true, cell: (row) => `#${number(row.place)}` },
      { title: say("its score"), number: true, cell: (row) => fixed(row.score, 3) },
    ],
  });
}

/** What of the history led to it. */
function evidence({ evidence: id, evidence_title: title, evidence_event: event, evidence_text: text }) {
  if (id === null && text === null) return null;
  const what = id === null ? `“${text}”` : h("a", { href: href("catalogue", [id]) }, title ?? id);
  return [h("dt", {}, say("Led to by")), h("dd", {}, what, event && ` (${sentence(event).toLowerCase()})`)];
}
