// What an experiment has shown: alarms first, then differences with intervals that hold at every look.

import { measure } from "../../charts.js";
import { h, table } from "../../dom.js";
import { fixed, fixedPercent, number, percent, when } from "../../format.js";
import { say } from "../../i18n.js";
import { intervals } from "./intervals.js";

const METRICS = {
  click_through_rate: "Click-through rate", conversion_rate: "Conversion rate", value_per_user: "Value by user",
};
const heading = (metric) => say(METRICS[metric] ?? metric);
const isRate = (metric) => metric.endsWith("_rate");

/** Whatever makes the figures below doubtful, or stopped an arm. */
export function alarms(found, report) {
  const told = [];
  const sizes = report.sample_ratio;
  if (sizes?.mismatch) {
    const got = sizes.arms.map((arm, index) => say("{}: {} of {} planned", arm, number(sizes.users[index]), number(sizes.expected[index])));
    told.push(h("p", { class: "notice bad", role: "alert" }, h("b", {}, say("Sample ratio mismatch.")), " ",
      say("The arms did not get the users that were planned ({}; {}). Rely on no figure below before its cause is known.", got.join("; "), pValue(sizes.p_value))));
  }
  for (const [arm, reason] of Object.entries(found.status.stopped_arms)) {
    told.push(h("p", { class: "notice bad" }, h("b", {}, say("Arm {} was stopped.", arm)), " ", reason));
  }
  if (report.crossed > 0) told.push(h("p", { class: "notice warn" }, say("{} users saw more than one arm; they count for the first.", number(report.crossed))));
  return told.length ? h("div", { class: "alarms" }, told) : null;
}

const pValue = (p) => (p < 0.001 ? "p < 0.001" : `p = ${fixed(p, 3)}`);

/** The report's sections. */
export function findings(found, report) {
  const now = h("p", { class: "note" }, say("Counted until {}. Intervals hold at every look at once ({}): look, and stop, on any day.", when(report.until), percent(report.confidence, 0)));
  if (report.interleaving) return [h("section", { class: "panel" }, interleaved(report.interleaving), now)];
  const metrics = [...new Set(report.comparisons.map((one) => one.metric))];
  return [
    h("section", { class: "panel" }, h("h2", {}, say("Differences to {}", report.arms[0]?.name ?? "")),
      metrics.length ? metrics.map((metric) => difference(metric, report.comparisons.filter((one) => one.metric === metric))) : h("p", {}, say("Nothing to compare yet.")), now),
    h("section", { class: "panel" }, eachArm(report)),
    report.sample_ratio && h("section", { class: "panel" }, sizes(report.sample_ratio)),
    h("section", { class: "panel" }, details(report)),
  ];
}

function difference(metric, rows) {
  const bound = (value) => `${value > 0 ? "+" : value < 0 ? "−" : ""}${isRate(metric) ? fixed(Math.abs(100 * value), 2) : fixed(Math.abs(value), 3)}`;
  const write = (value) => (isRate(metric) ? say("{} pp", bound(value)) : bound(value));
  return intervals({
    title: heading(metric), names: say("Arm"), format: write, bound, unknown: say("too few users to tell"),
    rows: rows.map((row) => ({ label: row.arm, note: verdict(row.verdict), verdict: row.verdict, ...row.difference })),
  });
}

function verdict(name) {
  const [kind, word] = { better: ["good", say("better")], worse: ["bad", say("worse")], undecided: ["", say("undecided")] }[name];
  return h("span", { class: `chip ${kind}` }, word);
}

function interleaved(found) {
  return [
    h("h2", {}, say("Which arm people prefer")),
    intervals({
      title: say("Preference for {} over {}, −1 to 1", found.arms[1], found.arms[0]), names: say("Arm"), format: (value) => fixed(value, 3), unknown: say("too few clicks to tell"),
      rows: [{ label: found.arms[1], note: verdict(found.verdict), verdict: found.verdict, ...found.preference }],
    }),
    h("p", {}, say("{} users, {} pages; clicks: {} for {}, {} for {}, {} on items of both; {}", number(found.users), number(found.answers),
      number(found.clicks[0]), found.arms[0], number(found.clicks[1]), found.arms[1], number(found.shared), pValue(found.p_value))),
  ];
}

function eachArm(report) {
  const metrics = Object.keys(report.arms[0]?.metrics ?? {});
  const cell = (metric, { value, low, high }) => {
    const write = (one) => (isRate(metric) ? fixedPercent(one) : fixed(one, 3));
    return [write(value), low !== null && h("small", { class: "block" }, `${write(low)} – ${write(high)}`)];
  };
  return [h("h2", {}, say("What each arm did, with intervals of this look alone")), table({
    caption: say("What each arm did"), hideCaption: true, rows: report.arms,
    columns: [
      { title: say("Arm"), header: true, cell: (arm) => arm.name },
      { title: say("Users"), number: true, cell: (arm) => number(arm.users) },
      { title: say("Answers"), number: true, cell: (arm) => number(arm.answers) },
      { title: say("Impressions"), number: true, cell: (arm) => number(arm.impressions) },
      ...metrics.map((metric) => ({ title: heading(metric), number: true, cell: (arm) => cell(metric, arm.metrics[metric]) })),
    ],
  })];
}

function sizes(found) {
  const most = Math.max(...found.users, ...found.expected, 1);
  const share = (value) => `${(100 * value) / most}%`;
  const drawn = (index) => h("span", { class: `track ${found.mismatch ? "off" : ""}`, "aria-hidden": "true" },
    h("span", { class: "bar-fill", style: { width: share(found.users[index]) } }), h("span", { class: "plan", style: { left: share(found.expected[index]) } }));
  return h("figure", { class: "chart" },
    h("figcaption", {}, say("Users of each arm; the mark is what was planned")),
    h("table", { class: "bars" }, h("thead", { class: "unseen" }, h("tr", {}, h("th", { scope: "col" }, say("Arm")), h("th", { scope: "col" }, say("Users")))),
      h("tbody", {}, found.arms.map((arm, index) => h("tr", {}, h("th", { scope: "row" }, arm),
        h("td", {}, measure(drawn(index), number(found.users[index]), h("small", {}, " ", say("of {} planned", number(found.expected[index]))))))))),
    h("p", { class: "note" }, found.mismatch
      ? say("{}: the alarm is on.", pValue(found.p_value))
      : say("{}: as planned, as far as can be told.", pValue(found.p_value))));
}

function details(report) {
  return h("details", {}, h("summary", {}, say("How sure, and how long it still takes")), table({
    caption: say("Tests"), hideCaption: true, rows: report.comparisons,
    columns: [
      { title: say("Arm"), header: true, cell: (one) => one.arm },
      { title: say("Metric"), cell: (one) => heading(one.metric) },
      { title: say("Relative"), number: true, cell: (one) => percent(one.relative, 1) },
      { title: "p", number: true, cell: (one) => (one.p_value < 0.001 ? "< 0.001" : fixed(one.p_value, 3)) },
      { title: say("Would have been found"), number: true, cell: (one) => (one.detectable === null ? "–" : `±${isRate(one.metric) ? say("{} pp", fixed(100 * one.detectable, 2)) : fixed(one.detectable, 3)}`) },
      { title: say("Users needed for a change of {}", percent(report.expected_change, 0)), number: true, cell: (one) => number(one.users_needed) },
      { title: say("Adjusted by what users did before"), cell: (one) => (one.adjusted ? say("yes: {} of the variance is left", percent(one.variance_ratio, 0)) : say("no")) },
    ],
  }));
}
