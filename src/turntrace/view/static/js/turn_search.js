// Finding spans inside the turn: by what stands in their rows, or by their id.

const WAIT_MS = 80;

export class Search {
  #found = [];
  #at = -1;
  #waiting = null;

  constructor(waterfall, input, { go, changed }) {
    this.waterfall = waterfall;
    this.input = input;
    this.go = go;
    this.changed = changed;
    input.addEventListener("input", () => {
      clearTimeout(this.#waiting);
      this.#waiting = setTimeout(() => this.run(), WAIT_MS);
    });
    input.addEventListener("search", () => this.run());
    input.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      clearTimeout(this.#waiting);
      if (this.#pattern() !== waterfall.pattern) this.run();
      this.next(event.shiftKey ? -1 : 1);
    });
  }

  /** Look through the rows anew; a pattern that has no match says so. */
  run({ isQuiet = false } = {}) {
    const pattern = this.#pattern();
    const before = this.#found[this.#at];
    this.#found = pattern ? this.waterfall.rows.filter((row) => text(row).includes(pattern)).map((row) => row.id) : [];
    this.#at = isQuiet ? this.#found.indexOf(before) : -1;
    if (!isQuiet || pattern) this.waterfall.highlight(new Set(this.#found), pattern);
    this.changed();
  }

  /** Go to the next match, or the one before. */
  next(step) {
    if (!this.#found.length) return;
    const isFresh = this.#at < 0 && step > 0;
    this.#at = isFresh ? 0 : (this.#at + step + this.#found.length) % this.#found.length;
    if (this.#at < 0) this.#at = this.#found.length - 1;
    this.go(this.#found[this.#at]);
    this.changed();
  }

  /** Say how many matches there are; nothing without a pattern. */
  words() {
    if (!this.#pattern()) return "";
    if (!this.#found.length) return "no match";
    const all = this.#found.length === 1 ? "1 match" : `${this.#found.length.toLocaleString("en-US")} matches`;
    return this.#at < 0 ? all : `${this.#at + 1} of ${all}`;
  }

  #pattern() {
    return this.input.value.trim().toLowerCase();
  }
}

function text(row) {
  return [row.name, row.letters, row.service, row.id, ...row.facts].join("\n").toLowerCase();
}
