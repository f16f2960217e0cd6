// One turn as a row of the table, and the table kept in order while rows come and change.

import { breakable, count, dollars, duration, make, outcome, visible } from "./base.js";

const STALE_MS = 10 * 60_000;
const LONG_TIME = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });

export const keyOf = (turn) => `${turn.trace_id}:${turn.span_id}`;

/** Where a turn stands in each order: the larger first. */
export const RANKS = {
  newest: (turn) => turn.start_ms,
  slowest: (turn) => turn.duration_ms,
  dearest: (turn) => turn.cost_usd ?? -1,
};

/** Tell whether `turn` stands above `other`; the API breaks ties by the same ids. */
export function isAbove(turn, other, sort) {
  const ranks = [RANKS[sort], (one) => one.trace_id, (one) => one.span_id];
  const rank = ranks.find((each) => each(turn) !== each(other));
  return rank !== undefined && rank(turn) > rank(other);
}

/** Return how long a turn took, or has taken so far. */
export function lasted(turn) {
  if (turn.outcome !== "running") return turn.duration_ms;
  const soFar = Date.now() - turn.start_ms;
  return soFar < STALE_MS ? Math.max(soFar, turn.duration_ms) : turn.duration_ms;
}

export const two = (number) => String(number).padStart(2, "0");

/** Return what a moment needs to be told apart: its "time", its "date" too, or its "year" too. */
export function reach(milliseconds) {
  const [date, now] = [new Date(milliseconds), new Date()];
  if (date.toDateString() === now.toDateString()) return "time";
  return date.getFullYear() === now.getFullYear() ? "date" : "year";
}

/** Return a moment as a date, with its year if that is not this one. */
export function day(milliseconds) {
  const date = new Date(milliseconds);
  const short = `${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return reach(milliseconds) === "year" ? `${date.getFullYear()}-${short}` : short;
}

/** Return a moment as a time of day. */
export function timeOfDay(milliseconds) {
  const date = new Date(milliseconds);
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

/** Return a moment as a time of day, with its date if that is not today. */
export function clock(milliseconds) {
  const time = timeOfDay(milliseconds);
  return reach(milliseconds) === "time" ? time : `${day(milliseconds)} ${time.slice(0, 5)}`;
}

function amount(number, unit, className = "unit") {
  return [number, make("span", { class: className }, ` ${unit}`)];
}

function time(milliseconds, title = null) {
  const [number, unit] = duration(milliseconds);
  return [`${number} `, make("span", { class: "unit t", title }, unit)];
}

const dash = () => make("span", { class: "dim" }, "–");

/** Random ids are told apart by their head; other names keep as much as there is room for. */
function shortened(session) {
  if (visible(session) !== session) return visible(session);
  if (/^[0-9a-f]{8}-?[0-9a-f]{4}/i.test(session)) return session.slice(0, 8);
  return session.length > 14 ? `${session.slice(0, 13)}…` : session;
}

function flags(turn) {
  const shown = [];
  if (turn.error_type) {
    const short = turn.error_type.split(".").at(-1);
    shown.push(make("span", { class: "flag bad", title: `error.type = ${turn.error_type}` }, short));
  }
  if (turn.outcome === "running" && Date.now() - turn.start_ms >= STALE_MS) {
    shown.push(make("span", { class: "flag", title: "Its root span never came: was the app killed?" }, "no end seen"));
  }
  return shown.flatMap((flag) => [" ", flag]);
}

function bar(turn) {
  const all = lasted(turn);
  const hasToken = turn.first_token_ms !== null;
  const isOpen = turn.outcome === "running" && !hasToken;
  const token = hasToken ? Math.min(all, turn.first_token_ms) : isOpen ? 0 : all;
  const state = turn.outcome === "error" ? "failed" : turn.outcome;
  const element = make(
    "span",
    { class: `span-bar ${/^[a-z_]+$/.test(state) ? state : ""}` },
    make("i", { class: "wait" }),
    make("i", { class: "flow" }),
    hasToken ? make("i", { class: "mark" }) : null,
  );
  // The table's --scale makes lengths of them.
  element.style.setProperty("--ms", String(all));
  element.style.setProperty("--first", String(token));
  return element;
}

function tokens(turn) {
  if (turn.input_tokens === null && turn.output_tokens === null) {
    const isKnown = turn.outcome !== "running";
    return make("span", { class: "dim" }, isKnown ? (turn.is_turn ? "no model call" : "–") : "not known yet");
  }
  return make("span", { class: "tok" }, `${count(turn.input_tokens ?? 0)} → ${count(turn.output_tokens ?? 0)}`);
}

function loop(turn) {
  if (turn.iterations === null) return [dash()];
  const tools = turn.tool_calls ?? 0;
  return [...amount(count(turn.iterations), "it"), " ", ...amount(count(tools), tools === 1 ? "tool" : "tools")];
}

const lastedWords = (turn) => time(lasted(turn), turn.outcome === "running" ? "so far" : null);

/** Say anew how long a running turn has taken; focus and selection stay where they are. */
export function retime(row, turn) {
  row.querySelector(".c-bar").replaceChildren(bar(turn));
  row.querySelector(".c-dur").replaceChildren(...lastedWords(turn));
}

/** Make the row of a turn. */
export function makeRow(turn) {
  const isFailed = turn.outcome === "error" || turn.outcome === "crashed";
  const address = `/turns/${encodeURIComponent(turn.trace_id)}`;
  const cell = (name, ...children) => make("td", { class: name }, ...children);
  const session = turn.session
    ? make("a", { class: "code", href: `/?session=${encodeURIComponent(turn.session)}`, title: turn.session, "data-session": turn.session }, shortened(turn.session))
    : dash();
  const phase = turn.phase ? make("span", { class: "phase" }, visible(turn.phase)) : null;
  return make(
    "tr",
    { "data-key": keyOf(turn), class: isFailed ? "failed" : null },
    cell("c-time", make("time", { datetime: new Date(turn.start_ms).toISOString(), title: LONG_TIME.format(turn.start_ms) }, clock(turn.start_ms))),
    cell("c-outcome", turn.is_turn ? outcome(turn.outcome) : make("span", { class: "outcome ok dim" }, turn.outcome === "error" ? "error" : "no turn")),
    cell("c-event", make("a", { class: "code", href: address, title: `${turn.name}, ${turn.service}` }, ...breakable(turn.event)), ...flags(turn)),
    cell("c-session", session, phase),
    cell("c-model", ...(turn.model ? [make("span", { title: turn.model }, visible(turn.model))] : [dash()])),
    cell("c-bar", bar(turn)),
    cell("c-dur num", ...lastedWords(turn)),
    cell("c-first num", ...(turn.first_token_ms === null ? [dash()] : time(turn.first_token_ms))),
    cell("c-tokens num", tokens(turn)),
    cell("c-cost num", turn.cost_usd === null ? dash() : dollars(turn.cost_usd)),
    cell("c-loop num", ...loop(turn)),
  );
}

