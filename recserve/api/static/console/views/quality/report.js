// The page of an offline report, in a frame that runs nothing.

import { failing, h, loading, toast } from "../../dom.js";
import { download, get } from "../../http.js";
import { say } from "../../i18n.js";

/**
 * Show a bundle's report in `place`.
 *
 * A frame's own request carries no key, so the page is asked for here and put into an empty one (`report-frame`), whose
 * policy lets its styles in and no script run.
 */
export function showReport(place, bundleId, signal) {
  const path = `v1/bundles/${encodeURIComponent(bundleId)}/report`;
  const save = async () => {
    try {
      await download(path, `${bundleId}.html`, { signal });
    } catch (error) {
      if (signal.aborted) return;
      if (error.status === undefined) throw error;
      toast(error.message, "bad");
    }
  };
  const show = async () => {
    place.replaceChildren(loading());
    try {
      const text = await (await get(path, { signal, raw: true })).text();
      if (signal.aborted) return;
      place.replaceChildren(framed(text, say("Offline report of {}", bundleId)),
        h("p", {}, h("button", { type: "button", onclick: save }, say("Save the report"))));
    } catch (error) {
      if (signal.aborted) return;
      if (error.status === undefined) throw error;
      place.replaceChildren(failing(error, show));
    }
  };
  show();
  return null;
}

function framed(text, title) {
  const frame = h("iframe", { class: "report", title, sandbox: "allow-same-origin", src: "report-frame" });
  frame.addEventListener("load", () => {
    // Parsed inside, by the frame's policy, not by this page's.
    const inside = frame.contentDocument;
    if (!inside) return; // the server went away before the empty frame came: the browser says so in it
    inside.body.replaceChildren(inside.createRange().createContextualFragment(text));
    const theme = document.documentElement.dataset.theme;
    if (theme) inside.documentElement.style.colorScheme = theme;
  }, { once: true });
  return frame;
}
