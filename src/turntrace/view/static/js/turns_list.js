// The table: rows in order, one of them selected, none of them jumping while others arrive.

import { duration } from "./base.js";
import { isAbove, keyOf, lasted, makeRow, RANKS, reach, retime } from "./turns_table.js";

/** Rows that come by themselves before the last rows are let go. */
const MAX_LIVE_ROWS = 1000;
const REACHES = ["time", "date", "year"];
const HEADS = { newest: "Started", slowest: "Duration", dearest: "Cost" };

/** Return what the bars are drawn to: a turn that runs on and on must not flatten the others. */
function longest(turns) {
  const ended = turns.filter((turn) => turn.outcome !== "running");
  return Math.max(1, ...(ended.length > 0 ? ended : turns).map(lasted));
}

function isInSight(row) {
  const { top, bottom } = row.getBoundingClientRect();
  return bottom > 0 && top < innerHeight;
}

export class TurnTable {
  #table;
  #body;
  #shown = new Map();
  #sort = "newest";
  #scale = 1;
  #selected = "";
  #onSelect;
  /** The last row before those that can still be asked for; null: none can, or nobody knows. */
  #end = null;
  #room = MAX_LIVE_ROWS;
  #reach = 0;
  /** Whether rows between the last one and what follows the last answer were let go. */
  isCut = false;

  constructor(table, onSelect) {
    this.#table = table;
    this.#body = table.tBodies[0];
    this.#onSelect = onSelect;
  }

  busy(isBusy) {
    this.#table.setAttribute("aria-busy", String(isBusy));
  }

  turns() {
    return [...this.#shown.values()].map(({ turn }) => turn);
  }

  get size() {
    return this.#shown.size;
  }

  has(turn) {
    return this.#shown.has(keyOf(turn));
  }

  /**
   * Show a first page; `end` is its last turn if others follow it. Of the same question asked again,
   * rows below the page stay; true if there are such rows, whose cursor then is still the one.
   */
  show(turns, sort, { end, hasMore, isSame }) {
    this.#sort = RANKS[sort] ? sort : "newest";
    const tail = isSame && hasMore ? this.#below(turns) : [];
    if (tail.length === 0) {
      this.#end = end;
      this.isCut = false;
    }
    const anchor = isSame ? this.#anchor() : this.#shown.get(this.#selected)?.row;
    this.#steady(() => {
      this.#shown.clear();
      this.#reach = 0;
      for (const turn of [...turns, ...tail]) this.#remember(turn);
      this.#body.replaceChildren(...[...this.#shown.values()].map(({ row }) => row));
    }, anchor);
    this.#room = this.size + MAX_LIVE_ROWS;
    this.#scale = longest(this.turns());
    if (!this.#shown.has(this.#selected)) this.#selected = "";
    this.#showHeads();
    this.#markSelected();
    return tail.length > 0;
  }

  /** Show the rows that follow; `end` is the last of them if others follow. */
  append(turns, end) {
    for (const turn of turns) {
      if (this.has(turn)) continue;
      const last = this.#shown.get(this.#body.rows[this.#body.rows.length - 1]?.dataset.key)?.turn;
      const row = this.#remember(turn);
      if (last && isAbove(turn, last, this.#sort)) this.#insert(row, turn);
      else this.#body.append(row);
    }
    this.#end = end;
    this.isCut = false;
    this.#room = this.size + MAX_LIVE_ROWS;
    this.#rescale();
    this.#markSelected();
  }

  /** Put a new or changed turn where it belongs, if that is among these rows; true if it is new. */
  put(turn) {
    const key = keyOf(turn);
    const before = this.#shown.get(key);
    const stood = [...this.#shown.values()].find(({ turn: other }) => other.trace_id === turn.trace_id);
    // A running turn becomes the turn that ended: one row, another key.
    const replaced = before ?? (stood && (!stood.turn.span_id || !turn.span_id) ? stood : null);
    // Below the end it would stand before rows that were not asked for yet.
    const isBeyond = this.#end !== null && isAbove(this.#end, turn, this.#sort);
    if (isBeyond && !replaced) return true;
    this.#steady(() => {
      if (replaced) {
        const old = keyOf(replaced.turn);
        this.#shown.delete(old);
        replaced.row.remove();
        if (this.#selected === old) this.#selected = key;
      }
      if (isBeyond) return;
      const row = this.#remember(turn);
      if (!replaced) row.classList.add("fresh");
      this.#insert(row, turn);
      this.#trim();
    });
    this.#rescale();
    this.#markSelected();
    return !replaced;
  }

  /** Take the rows of traces out; true if there were any. */
  remove(traceIds) {
    const gone = new Set(traceIds);
    const keys = [...this.#shown].filter(([, { turn }]) => gone.has(turn.trace_id)).map(([key]) => key);
    this.#steady(() => keys.forEach((key) => this.#drop(key)));
    return keys.length > 0;
  }

  /** Select the row `steps` below the selected one. */
  move(steps) {
    const rows = [...this.#body.rows];
    if (rows.length === 0) return;
    const now = rows.findIndex((row) => row.dataset.key === this.#selected);
    const next = now < 0 ? (steps > 0 ? 0 : rows.length - 1) : now + steps;
    const row = rows[Math.max(0, Math.min(rows.length - 1, next))];
    this.#selected = row.dataset.key;
    this.#markSelected();
    row.querySelector(".c-event a").focus({ preventScroll: true });
    row.scrollIntoView({ block: "nearest" });
    this.#onSelect(this.#shown.get(this.#selected)?.turn);
  }

  /** Open the turn of a row, or of the selected one. */
  open(row = this.#shown.get(this.#selected)?.row) {
    row?.querySelector(".c-event a").click();
  }

  /** Let running turns grow older. */
  tick() {
    const running = [...this.#shown.values()].filter(({ turn }) => turn.outcome === "running");
    for (const { turn, row } of running.filter((each) => isInSight(each.row))) retime(row, turn);
    if (running.length > 0) this.#rescale();
  }

  #remember(turn) {
    const row = makeRow(turn);
    this.#shown.set(keyOf(turn), { turn, row });
    this.#reach = Math.max(this.#reach, REACHES.indexOf(reach(turn.start_ms)));
    if (this.#table.dataset.reach !== REACHES[this.#reach]) this.#table.dataset.reach = REACHES[this.#reach];
    return row;
  }

  /** Return the turns that stand below a page which has some of the same rows. */
  #below(page) {
    if (page.length > 0 && !page.some((turn) => this.has(turn))) return [];
    const last = page.at(-1);
    const inOrder = [...this.#body.rows].map((row) => this.#shown.get(row.dataset.key).turn);
    return inOrder.filter((turn) => !last || isAbove(last, turn, this.#sort));
  }

  #insert(row, turn) {
    for (const other of this.#body.rows) {
      if (isAbove(turn, this.#shown.get(other.dataset.key)?.turn ?? turn, this.#sort)) {
        other.before(row);
        return;
      }
    }
    this.#body.append(row);
  }

  #trim() {
    const { rows } = this.#body;
    if (rows.length <= this.#room) return;
    while (rows.length > this.#room) this.#drop(rows[this.#room].dataset.key);
    this.#end = this.#shown.get(rows[rows.length - 1].dataset.key).turn;
    this.isCut = true;
  }

  #drop(key) {
    this.#shown.get(key)?.row.remove();
    this.#shown.delete(key);
  }

  /** Change rows while what the reader looks at stays where it is on the screen. */
  #steady(action, anchor = this.#anchor()) {
    const top = anchor?.getBoundingClientRect().top;
    const hadFocus = this.#body.contains(document.activeElement);
    action();
    const standing = (this.#shown.get(anchor?.dataset.key) ?? this.#shown.get(this.#selected))?.row;
    if (standing && top !== undefined) {
      const moved = standing.getBoundingClientRect().top - top;
      if (moved) scrollBy(0, moved);
    }
    if (hadFocus && !this.#body.contains(document.activeElement)) {
      this.#shown.get(this.#selected)?.row.querySelector(".c-event a").focus({ preventScroll: true });
    }
  }

  #anchor() {
    const hovered = this.#body.querySelector("tr:hover");
    if (hovered) return hovered;
    const selected = this.#shown.get(this.#selected)?.row;
    if (selected && isInSight(selected)) return selected;
    if (scrollY === 0) return null;
    return [...this.#body.rows].find((row) => row.getBoundingClientRect().top >= 0) ?? null;
  }

  #rescale() {
    const scale = longest(this.turns());
    if (scale === this.#scale) return;
    const isVisiblyOther = Math.abs(scale - this.#scale) / this.#scale > 0.02;
    if (!isVisiblyOther) return;
    this.#scale = scale;
    this.#showHeads();
  }

  #showHeads() {
    for (const head of this.#table.querySelectorAll("[data-head]")) {
      const isSorted = head.dataset.head === this.#sort;
      head.textContent = HEADS[head.dataset.head] + (isSorted ? " ↓" : "");
      if (isSorted) head.setAttribute("aria-sort", "descending");
      else head.removeAttribute("aria-sort");
    }
    this.#table.style.setProperty("--scale", String(this.#scale));
    this.#table.querySelector("[data-scale]").textContent = `0 to ${duration(this.#scale).join(" ")}`;
  }

  #markSelected() {
    for (const row of this.#body.querySelectorAll("tr.sel")) row.classList.remove("sel");
    this.#shown.get(this.#selected)?.row.classList.add("sel");
  }
}
