// The graph of stages, drawn: what calls what, how often, by how many replicas.

import { svg } from "../../dom.js";
import { milliseconds, number } from "../../format.js";
import { say } from "../../i18n.js";

const NARROW = matchMedia("(max-width: 760px)");
const BOX = { width: 208, height: 88 };
const DOTS = 12;

/**
 * A picture that `draw(change)` fills and keeps up to date; its edges move as fast as they are used.
 *
 * It is drawn anew only where the graph itself changed, so that nothing flickers.
 */
export function graph() {
  const element = svg("svg", { class: "graph", role: "img", "aria-label": say("The graph of stages") });
  let shape = "";
  let parts = null;
  return {
    element,
    draw(change) {
      const boxes = boxesOf(change);
      const next = JSON.stringify([NARROW.matches, boxes.map((box) => box.name)]);
      if (next !== shape) {
        shape = next;
        parts = build(element, boxes);
      }
      for (const box of boxes) fill(parts.get(box.name), box);
    },
  };
}

/** What the boxes say; the first is who asks, the second the ingress. */
function boxesOf(change) {
  const stepOf = new Map(change.steps.map((step) => [step.step, step]));
  const [ingress, ...stages] = change.stages;
  const rate = (value) => say("{}/s", number(value, value < 10 ? 1 : 0));
  return [
    { name: "visitors", title: say("Visitors"), rate: change.requests, lines: [say("{} requests", rate(change.requests)), say("{} events", rate(change.events))] },
    ...(ingress ? [{ ...stageBox(ingress, change.times), rate: change.requests }] : []),
    ...stages.map((stage) => stageBox(stage, stepOf.get(stage.stage))),
    { name: "store", title: say("Store"), rate: change.events, lines: [say("{} events stored", rate(change.stored))] },
  ];

  function stageBox(stage, times) {
    const count = stage.replicas.length;
    return {
      name: stage.stage, title: say(stage.stage), rate: stage.rate, replicas: stage.replicas, missing: stage.missing,
      lines: [`${count === 1 ? say("1 replica") : say("{} replicas", count)} · ${rate(stage.rate)}`,
        times?.p50 == null ? "" : say("median {}, p99 {}", milliseconds(times.p50), milliseconds(times.p99))],
    };
  }
}

function build(element, boxes) {
  const [visitors, ingress, ...behind] = boxes;
  const at = new Map();
  const place = NARROW.matches ? vertical : horizontal;
  const [width, height] = place(boxes, behind, at);
  element.setAttribute("viewBox", `0 0 ${width} ${height}`);
  element.style.setProperty("max-width", `${width * 1.25}px`);
  element.replaceChildren();
  const made = new Map();
  const edges = ingress ? [[visitors, ingress], ...behind.map((box) => [ingress, box])] : [];
  for (const [from, to] of edges) {
    const edge = svg("path", { class: "edge", d: pathOf(at.get(from.name), at.get(to.name)) });
    element.append(svg("path", { class: "rail", d: edge.getAttribute("d") }), edge);
    made.set(to.name, { edge });
  }
  for (const box of boxes) {
    const [x, y] = at.get(box.name);
    const title = svg("text", { class: "name", x: 14, y: 24 }, box.title);
    const lines = [0, 1].map((line) => svg("text", { x: 14, y: 44 + 17 * line }));
    const dots = svg("g", { transform: `translate(14 ${BOX.height - 12})` });
    element.append(svg("g", { class: `box ${box.replicas ? "stage" : "outside"}`, transform: `translate(${x} ${y})` },
      svg("rect", { width: BOX.width, height: BOX.height, rx: 12 }), title, lines, dots));
    made.set(box.name, { ...made.get(box.name), lines, dots });
  }
  return made;
}

function horizontal(boxes, behind, at) {
  const gap = 22;
  const height = Math.max(behind.length, 1) * (BOX.height + gap) - gap + 4;
  const middle = (height - BOX.height) / 2;
  const step = BOX.width + 90;
  boxes.slice(0, 2).forEach((box, index) => at.set(box.name, [2 + step * index, middle]));
  behind.forEach((box, index) => at.set(box.name, [2 + step * 2, 2 + index * (BOX.height + gap)]));
  return [step * 2 + BOX.width + 4, height];
}

function vertical(boxes, behind, at) {
  const gap = 26;
  boxes.slice(0, 2).forEach((box, index) => at.set(box.name, [2, 2 + index * (BOX.height + gap)]));
  behind.forEach((box, index) => at.set(box.name, [92, 2 + (index + 2) * (BOX.height + gap)]));
  return [92 + BOX.width + 2, boxes.length * (BOX.height + gap) - gap + 4];
}

/** From one box to another: sideways on a wide screen, down on a narrow one. */
function pathOf([x, y], [toX, toY]) {
  if (!NARROW.matches) {
    const [startX, startY, endX, endY] = [x + BOX.width, y + BOX.height / 2, toX, toY + BOX.height / 2];
    const bend = (startX + endX) / 2;
    return `M${startX} ${startY}C${bend} ${startY} ${bend} ${endY} ${endX} ${endY}`;
  }
  if (x === toX) return `M${x + 40} ${y + BOX.height}V${toY}`;
  return `M${x + 40} ${y + BOX.height}V${toY + BOX.height / 2 - 12}q0 12 12 12H${toX}`;
}

function fill({ edge, lines, dots }, box) {
  lines.forEach((line, index) => { line.textContent = box.lines[index] ?? ""; });
  if (edge) {
    edge.classList.toggle("used", box.rate > 0);
    // In steps, because a change of speed makes the movement jump.
    const speed = Math.min(Math.round(Math.log2(1 + box.rate)), 8);
    edge.style.setProperty("animation-duration", `${(6 / (1 + speed)).toFixed(2)}s`);
  }
  const replicas = box.replicas ?? [];
  const shown = replicas.slice(0, DOTS);
  dots.replaceChildren(
    ...shown.map((one, index) => svg("circle", { class: "replica", cx: 4 + 14 * index, r: 4.5, style: { "fill-opacity": (0.25 + 0.75 * Math.min(one.cpu ?? 0, 1)).toFixed(2) } },
      svg("title", {}, say("{} on {}: {} of a CPU core", one.replica, one.node, number(one.cpu, 2))))),
    ...Array.from({ length: Math.min(box.missing ?? 0, DOTS) }, (_, index) => svg("circle", { class: "replica gone", cx: 4 + 14 * (shown.length + index), r: 4.5 },
      svg("title", {}, say("does not answer")))));
}
