// One row of the waterfall: its name, its duration, its bar and what is said beside it.

import { icon, make, visible } from "./base.js";
import { percent, place } from "./turn_head.js";

/** About how wide a character of what is said is, in pixels. */
const CHARACTER_PX = 6.1;
const MIN_ROOM_PX = 56;
const MAX_INDENT = 12;
const MAX_GHOSTS = 200;
const SEPARATOR = ", ";

/** Return a span's row, to be put at place `at` of the list. */
export function drawRow(row, turn, { at, trackWidth, pattern, isHit, isFolded, below }) {
  const element = make("div", {
    class: ["wf-row span", row.path.length ? "on-path" : "", row.is_error ? "failed" : "", isHit ? "hit" : ""].join(" "),
    id: `row-${row.id}`, role: "row", "data-span": row.id, "data-kind": row.kind,
    "aria-level": row.depth + 1, "aria-rowindex": at + 1, "aria-expanded": row.size ? String(!isFolded) : null,
  });
  place(element, { "--at": at });
  element.append(cell(row, pattern, isFolded), duration(row), track(row, turn, trackWidth, below));
  return element;
}

function cell(row, pattern, isFolded) {
  const indent = place(make("i", { class: "indent" }), { "--d": Math.min(row.depth, MAX_INDENT) });
  const twist = row.size
    ? make("button", { class: "twist", type: "button", tabindex: -1, "aria-label": isFolded ? "Unfold" : "Fold" }, foldIcon())
    : make("span", { class: "twist leaf" });
  const name = make("span", { class: "name", title: row.name }, ...marked(visible(row.name), pattern));
  const parts = [indent, twist, make("span", { class: "kind" }, row.letters)];
  if (row.is_error) parts.push(icon("error"), make("span", { class: "sr" }, "failed: "));
  parts.push(name);
  if (isFolded) parts.push(make("span", { class: "hidden-count" }, `+${row.size.toLocaleString("en-US")} folded`));
  return make("div", { class: "cell", role: "rowheader" }, ...parts);
}

function foldIcon() {
  const svg = icon("fold");
  svg.removeAttribute("class");
  return svg;
}

function marked(text, pattern) {
  const at = pattern ? text.toLowerCase().indexOf(pattern) : -1;
  if (at < 0) return [text];
  return [text.slice(0, at), make("mark", {}, text.slice(at, at + pattern.length)), text.slice(at + pattern.length)];
}

function duration({ duration: [number, unit] }) {
  return make("div", { class: "dur", role: "gridcell" }, number, make("span", { class: "unit" }, unit));
}

function track(row, turn, trackWidth, below) {
  const axis = turn.axis_ns;
  const at = (start, length) => ({ "--x": percent(start, axis), "--w": percent(length, axis) });
  const parts = [place(make("i", { class: row.first_chunk_ns === null ? "bar" : "bar flow" }), at(row.offset_ns, row.duration_ns))];
  if (row.first_chunk_ns !== null) {
    place(parts[0], { "--f": percent(row.first_chunk_ns - row.offset_ns, Math.max(1, row.duration_ns)) });
  }
  for (const child of below.slice(0, MAX_GHOSTS)) {
    parts.push(place(make("i", { class: "ghost", "data-kind": child.kind }), at(child.offset_ns, child.duration_ns)));
  }
  parts.push(...diamonds(row, turn));
  parts.push(...row.path.map(([start, length]) => place(make("i", { class: "crit" }), at(start, length))));
  const said = saidBeside(row, turn, trackWidth);
  if (said) parts.push(said);
  return make("div", { class: "track", role: "gridcell" }, ...parts);
}

function diamonds(row, turn) {
  const found = [];
  const token = row.is_first_token_here ? turn.first_token.offset_ns : null;
  const isApart = token === null || Math.abs(token - row.first_chunk_ns) > turn.axis_ns / 100;
  if (row.first_chunk_ns !== null && isApart) found.push(diamond("diamond hollow", row.first_chunk_ns, "first chunk"));
  if (token !== null) found.push(diamond("diamond", token, "first token reaches the client"));
  return found;

  function diamond(name, moment, title) {
    return place(make("i", { class: name, title }), { "--x": percent(moment, turn.axis_ns) });
  }
}

/** What is said stands on the side of the bar that has room; over the bar's end if none has. */
function saidBeside(row, turn, trackWidth) {
  const words = [...row.facts];
  if (row.service) words.push(`in ${row.service}`);
  if (row.is_orphan) words.push("parent not here (not kept, or not arrived)");
  if (!words.length) return null;
  const wanted = words.join(SEPARATOR).length * CHARACTER_PX + 12;
  const start = (row.offset_ns / turn.axis_ns) * trackWidth;
  const end = trackWidth - ((row.offset_ns + row.duration_ns) / turn.axis_ns) * trackWidth;
  const isAfter = end >= wanted || (end >= start && end >= MIN_ROOM_PX);
  const isBefore = !isAfter && start >= Math.min(wanted, MIN_ROOM_PX);
  const side = isAfter ? "" : isBefore ? "before" : "inside";
  const said = make("span", { class: `said ${side}`, title: words.join(SEPARATOR) });
  words.forEach((word, index) => {
    if (index) said.append(SEPARATOR);
    if (row.is_notable && index === 0) said.append(make("mark", {}, word));
    else if (row.is_error && word.startsWith("error")) said.append(make("em", {}, word));
    else said.append(word);
  });
  return place(said, { "--x": percent(isBefore ? row.offset_ns : row.offset_ns + row.duration_ns, turn.axis_ns) });
}
