// What stands over the waterfall: summary, where the time went, axis, critical path, legend.

import { breakable, count, make, outcome, showSource, visible } from "./base.js";

/** After so long without a span a turn is no longer called running. */
export const SILENT_MS = 60_000;

const find = (name) => document.querySelector(`[data-${name}]`);
const GAP_WORDS = "between spans, where nothing was recorded";
const KIND_WORDS = {
  socket: "Socket.IO", http: "HTTP", ai: "model", tool: "tool", db: "database, cache", job: "job", internal: "step",
};
const TIME = new Intl.DateTimeFormat("en-GB", {
  weekday: "short", day: "numeric", month: "short", year: "numeric",
  hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3,
});

/** Return an amount of the document as nodes: the number, then its unit in a quieter ink. */
export function amount([number, unit]) {
  return unit ? [number, make("span", { class: "unit" }, ` ${unit}`)] : [number];
}

/** Set a custom property as a share of the axis; a style attribute would be refused. */
export function place(element, properties) {
  for (const [name, value] of Object.entries(properties)) element.style.setProperty(name, value);
  return element;
}

export const percent = (part, whole) => `${Math.round((part / whole) * 1e6) / 1e4}%`;

/** Say something over the page; nothing without words. */
export function say(words) {
  const notice = find("notice");
  if (notice.textContent !== words) notice.textContent = words;
  notice.hidden = !words;
}

/** Draw the summary of a turn; `go` selects a span. */
export function drawHead(turn, go) {
  document.title = `${visible(turn.name)} · turntrace`;
  find("name").replaceChildren(...breakable(turn.name));
  find("time").textContent = TIME.format(new Date(turn.start_ms));
  showSource(turn.services.join(", "));
  find("flags").replaceChildren(
    ...[turn.phase, ...turn.models].filter(Boolean).map((word) => make("span", { class: "flag plain", title: word }, visible(word))),
  );
  drawStats(turn);
  drawWhere(turn, go);
  drawIds(turn);
}

function stat(label, value, note, title = null) {
  return make("div", {}, make("dt", { title }, label), make("dd", { title: wordsOf(value) }, ...[value].flat()), make("small", { title: note }, note));
}

/** Return a value as text, for when there is no room for it. */
const wordsOf = (value) => [value].flat().map((node) => node.textContent ?? node).join("");

function drawStats(turn) {
  const { counts } = turn;
  const errors = `${count(counts.errors)} ${counts.errors === 1 ? "error" : "errors"}`;
  const spans = `${count(counts.spans)} ${counts.spans === 1 ? "span" : "spans"}, ${errors}`;
  const isSilent = turn.is_running && Date.now() - turn.last_end_ms > SILENT_MS;
  const cells = [
    turn.outcome ? stat("Outcome", outcome(isSilent ? "unfinished" : turn.outcome), spans) : stat("Spans", count(counts.spans), errors),
    stat("Total", amount(turn.total.amount), turn.is_running ? "so far" : turn.total.note),
  ];
  if (turn.first_token) {
    const { after, amount: moment, is_since_start: isSinceStart, turn_name: name } = turn.first_token;
    const note = isSinceStart ? "" : `at ${moment.join(" ")} on the axis`;
    cells.push(stat("First token", amount(after), note, `From the start of ${name} until the first token was sent to the client`));
  }
  if (counts.errors) cells[0].querySelector("small").classList.add("slow");
  for (const cell of cells) cell.classList.add("lead");
  cells.push(...turn.stats.map(({ label, value, note }) => stat(label, amount(value), note)));
  const list = find("stats");
  list.replaceChildren(...cells);
  place(list, { "--n": cells.length });
  list.classList.toggle("few", cells.length < 6);
  list.hidden = false;
}

function drawWhere(turn, go) {
  const parts = turn.where.parts.map((part) => {
    const words = make("span", { class: part.is_name ? "words code" : "words" }, visible(part.words));
    const look = part.is_flow ? " comb" : part.is_gap ? " gap" : "";
    const button = make("button", { type: "button", "data-kind": part.kind, disabled: !part.span_id },
      make("i", { class: `swatch${look}` }), words, make("b", {}, ...amount(part.amount)));
    if (part.span_id) button.addEventListener("click", () => go(part.span_id));
    return button;
  });
  const where = find("where");
  where.replaceChildren(make("b", {}, `Where ${turn.where.total.join(" ")} went`), ...parts);
  where.hidden = parts.length === 0;
}

function drawIds(turn) {
  const known = turn.ids.map(({ label, value, key }) =>
    make("span", { title: key }, `${label} `, make("span", { class: "code" }, value)));
  const links = turn.links.slice(0, 4).map((link) => {
    const name = make("span", { class: "code" }, link.name || `${link.trace_id.slice(0, 8)}…`);
    const isHere = link.is_stored !== false;
    return make("span", {}, `${link.words} `, isHere
      ? make("a", { href: `/turns/${link.trace_id}#${link.span_id}` }, name)
      : make("span", {}, name, " (not stored here)"));
  });
  const kept = turn.kept_because ? [make("span", {}, "kept because ", make("span", { class: "code" }, turn.kept_because))] : [];
  const withheld = turn.withheld
    ? [make("span", {}, `${count(turn.withheld)} attributes withheld`)] : [];
  const ids = find("ids");
  const called = turn.counts.called ? [make("span", {}, "Started by a client that sends no spans of its own")] : [];
  ids.replaceChildren(...known, ...links, ...kept, ...withheld, ...called);
  ids.hidden = !ids.children.length;
}

/** Draw what frames the rows: axis, critical path, legend. */
export function drawFrame(turn, go) {
  const { ticks, axis_ns: axis, first_token: token, counts } = turn;
  find("split").hidden = false;
  const step = ticks.length > 1 ? ticks[1].offset_ns : axis;
  const waterfall = find("waterfall");
  place(waterfall, { "--step": percent(step, axis), "--first-token": percent(token?.offset_ns ?? 0, axis) });
  waterfall.classList.toggle("has-first-token", Boolean(token));
  const labels = ticks.filter(({ offset_ns: offset }) => offset < axis * 0.94).map(({ offset_ns: offset, label }) =>
    place(make("span", {}, label), { "--x": percent(offset, axis) }));
  if (token) {
    const side = token.offset_ns > axis / 2 ? "before" : "";
    labels.push(place(make("b", { class: side }, "first token ", ...amount(token.amount)), { "--x": percent(token.offset_ns, axis) }));
  }
  find("axis").replaceChildren(...labels);
  find("path-duration").replaceChildren(turn.duration[0], make("span", { class: "unit" }, turn.duration[1]));
  drawPath(turn, go);
  drawLegend(counts, turn);
}

function drawPath(turn, go) {
  const names = new Map(turn.rows.map((row) => [row.id, visible(row.name)]));
  // A path of too many pieces comes as slices, none of which names a span.
  const isSliced = turn.path.every((piece) => piece.span_id === null);
  find("path").replaceChildren(...turn.path.map((piece) => {
    const isGap = piece.span_id === null && !isSliced;
    const name = names.get(piece.span_id) ?? (isGap ? GAP_WORDS : "several spans, or none");
    const segment = make("button", {
      class: piece.is_flow ? "seg flow" : isGap ? "seg gap" : "seg", type: "button", tabindex: -1, title: piece.is_flow ? `${name}, streaming` : name,
      "aria-label": name, "data-kind": piece.kind, "data-segment": piece.span_id,
    });
    if (piece.span_id) segment.addEventListener("click", () => go(piece.span_id));
    return place(segment, {
      "--x": percent(piece.offset_ns, turn.axis_ns), "--w": percent(piece.duration_ns, turn.axis_ns),
    });
  }));
}

function drawLegend({ kinds }, turn) {
  const keys = Object.keys(KIND_WORDS).filter((kind) => kinds[kind]).map((kind) =>
    make("span", { "data-kind": kind }, make("i", { class: "key" }), `${KIND_WORDS[kind]} ${count(kinds[kind])}`));
  const hasChunks = turn.rows.some((row) => row.first_chunk_ns !== null);
  if (hasChunks) keys.push(make("span", { "data-kind": "ai" }, make("i", { class: "key comb" }), "words arriving, evenly drawn"));
  keys.push(make("span", {}, make("i", { class: "key path" }), "the turn waited here"));
  if (hasChunks) keys.push(make("span", {}, make("i", { class: "key gem hollow" }), "first chunk"));
  if (turn.first_token) keys.push(make("span", {}, make("i", { class: "key gem" }), "first token at the client"));
  find("legend").replaceChildren(...keys);
}
