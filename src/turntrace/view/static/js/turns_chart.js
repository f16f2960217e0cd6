// Duration over time: a point per turn, drawn by uPlot; drag to choose a time range.

import { duration } from "./base.js";
import { clock, two } from "./turns_table.js";

const SHAPES = {
  error: [[0, -1], [1, 0.8], [-1, 0.8]],
  crashed: [[-0.4, -1], [0.4, -1], [1, -0.4], [1, 0.4], [0.4, 1], [-0.4, 1], [-1, 0.4], [-1, -0.4]],
  cancelled: [[0, -1], [1, 0], [0, 1], [-1, 0]],
  client_disconnected: [[-1, -1], [1, 1], [1, -1], [-1, 1]],
  interrupted: [[-0.8, -0.9], [-0.2, -0.9], [-0.2, 0.9], [0.2, 0.9], [0.2, -0.9], [0.8, -0.9], [0.8, 0.9], [-0.8, 0.9]],
};
const COLOURS = { error: "--bad", crashed: "--bad", cancelled: "--ink-2", client_disconnected: "--warn", interrupted: "--warn", running: "--action" };
const NEAR_PX = 14;
const HEIGHT = 104;
const MIN_SPAN_SECONDS = 1;

/** Return a colour of base.css as the browser computes it for the theme. */
function colour(name) {
  const probe = document.createElement("span");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

function drawPoint(context, x, y, outcome, size) {
  const shape = SHAPES[outcome];
  context.beginPath();
  if (!shape) context.arc(x, y, size * 0.8, 0, 2 * Math.PI);
  else for (const [dx, dy] of shape) context.lineTo(x + dx * size, y + dy * size);
  context.closePath();
  context.fill();
}

/** Return a tick of the time axis: a day where ticks are days, seconds only where they differ. */
function moment(seconds, neighbour) {
  const date = new Date(seconds * 1000);
  const apart = Math.abs(neighbour - seconds);
  const isMidnight = date.getHours() === 0 && date.getMinutes() === 0;
  if (apart >= 86_400 || (isMidnight && apart >= 3600)) return `${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  const minutes = `${two(date.getHours())}:${two(date.getMinutes())}`;
  return apart > 0 && apart < 60 ? `${minutes}:${two(date.getSeconds())}` : minutes;
}

/** Return a tick of the duration axis, without digits that say nothing. */
function brief(milliseconds) {
  if (milliseconds === 0) return "0";
  const [number, unit] = duration(milliseconds);
  return `${Number(number)} ${unit}`;
}

/** Make the chart in `box`; `onRange(fromMs, toMs)` and `onOpen(traceId)` say what was asked for. */
export async function makeChart(box, { onRange, onOpen }) {
  const { default: uPlot } = await import("../vendor/uPlot.esm.js");
  let points = [];
  let range = [0, 1];
  let nearest = null;
  let marked = "";
  const said = document.createElement("output");
  said.className = "chart-said";
  box.append(said);

  function draw(plot) {
    const { ctx: context } = plot;
    const size = 4.5 * devicePixelRatio;
    const colours = Object.fromEntries(Object.entries(COLOURS).map(([name, token]) => [name, colour(token)]));
    const quiet = colour("--ink-3");
    const { left, top, width, height } = plot.bbox;
    context.save();
    context.beginPath();
    context.rect(left - size, top - size, width + 2 * size, height + 2 * size);
    context.clip();
    // What went well is drawn first, so that it covers nothing that did not.
    const ranked = [...points].sort((one, other) => (one[2] === "ok" ? 0 : 1) - (other[2] === "ok" ? 0 : 1));
    for (const [start, ms, outcome, traceId] of ranked) {
      const x = plot.valToPos(start / 1000, "x", true);
      const y = plot.valToPos(ms, "y", true);
      context.fillStyle = colours[outcome] ?? quiet;
      drawPoint(context, x, y, outcome, size);
      if (traceId === marked) {
        context.strokeStyle = colours.running;
        context.lineWidth = 2 * devicePixelRatio;
        context.beginPath();
        context.arc(x, y, size * 1.8, 0, 2 * Math.PI);
        context.stroke();
      }
    }
    context.restore();
  }

  function find(plot) {
    const { left, top } = plot.cursor;
    nearest = null;
    let best = NEAR_PX;
    for (const point of points) {
      const distance = Math.hypot(plot.valToPos(point[0] / 1000, "x") - left, plot.valToPos(point[1], "y") - top);
      if (distance < best) [best, nearest] = [distance, point];
    }
    const [number, unit] = nearest ? duration(nearest[1]) : [];
    said.textContent = nearest
      ? `${clock(nearest[0])}, ${nearest[2].replaceAll("_", " ")}, ${number} ${unit}`
      : "";
    plot.over.style.cursor = nearest ? "pointer" : "";
  }

  function chosen(plot) {
    const { left, width } = plot.select;
    if (width < 4) return;
    const [from, to] = [plot.posToVal(left, "x"), plot.posToVal(left + width, "x")];
    plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
    onRange(from * 1000, to * 1000);
  }

  const axis = (overrides) => ({
    stroke: () => colour("--ink-3"),
    font: `11px ${getComputedStyle(document.body).fontFamily}`,
    grid: { stroke: () => colour("--line-soft"), width: 1 },
    ticks: { show: false },
    ...overrides,
  });
  const options = {
    width: box.clientWidth,
    height: HEIGHT,
    padding: [8, 12, 0, 16],
    legend: { show: false },
    cursor: { y: false, points: { show: false }, drag: { x: true, y: false, setScale: false, dist: 4 } },
    scales: { x: { time: true, range: () => range }, y: { range: (plot, low, high) => [0, Math.max(high ?? 1, 1) * 1.12] } },
    series: [{}, { paths: () => null, points: { show: false } }],
    axes: [
      axis({ size: 22, gap: 4, space: 90, grid: { show: false }, values: (plot, ticks) => ticks.map((tick, place) => moment(tick, ticks[place + 1] ?? ticks[place - 1] ?? tick)) }),
      axis({ side: 1, size: 52, gap: 6, space: 30, values: (plot, ticks) => ticks.map(brief) }),
    ],
    hooks: { draw: [draw], setCursor: [find], setSelect: [chosen] },
  };
  const plot = new uPlot(options, [[], []], box);
  plot.over.addEventListener("click", () => nearest && onOpen(nearest[3]));
  new ResizeObserver(() => plot.setSize({ width: box.clientWidth, height: HEIGHT })).observe(box);
  document.addEventListener("turntrace:theme", () => plot.redraw());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => plot.redraw());

  return {
    /** Show points ([start ms, duration ms, outcome, trace id], the newest first). */
    show(newPoints, fromMs, toMs) {
      points = newPoints;
      const first = points.at(-1)?.[0] ?? Date.now() - 600_000;
      const last = points[0]?.[0] ?? Date.now();
      const [from, to] = [(fromMs ?? first) / 1000, (toMs ?? last) / 1000];
      const room = Math.max((to - from) * 0.015, MIN_SPAN_SECONDS);
      range = [fromMs === null ? from - room : from, toMs === null ? to + room : to];
      const ordered = [...points].reverse();
      plot.setData([ordered.map((point) => point[0] / 1000), ordered.map((point) => point[1])]);
      box.setAttribute("aria-label", `Duration of each of ${points.length} turns over time; the table below says the same`);
    },
    /** Ring the point of a trace. */
    mark(traceId) {
      marked = traceId;
      plot.redraw(false);
    },
  };
}
