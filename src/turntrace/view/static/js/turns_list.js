// The table: rows in order, one of them selected, none of them jumping while others arrive.

import { duration } from "./base.js";
import { keyOf, lasted, makeRow, RANKS } from "./turns_table.js";

const MAX_ROWS = 1000;
const HEADS = { newest: "Started", slowest: "Duration", dearest: "Cost" };

/** Return what the bars are drawn to: a turn that runs on and on must not flatten the others. */
function longest(turns) {
  const ended = turns.filter((turn) => turn.outcome !== "running");
  return Math.max(1, ...(ended.length > 0 ? ended : turns).map(lasted));
}

export class TurnTable {
  #table;
  #body;
  #shown = new Map();
  #sort = "newest";
  #scale = 1;
  #selected = "";
  #onSelect;

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

  /** Show a first page. */
  show(turns, sort) {
    this.#sort = RANKS[sort] ? sort : "newest";
    this.#shown.clear();
    this.#scale = longest(turns);
    for (const turn of turns) this.#remember(turn);
    this.#steady(() => this.#body.replaceChildren(...[...this.#shown.values()].map(({ row }) => row)));
    if (!this.#shown.has(this.#selected)) this.#selected = "";
    this.#showHeads();
    this.#markSelected();
  }

  /** Show the rows that follow. */
  append(turns) {
    for (const turn of turns) {
      if (!this.#shown.has(keyOf(turn))) this.#body.append(this.#remember(turn));
    }
    this.#rescale();
    this.#markSelected();
  }

  /** Put a new or changed turn where it belongs; true if it is new here. */
  put(turn) {
    const key = keyOf(turn);
    const before = this.#shown.get(key);
    const stood = [...this.#shown.values()].find(({ turn: other }) => other.trace_id === turn.trace_id);
    // A running turn becomes the turn that ended: one row, another key.
    const replaced = before ?? (stood && (!stood.turn.span_id || !turn.span_id) ? stood : null);
    this.#steady(() => {
      if (replaced) {
        const old = keyOf(replaced.turn);
        this.#shown.delete(old);
        replaced.row.remove();
        if (this.#selected === old) this.#selected = key;
      }
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
    for (const { turn } of [...this.#shown.values()]) {
      if (turn.outcome === "running") this.#redraw(turn);
    }
    this.#rescale();
  }

  #remember(turn) {
    const row = makeRow(turn, this.#scale);
    this.#shown.set(keyOf(turn), { turn, row });
    return row;
  }

  #redraw(turn) {
    const known = this.#shown.get(keyOf(turn));
    const fresh = makeRow(turn, this.#scale);
    // Cell by cell, and only the times: focus and selection stay where they are.
    for (const name of [".c-bar", ".c-dur"]) known.row.querySelector(name).replaceWith(fresh.querySelector(name));
  }

  #insert(row, turn) {
    const rank = RANKS[this.#sort];
    for (const other of this.#body.rows) {
      if (rank(this.#shown.get(other.dataset.key)?.turn ?? turn) < rank(turn)) {
        other.before(row);
        return;
      }
    }
    this.#body.append(row);
  }

  #trim() {
    while (this.#body.rows.length > MAX_ROWS) this.#drop(this.#body.rows[MAX_ROWS].dataset.key);
  }

  #drop(key) {
    this.#shown.get(key)?.row.remove();
    this.#shown.delete(key);
  }

  /** Change rows while what the reader looks at stays where it is on the screen. */
  #steady(action) {
    const anchor = this.#anchor();
    const top = anchor?.getBoundingClientRect().top;
    const hadFocus = this.#body.contains(document.activeElement);
    action();
    const standing = anchor?.isConnected ? anchor : this.#shown.get(this.#selected)?.row;
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
    if (selected) {
      const { top, bottom } = selected.getBoundingClientRect();
      if (bottom > 0 && top < innerHeight) return selected;
    }
    if (scrollY === 0) return null;
    return [...this.#body.rows].find((row) => row.getBoundingClientRect().top >= 0) ?? null;
  }

  #rescale() {
    const scale = longest(this.turns());
    if (scale === this.#scale) return;
    const isVisiblyOther = Math.abs(scale - this.#scale) / this.#scale > 0.02;
    if (!isVisiblyOther) return;
    this.#scale = scale;
    for (const { turn } of this.#shown.values()) this.#redraw(turn);
    this.#showHeads();
  }

  #showHeads() {
    for (const head of this.#table.querySelectorAll("[data-head]")) {
      const isSorted = head.dataset.head === this.#sort;
      head.textContent = HEADS[head.dataset.head] + (isSorted ? " ↓" : "");
      if (isSorted) head.setAttribute("aria-sort", "descending");
      else head.removeAttribute("aria-sort");
    }
    this.#table.querySelector("[data-scale]").textContent = `0 to ${duration(this.#scale).join(" ")}`;
  }

  #markSelected() {
    for (const row of this.#body.querySelectorAll("tr.sel")) row.classList.remove("sel");
    this.#shown.get(this.#selected)?.row.classList.add("sel");
  }
}
