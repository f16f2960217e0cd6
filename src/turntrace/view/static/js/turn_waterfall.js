// The rows of the waterfall: folding, selecting, moving; of a long trace only the rows in sight exist.

import { drawRow } from "./turn_row.js";
import { place } from "./turn_head.js";

/** Up to here every row is in the page, so that the browser's own search and readers see them. */
const ALL_ROWS = 400;
/** Rows drawn above and below what is in sight. */
const MARGIN_ROWS = 20;

export class Waterfall {
  #rows = [];
  #places = new Map();
  #shown = [];
  #shownAt = new Map();
  #folded = new Set();
  #drawn = new Map();
  #turn = null;
  #version = 0;
  #isWaiting = false;

  constructor(section, { select, changed }) {
    this.selected = null;
    this.isPathOnly = false;
    this.matches = new Set();
    this.pattern = "";
    this.section = section;
    this.list = section.querySelector("[data-rows]");
    this.changed = changed;
    addEventListener("scroll", () => this.#soon(), { passive: true });
    new ResizeObserver(() => {
      this.#version += 1;
      this.#soon();
    }).observe(this.list);
    this.list.addEventListener("click", (event) => {
      const row = event.target.closest(".wf-row.span");
      if (!row) return;
      if (event.target.closest("button.twist")) this.toggle(row.dataset.span);
      else select(row.dataset.span);
    });
  }

  /** Draw a turn; folds and the selection stay as they are. */
  show(turn) {
    this.#turn = turn;
    this.#rows = turn.rows;
    this.#places = new Map(turn.rows.map((row, index) => [row.id, index]));
    this.list.setAttribute("aria-rowcount", String(turn.rows.length));
    this.#arrange();
  }

  has(id) {
    return this.#places.has(id);
  }

  row(id) {
    return this.#rows[this.#places.get(id)];
  }

  get rows() {
    return this.#rows;
  }

  counts() {
    return { shown: this.#shown.length, hidden: this.#rows.length - this.#shown.length };
  }

  hasFolds() {
    return this.#folded.size > 0;
  }

  /** Select a row, or none; return it. */
  select(id) {
    this.selected = this.has(id) ? id : null;
    this.list.setAttribute("aria-activedescendant", this.selected ? `row-${this.selected}` : "");
    for (const segment of this.section.querySelectorAll("[data-segment]")) {
      segment.classList.toggle("on", segment.dataset.segment === this.selected);
    }
    for (const [drawnId, { element }] of this.#drawn) this.#mark(drawnId, element);
    return this.selected ? this.row(this.selected) : null;
  }

  // ---- Folding -------------------------------------------------------------------------------

  toggle(id) {
    if (this.#folded.has(id)) this.#folded.delete(id);
    else if (this.row(id).size) this.#folded.add(id);
    this.#arrange();
  }

  foldAll() {
    if (this.hasFolds()) this.#folded.clear();
    else this.#folded = new Set(this.#rows.filter((row) => row.size && row.depth > 0).map((row) => row.id));
    if (!this.hasFolds() && this.isPathOnly) this.isPathOnly = false;
    this.#arrange();
  }

  togglePathOnly() {
    this.isPathOnly = !this.isPathOnly;
    this.#arrange();
    if (this.selected && this.#shownAt.has(this.selected)) this.scrollTo(this.selected);
  }

  /** Open whatever hides a row. */
  reveal(id) {
    for (let row = this.row(id); row?.parent_id; row = this.row(row.parent_id)) this.#folded.delete(row.parent_id);
    this.#arrange();
    if (!this.#shownAt.has(id)) this.togglePathOnly();
  }

  // ---- Moving --------------------------------------------------------------------------------

  /** Return the row before or after the selected one, among those that are shown. */
  neighbour(step) {
    if (!this.#shown.length) return null;
    const at = this.#shownAt.get(this.selected);
    const next = at === undefined ? 0 : Math.max(0, Math.min(this.#shown.length - 1, at + step));
    return this.#shown[next].id;
  }

  foldOrParent() {
    const row = this.row(this.selected);
    if (row?.size && !this.#folded.has(row.id)) {
      this.toggle(row.id);
      return null;
    }
    return row?.parent_id || null;
  }

  unfoldOrChild() {
    const row = this.row(this.selected);
    if (!row?.size) return null;
    if (this.#folded.has(row.id)) {
      this.toggle(row.id);
      return null;
    }
    return this.#shown[this.#shownAt.get(row.id) + 1]?.id ?? null;
  }

  scrollTo(id) {
    const at = this.#shownAt.get(id);
    if (at === undefined) return;
    const height = this.#rowHeight();
    const top = this.list.getBoundingClientRect().top + at * height;
    const head = this.section.querySelector(".wf-head").getBoundingClientRect();
    const above = Math.max(head.bottom - Math.max(0, head.top), 0) + 60;
    const sheet = document.querySelector("[data-detail]").getBoundingClientRect();
    const isSheetBelow = sheet.height > 0 && sheet.width >= innerWidth;
    const below = isSheetBelow ? sheet.top - height * 2 : innerHeight - height * 3;
    if (top < above) scrollBy(0, top - above);
    else if (top > below) scrollBy(0, top - below);
    this.#draw();
  }

  // ---- Drawing -------------------------------------------------------------------------------

  /** Show what was found; the pattern is marked in names. */
  highlight(matches, pattern) {
    this.matches = matches;
    this.pattern = pattern;
    this.#version += 1;
    this.#draw();
  }

  #arrange() {
    const shown = [];
    const onPath = this.isPathOnly ? this.#pathRows() : null;
    for (let at = 0; at < this.#rows.length; at += 1) {
      const row = this.#rows[at];
      if (onPath && !onPath.has(row.id)) continue;
      shown.push(row);
      if (this.#folded.has(row.id)) at += row.size;
    }
    this.#shown = shown;
    this.#shownAt = new Map(shown.map((row, at) => [row.id, at]));
    this.#version += 1;
    place(this.list, { "--rows": shown.length });
    this.#draw();
    this.changed();
  }

  /** Return the spans that were waited for, and those above them. */
  #pathRows() {
    const found = new Set();
    for (const row of this.#rows) {
      if (!row.path.length) continue;
      for (let each = row; each && !found.has(each.id); each = this.row(each.parent_id)) found.add(each.id);
    }
    return found;
  }

  #soon() {
    if (this.#isWaiting) return;
    this.#isWaiting = true;
    requestAnimationFrame(() => {
      this.#isWaiting = false;
      this.#draw();
    });
  }

  #draw() {
    if (!this.#turn) return;
    const [first, last] = this.#range();
    const wanted = this.#shown.slice(first, last);
    const ids = new Set(wanted.map((row) => row.id));
    for (const [id, { element }] of this.#drawn) {
      if (ids.has(id)) continue;
      element.remove();
      this.#drawn.delete(id);
    }
    const trackWidth = Math.max(60, this.section.querySelector("[data-path]").clientWidth);
    let next = this.list.firstElementChild;
    wanted.forEach((row, index) => {
      const old = this.#drawn.get(row.id);
      let element = old?.element;
      if (!old || old.version !== this.#version) {
        element = this.#drawRow(row, first + index, trackWidth);
        if (old) {
          old.element.replaceWith(element);
          if (next === old.element) next = element;
        }
        this.#drawn.set(row.id, { element, version: this.#version });
      }
      // Rows follow each other in the page as they do on the screen, for those who hear it.
      if (element === next) next = next.nextElementSibling;
      else this.list.insertBefore(element, next);
    });
  }

  #drawRow(row, at, trackWidth) {
    const isFolded = this.#folded.has(row.id);
    const element = drawRow(row, this.#turn, {
      at, trackWidth, isFolded, pattern: this.pattern,
      isHit: this.matches.has(row.id),
      below: isFolded ? this.#below(row) : [],
    });
    this.#mark(row.id, element);
    return element;
  }

  #mark(id, element) {
    const isSelected = id === this.selected;
    element.classList.toggle("sel", isSelected);
    element.setAttribute("aria-selected", String(isSelected));
  }

  #below(row) {
    const at = this.#places.get(row.id);
    return this.#rows.slice(at + 1, at + 1 + row.size);
  }

  /** Return which of the shown rows are in sight, with some above and below. */
  #range() {
    if (this.#shown.length <= ALL_ROWS) return [0, this.#shown.length];
    const height = this.#rowHeight();
    const top = -this.list.getBoundingClientRect().top;
    const first = Math.floor(top / height) - MARGIN_ROWS;
    const last = Math.ceil((top + innerHeight) / height) + MARGIN_ROWS;
    return [Math.max(0, first), Math.max(0, Math.min(this.#shown.length, last))];
  }

  #rowHeight() {
    return parseFloat(getComputedStyle(this.section).getPropertyValue("--row")) || 28;
  }
}
