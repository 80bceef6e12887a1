// Pictures of numbers. Each is a <figure> whose numbers can be read as a table too.

import { h, table } from "./dom.js";
import { clock, day, number, shortDay } from "./format.js";
import { say } from "./i18n.js";

const COLOURS = 6;
let library = null;

/** uPlot (static/vendor), loaded by the first chart that needs it. */
function uPlot() {
  library ??= new Promise((resolve, reject) => {
    const failed = () => {
      library = null; // the next chart may be luckier
      reject(new Error("uPlot could not be loaded"));
    };
    document.head.append(h("link", { rel: "stylesheet", href: "static/vendor/uPlot.min.css" }),
      h("script", { src: "static/vendor/uPlot.iife.min.js", onload: () => resolve(window.uPlot), onerror: failed }));
  });
  return library;
}

/** Colours as the theme has them, in a form that a canvas takes: of the series, of text and of lines. */
function palette(place) {
  const probe = h("i", { class: "unseen" });
  place.append(probe);
  const colour = (name) => {
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  };
  const found = { series: Array.from({ length: COLOURS }, (_, n) => colour(`c${n}`)), text: colour("muted"), line: colour("line"), panel: colour("panel") };
  probe.remove();
  return found;
}

function figure(title, picture, ...further) {
  return h("figure", { class: "chart" }, h("figcaption", {}, title), picture, further);
}

/** The numbers of a picture, made when somebody unfolds them. */
function numbers(content) {
  const place = h("div");
  const made = h("details", { ontoggle: () => made.open && place.replaceChildren(content()) }, h("summary", {}, say("As a table")), place);
  return made;
}

/**
 * Lines, or columns, over time or over numbers.
 *
 * `x`: numbers; milliseconds since 1970 with `time` ("clock" or "day" says how they are written). `series`:
 * `[{ label, values, low, high }]`, null where there is nothing; `low` and `high` draw a band. `kind`: "line", "area"
 * or "columns". `format` writes values, `formatX` numbers along the axis, which `nameX` names. Returns
 * `{ element, update({ x, series }) }`; the number of series and bands stays. The picture is gone with `signal`.
 */
export function line({
  title, x, series, time = null, kind = "line", format = (value) => number(value, 2), formatX = (value) => number(value, 2), nameX = say("Value"), height = 180, signal,
}) {
  const plot = h("div", { class: "plot", role: "img", "aria-label": title });
  const shownX = { day, clock }[time] ?? formatX;
  const tickX = time === "day" ? shortDay : shownX;
  const headX = time === null ? nameX : say("Time");
  let data = { x, series };
  let drawn = null;

  const details = numbers(() => table({
    caption: title, hideCaption: true, rows: data.x.map((_, row) => row).reverse(),
    columns: [
      { title: headX, header: true, cell: (row) => shownX(data.x[row]) },
      ...data.series.flatMap((one) => [
        { title: one.label, number: true, cell: (row) => format(one.values[row]) },
        ...(one.low ? [{ title: say("{}: interval", one.label), number: true, cell: (row) => `${format(one.low[row])} – ${format(one.high[row])}` }] : []),
      ]),
    ],
  }));
  const element = figure(title, plot, details);

  const columns = () => [data.x.map((value) => (time === null ? value : value / 1000)),
    ...data.series.flatMap((one) => (one.low ? [one.values, one.low, one.high] : [one.values]))];

  const written = (one, at) => (one.low && one.low[at] !== null ? `${format(one.values[at])} (${format(one.low[at])} – ${format(one.high[at])})` : format(one.values[at]));

  function options(UPlot, colours) {
    const lines = [{ label: headX, value: (_, value) => (value === null ? "–" : shownX(time === null ? value : value * 1000)) }];
    const bands = [];
    data.series.forEach((one, index) => {
      const stroke = colours.series[index % COLOURS];
      const soft = stroke.replace("rgb(", "rgba(").replace(")", ", 0.16)");
      lines.push({
        label: one.label, stroke, width: 2, value: (_, value, __, at) => (at === null ? "–" : written(data.series[index], at)),
        fill: kind === "line" ? undefined : kind === "area" ? soft : stroke,
        paths: kind === "columns" ? UPlot.paths.bars({ size: [0.7, 60] }) : undefined,
        points: { show: data.x.length < 2, size: 6 },
      });
      if (!one.low) return;
      const edge = { class: "edge-of-band", stroke: "transparent", points: { show: false } };
      bands.push({ series: [lines.length + 1, lines.length], fill: soft });
      lines.push(edge, edge);
    });
    const axis = { stroke: colours.text, grid: { stroke: colours.line, width: 1 }, ticks: { stroke: colours.line, width: 1 }, font: "11px system-ui, sans-serif" };
    return {
      width: Math.max(plot.clientWidth, 120), height, series: lines, bands,
      legend: { live: true },
      hooks: { ready: [tell], setCursor: [tell] },
      cursor: { drag: { x: false, y: false } },
      scales: { x: { time: false }, y: { range: (_, low, high) => [Math.min(0, low ?? 0), (high || 1) * 1.08] } },
      axes: [
        { ...axis, space: 90, values: (_, splits) => splits.map((value) => tickX(time === null ? value : value * 1000)) },
        { ...axis, size: 56, values: (_, splits) => splits.map((value) => format(value)) },
      ],
    };
  }

  /** What the legend says: values under the pointer, else the newest. */
  function tell(shown = drawn) {
    if (shown && !(shown.cursor.left >= 0)) shown.setLegend({ idx: data.x.length - 1 }, false);
  }

  async function draw() {
    let UPlot;
    try {
      UPlot = await uPlot();
    } catch (error) {
      console.error(error);
      plot.replaceChildren(h("p", { class: "note" }, say("The picture could not be loaded; the table has its numbers.")));
      return;
    }
    if (signal?.aborted || !plot.isConnected) return;
    drawn?.destroy();
    plot.replaceChildren();
    drawn = new UPlot(options(UPlot, palette(plot)), columns(), plot);
  }

  let width = 0;
  const observer = new ResizeObserver(() => {
    if (!plot.clientWidth || plot.clientWidth === width) return;
    width = plot.clientWidth;
    if (!drawn) {
      draw();
      return;
    }
    drawn.setSize({ width, height });
    queueMicrotask(tell); // what changes is drawn in one that is queued by now, and empties the legend
  });
  observer.observe(plot);
  document.addEventListener("recserve-theme", draw, { signal });
  signal?.addEventListener("abort", () => {
    observer.disconnect();
    drawn?.destroy();
  });

  return {
    element,
    update(next) {
      data = { ...data, ...next };
      if (drawn) {
        drawn.setData(columns());
        queueMicrotask(tell);
      }
      if (details.open) details.dispatchEvent(new Event("toggle"));
    },
  };
}

/**
 * Horizontal bars, one a name, longest as wide as the place.
 *
 * `rows`: `[{ label, value, low, high, note }]`; `low` and `high` draw an interval. It is a table, and reads as one.
 */
export function bars({ title, rows, format = (value) => number(value, 2), names = "" }) {
  const longest = Math.max(...rows.flatMap((row) => [row.value ?? 0, row.high ?? 0]), 0) || 1;
  const share = (value) => `${(100 * Math.max(value ?? 0, 0)) / longest}%`;
  const whisker = (row) => row.low !== undefined && row.low !== null
    && h("span", { class: "whisker", style: { left: share(row.low), width: share(row.high - row.low) } });
  return figure(title, h("table", { class: "bars" },
    h("thead", { class: "unseen" }, h("tr", {}, h("th", { scope: "col" }, names), h("th", { scope: "col" }, title))),
    h("tbody", {}, rows.map((row) => h("tr", {},
      h("th", { scope: "row" }, row.label, row.note && h("small", {}, " ", row.note)),
      h("td", {}, measure(
        h("span", { class: "track", "aria-hidden": "true" }, h("span", { class: "bar-fill", style: { width: share(row.value) } }), whisker(row)),
        format(row.value), row.low !== undefined && row.low !== null && h("small", {}, ` (${format(row.low)} – ${format(row.high)})`))))))));
}

/** A drawn length beside what it says, with its interval if it has one. */
export function measure(drawn, text, interval = null) {
  return h("div", { class: "measure" }, drawn, h("span", { class: `bar-value ${interval ? "long" : ""}` }, text, interval));
}

const TABLE_ROWS = 200;

/**
 * Points in a plane, coloured by group; the nearest one is named under the pointer and picked by a click.
 *
 * `points`: `[{ x, y, label, group }]`; `onpick(point)`. The table lists the first 200 points and picks too.
 */
export function scatter({ title, points, height = 420, onpick = null, marked = null, signal }) {
  const canvas = h("canvas", { role: "img", "aria-label": title, style: { height: `${height}px` } });
  const tip = h("p", { class: "tip", "aria-hidden": "true" });
  const groups = [...new Set(points.map((point) => point.group ?? ""))];
  const colourOf = (colours, group) => colours.series[groups.indexOf(group ?? "") % COLOURS];
  const [left, right] = extent(points.map((point) => point.x));
  const [low, high] = extent(points.map((point) => point.y));
  const margin = 14;
  const place = (point) => [
    margin + ((point.x - left) / (right - left)) * (canvas.clientWidth - 2 * margin),
    margin + (1 - (point.y - low) / (high - low)) * (height - 2 * margin),
  ];
  let near = null;

  function draw() {
    if (!canvas.clientWidth) return;
    const colours = palette(picture);
    const ratio = window.devicePixelRatio || 1;
    canvas.width = canvas.clientWidth * ratio;
    canvas.height = height * ratio;
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    const radius = points.length > 500 ? 2.5 : points.length > 100 ? 4 : 6;
    for (const point of points) disc(pen, place(point), radius, colourOf(colours, point.group), 0.7);
    for (const point of [marked, near]) if (point) disc(pen, place(point), radius + 4, colourOf(colours, point.group), 1, colours.text);
  }

  function nearest(event) {
    const box = canvas.getBoundingClientRect();
    let best = null;
    let closest = 20 ** 2;
    for (const point of points) {
      const [x, y] = place(point);
      const distance = (x - (event.clientX - box.left)) ** 2 + (y - (event.clientY - box.top)) ** 2;
      if (distance < closest) [best, closest] = [point, distance];
    }
    return best;
  }

  canvas.addEventListener("pointermove", (event) => {
    const found = nearest(event);
    if (found === near) return;
    near = found;
    tip.textContent = near ? near.label : "";
    canvas.classList.toggle("picks", Boolean(near && onpick));
    draw();
  });
  canvas.addEventListener("pointerleave", () => {
    near = null;
    tip.textContent = "";
    draw();
  });
  canvas.addEventListener("click", (event) => {
    const found = nearest(event);
    if (found) onpick?.(found);
  });

  const picture = h("div", { class: "plot" }, canvas, tip);
  const legend = groups.length > 1 && h("ul", { class: "legend" },
    groups.slice(0, COLOURS).map((group, index) => h("li", {}, h("i", { class: `c${index}` }), group || say("other"))));
  const named = (point) => (onpick ? h("button", { type: "button", class: "link", onclick: () => onpick(point) }, point.label) : point.label);
  const observer = new ResizeObserver(draw);
  observer.observe(canvas);
  document.addEventListener("recserve-theme", draw, { signal });
  signal?.addEventListener("abort", () => observer.disconnect());
  return {
    element: figure(title, picture, legend, numbers(() => table({
      caption: title, hideCaption: true, rows: points.slice(0, TABLE_ROWS),
      columns: [
        { title: say("Name"), header: true, cell: named },
        { title: say("Group"), cell: (point) => point.group ?? "" },
        { title: "x", number: true, cell: (point) => number(point.x, 3) },
        { title: "y", number: true, cell: (point) => number(point.y, 3) },
      ],
    }))),
    mark(point) {
      marked = point;
      draw();
    },
  };
}

function extent(values) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  return high > low ? [low, high] : [low - 1, high + 1];
}

function disc(pen, [x, y], radius, colour, opacity, ring = null) {
  pen.globalAlpha = opacity;
  pen.fillStyle = colour;
  pen.beginPath();
  pen.arc(x, y, radius, 0, 2 * Math.PI);
  pen.fill();
  pen.globalAlpha = 1;
  if (!ring) return;
  pen.strokeStyle = ring;
  pen.lineWidth = 2;
  pen.stroke();
}
