// The page of an offline report, in a frame that runs nothing.

import { failing, h, loading } from "../../dom.js";
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
  const show = async () => {
    place.replaceChildren(loading());
    try {
      const text = await (await get(path, { signal, raw: true })).text();
      if (signal.aborted) return;
      place.replaceChildren(await framed(text, say("Offline report of {}", bundleId)),
        h("p", {}, h("button", { type: "button", onclick: () => download(path, `${bundleId}.html`, { signal }) }, say("Save the report"))));
    } catch (error) {
      if (signal.aborted) return;
      if (error.status === undefined) throw error;
      place.replaceChildren(failing(error, show));
    }
  };
  show();
  return null;
}

async function framed(text, title) {
  const frame = h("iframe", { class: "report", title, sandbox: "allow-same-origin", src: "report-frame" });
  const filled = new Promise((resolve) => frame.addEventListener("load", resolve, { once: true }));
  filled.then(() => {
    // Parsed inside, by the frame's policy, not by this page's.
    const inside = frame.contentDocument;
    inside.body.replaceChildren(inside.createRange().createContextualFragment(text));
    const theme = document.documentElement.dataset.theme;
    if (theme) inside.documentElement.style.colorScheme = theme;
  });
  return frame;
}
