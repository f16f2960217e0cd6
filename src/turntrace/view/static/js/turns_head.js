// What the turns add up to: the sentence, the outcome chips, the choices of the filters.

import { count, dollars, make, outcome, visible } from "./base.js";

const ORDER = ["ok", "running", "error", "crashed", "client_disconnected", "cancelled", "interrupted"];

/** The API offers no more values of a filter. */
const MOST_CHOICES = 50;

const plural = (number, word) => (number === 1 ? word : `${word}s`);

/** Return the header's sentence as nodes. */
export function totals(overview, hasPlain, hasSearch) {
  const bold = (text) => make("b", {}, text);
  const more = overview.is_cut && !hasSearch ? "+" : "";
  const parts = [bold(count(overview.turns) + more), ` ${plural(overview.turns, hasPlain ? "row" : "turn")}`];
  if (overview.sessions) {
    parts.push(" in ", bold(count(overview.sessions)), ` ${plural(overview.sessions, "session")}`);
  }
  if (overview.cost_usd) parts.push(", ", bold(dollars(overview.cost_usd)));
  if (overview.input_tokens || overview.output_tokens) {
    parts.push(`, ${count(overview.input_tokens)} tokens in, ${count(overview.output_tokens)} out`);
  }
  if (overview.is_cut && hasSearch) parts.push(" among the newest, which are all that is searched for the sums");
  return parts;
}

/** Return one chip per outcome, and one for all. */
export function chips(overview, chosen) {
  const counts = overview.outcomes;
  const known = [...new Set([...ORDER, ...Object.keys(counts), ...chosen])].filter(
    (name) => counts[name] || chosen.includes(name) || name === "ok",
  );
  const all = Object.values(counts).reduce((sum, number) => sum + number, 0);
  const chip = (name, isOn, ...children) =>
    make("button", { class: "chip", type: "button", "data-outcome": name, "data-every": name === null, "aria-pressed": String(isOn) }, ...children);
  return [
    chip(null, chosen.length === 0, "all ", make("b", {}, count(all))),
    ...known.map((name) => chip(name, chosen.includes(name), outcome(name), " ", make("b", {}, count(counts[name] ?? 0)))),
  ];
}

/** Fill a filter's list with the values that there are, keeping what is chosen. */
export function fillChoices(select, choices, chosen) {
  const values = choices.map(({ value }) => value);
  const word = select.dataset.word;
  const any = make("option", { value: "" }, values.length > 0 ? `${word} (${values.length}${values.length === MOST_CHOICES ? "+" : ""})` : word);
  const options = choices.map((choice) =>
    make("option", { value: choice.value }, `${visible(choice.value)} (${count(choice.count)})`),
  );
  if (chosen && !values.includes(chosen)) options.unshift(make("option", { value: chosen }, chosen));
  select.replaceChildren(any, ...options);
  select.value = chosen;
  select.classList.toggle("set", chosen !== "");
}
