// What is said while a better bundle is trained beside the server: what is served now, how far it is, and what came of it.

import { h } from "../../dom.js";
import { ago, fixed, number } from "../../format.js";
import { aborted, ApiError, get, poll } from "../../http.js";
import { say } from "../../i18n.js";
import { HEADLINE } from "./words.js";

const EVERY = 3000;
/** A bundle that was swapped in is news for so long. */
const NEWS = 600_000;

/** A notice that follows the training; it hides itself where there is nothing to say. */
export function trainingNotice(signal) {
  const place = h("p", { class: "notice warn", role: "status", "aria-live": "off", hidden: true });
  const stop = new AbortController();
  signal.addEventListener("abort", () => stop.abort());
  const look = async () => {
    let found;
    try {
      found = await get("v1/bundles", { query: { limit: 20 }, signal, ask: false });
    } catch (error) {
      // Who may not know of bundles is told nothing; a server that is away for a moment is asked again.
      if (aborted(error) || error.status === 401 || error.status === 403) stop.abort();
      else if (!(error instanceof ApiError)) throw error;
      return;
    }
    const text = words(found, Date.now());
    place.textContent = text;
    place.hidden = !text;
    if (!going(found)) stop.abort();
  };
  poll(EVERY, look, stop.signal);
  return place;
}

const bundleOf = (found, id) => found.bundles.find((one) => one.bundle_id === id);
const worth = (bundle) => fixed(bundle?.metrics[HEADLINE]?.mean, 4);
/** Whether something else may have to be said soon. */
const going = (found) => found.retraining?.state === "running" || found.serving !== found.current
  || bundleOf(found, found.current)?.postponed.length > 0;

/** What there is to say, an empty text where there is nothing. */
export function words(found, now) {
  const { retraining } = found;
  const current = bundleOf(found, found.current);
  const lacks = current?.postponed.length ? current.postponed.join(", ") : "";
  const quick = lacks && say("Served now: a bundle that was trained quickly, without {} (nDCG@10 {}).", lacks, worth(current));
  if (retraining?.state === "running") return [quick, far(retraining, now)].filter(Boolean).join(" ");
  if (retraining?.state === "promoted" && now - retraining.updated < NEWS && retraining.bundle_id === found.current) {
    return say("A newly trained bundle was swapped in {}: nDCG@10 {}, that of the one before {}. Ask again to see its list.",
      ago(retraining.updated), worth(current), worth(bundleOf(found, retraining.before)));
  }
  if (!quick) return "";
  if (["failed", "refused", "stopped"].includes(retraining?.state)) {
    return `${quick} ${say("The training of a better one ended without one: {}", retraining.detail)}`;
  }
  return `${quick} ${say("`recserve retrain` trains a better one.")}`;
}

function far({ step, done, total, started }, now) {
  const minutes = number((now - started) / 60_000);
  return total > 1
    ? say("A better one is being trained for {} min: {}, {} of {}.", minutes, step, number(done), number(total))
    : say("A better one is being trained for {} min: {}.", minutes, step);
}
