// Numbers, times and durations as people of the page's language write them.

import { locale, say } from "./i18n.js";

const NOTHING = "–";
const known = (value) => value !== null && value !== undefined && !Number.isNaN(value);
const made = new Map();

/** A formatter of `Intl`; making one is slow, so each is kept. */
function intl(kind, options) {
  const key = `${locale()} ${kind} ${JSON.stringify(options)}`;
  if (!made.has(key)) made.set(key, new Intl[kind](locale(), options));
  return made.get(key);
}

/** A number with at most `digits` after the point; a dash for null. */
export function number(value, digits = 0) {
  return known(value) ? intl("NumberFormat", { maximumFractionDigits: digits }).format(value) : NOTHING;
}

/** A number with exactly `digits` after the point, so that a column of them lines up. */
export function fixed(value, digits = 3) {
  const options = { minimumFractionDigits: digits, maximumFractionDigits: digits };
  return known(value) ? intl("NumberFormat", options).format(value) : NOTHING;
}

/** A large number in few characters: 12.3K, 4M. */
export function short(value) {
  return known(value) ? intl("NumberFormat", { notation: "compact", maximumFractionDigits: 1 }).format(value) : NOTHING;
}

/** A share of one as a percentage. */
export function percent(share, digits = 1) {
  return known(share) ? intl("NumberFormat", { style: "percent", maximumFractionDigits: digits }).format(share) : NOTHING;
}

/** A share of one as a percentage with exactly `digits` after the point, so that a column of them lines up. */
export function fixedPercent(share, digits = 2) {
  const options = { style: "percent", minimumFractionDigits: digits, maximumFractionDigits: digits };
  return known(share) ? intl("NumberFormat", options).format(share) : NOTHING;
}

/** Milliseconds as a duration of a request: 0.42 ms, 12.3 ms, 1.20 s. */
export function milliseconds(value) {
  if (!known(value)) return NOTHING;
  if (value >= 1000) return `${fixed(value / 1000, 2)} s`;
  return `${number(value, value < 1 ? 2 : value < 100 ? 1 : 0)} ms`;
}

/** Bytes in the largest unit that keeps them above one. */
export function bytes(value) {
  if (!known(value)) return NOTHING;
  const units = ["B", "kB", "MB", "GB", "TB"];
  let step = 0;
  for (; value >= 1000 && step < units.length - 1; step++) value /= 1000;
  return `${number(value, step && value < 100 ? 1 : 0)} ${units[step]}`;
}

/** A time (milliseconds since 1970, or a text that Date reads) as date and time of day. */
export function when(time) {
  return known(time) ? intl("DateTimeFormat", { dateStyle: "medium", timeStyle: "short" }).format(new Date(time)) : NOTHING;
}

/** A day of a report, which begins at midnight UTC wherever the page is read. */
export function day(time) {
  return known(time) ? intl("DateTimeFormat", { dateStyle: "medium", timeZone: "UTC" }).format(new Date(time)) : NOTHING;
}

/** The same without its year, for the axis of a chart. */
export function shortDay(time) {
  return known(time) ? intl("DateTimeFormat", { month: "short", day: "numeric", timeZone: "UTC" }).format(new Date(time)) : NOTHING;
}

/** A time as hours, minutes and seconds. */
export function clock(time) {
  return intl("DateTimeFormat", { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" }).format(new Date(time));
}

const STEPS = [[60, "second"], [60, "minute"], [24, "hour"], [30, "day"], [12, "month"], [Infinity, "year"]];

/** How long ago a time was, in words. */
export function ago(time) {
  if (!known(time)) return NOTHING;
  let passed = (new Date(time) - Date.now()) / 1000;
  if (Math.abs(passed) < 10) return say("just now");
  for (const [size, unit] of STEPS) {
    if (Math.abs(passed) < size) return intl("RelativeTimeFormat", { numeric: "auto" }).format(Math.round(passed), unit);
    passed /= size;
  }
  return NOTHING;
}

/** Names in one line, as a sentence lists them. */
export function list(names) {
  return intl("ListFormat", { type: "conjunction" }).format(names);
}
