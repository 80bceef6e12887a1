// What figures and decisions are called, and how they are written.

import { h } from "../../dom.js";
import { fixed, fixedPercent, number } from "../../format.js";
import { say } from "../../i18n.js";

const HEADINGS = {
  ndcg: "nDCG", hr: "HR", recall: "Recall", mrr: "MRR", map: "MAP", coverage: "Coverage", gini: "Gini", novelty: "Novelty",
  ild: "Diversity", calibration: "Miscalibration", lift: "Popularity lift",
};
const SHARES = new Set(["coverage", "hr"]);

/** Bundles are judged by it. */
export const HEADLINE = "ndcg@10";

/** A metric as people write it: nDCG@10. */
export function heading(metric) {
  const [name, cut] = metric.split("@");
  return `${say(HEADINGS[name] ?? name)}${cut ? `@${cut}` : ""}`;
}

/** Metrics in the order in which people look for them. */
export function inOrder(metrics) {
  const order = Object.keys(HEADINGS);
  const place = (metric) => {
    const [name, cut] = metric.split("@");
    return (order.includes(name) ? order.indexOf(name) : order.length) + Number(cut ?? 0) * 100;
  };
  return [...metrics].sort((one, other) => place(one) - place(other));
}

/** Whether less of a metric is better. */
export const lessIsBetter = (metric) => /^(gini|calibration|lift)/.test(metric);

/** A value of a metric. */
export function figure(metric, value) {
  if (SHARES.has(metric.split("@")[0])) return fixedPercent(value, 1);
  return Math.abs(value ?? 0) >= 1 ? number(value, 2) : fixed(value, 4);
}

/** A value with its interval below it. */
export function withInterval(value, low, high, write) {
  const known = low !== null && low !== undefined;
  return [write(value), known && h("small", { class: "interval" }, `${write(low)} – ${write(high)}`)];
}

/** A metric of training, `{ mean, ci95 }`. */
export function metricCell(metric, found) {
  const [low, high] = found?.ci95 ?? [];
  return withInterval(found?.mean, low, high, (value) => figure(metric, value));
}

/** A rate of a report, `{ value, low, high }`. */
export function rateCell(rate, digits = 2) {
  return withInterval(rate?.value, rate?.low, rate?.high, (value) => fixedPercent(value, digits));
}

/** A difference with its sign. */
export function signed(value, digits = 4) {
  return value === null || value === undefined ? "–" : `${value > 0 ? "+" : value < 0 ? "−" : "±"}${fixed(Math.abs(value), digits)}`;
}

/** What an interval of a difference says, as a chip. */
export function verdict({ low, high }, { worseIfMore = false } = {}) {
  const more = low > 0;
  if (!more && !(high < 0)) return h("span", { class: "chip" }, say("no difference shown"));
  const good = more !== worseIfMore;
  return h("span", { class: `chip ${good ? "good" : "bad"}` }, good ? say("better") : say("worse"));
}

/** What made a bundle current. */
export function action(name) {
  const known = { train: say("trained"), promote: say("promoted"), retrain: say("retrained"), rollback: say("rolled back") };
  return known[name] ?? name ?? "–";
}

/** Figures that a promotion was decided by, in few words. */
export function evidence(found) {
  const told = Object.entries(found ?? {}).filter(([, value]) => value && typeof value === "object").map(([source, value]) => {
    const [low, high] = value.ci95 ?? [];
    const bounds = low === undefined ? "" : ` (${signed(low)} – ${signed(high)})`;
    return value.difference === undefined || Array.isArray(value.difference) ? source : `${source}: ${heading(value.metric ?? HEADLINE)} ${signed(value.difference)}${bounds}`;
  });
  if (found?.forced) told.push(say("whatever the evidence said"));
  return told.join("; ");
}
