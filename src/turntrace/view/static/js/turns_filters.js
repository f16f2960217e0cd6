// What is asked for: kept in the page's address, shown in its controls, sent to /api/turns.

const NAMES = { tool: "gen_ai.tool.name", service: "service.name", user: "user.id" };
const FILTERS = new Set(["session", "phase", "model", "event"]);
const UNITS = { ms: 1, s: 1000, min: 60_000 };
const TERM = /([\p{L}_][\p{L}\p{N}_.\-:/]*)\s*(>=|<=|>|<|=)\s*("[^"]*"|[^\s"]+)(?:\s*(ms|s|min)(?=\s|$))?/gu;
const LOOSE = /(?<=^|\s)[<>=]+\s*\S*/gu;
const OPERATOR = /[<>=]/;
/** The last moment that a browser's calendar has, in milliseconds. */
const MAX_MOMENT_MS = 8.64e15;
const KEPT = ["session", "phase", "model", "event", "text", "min_ms", "from_ms", "to_ms", "last"];

/** Return the state of an address's query string. */
export function readState(search) {
  const given = new URLSearchParams(search);
  const state = { sort: given.get("sort") ?? "newest", all: given.get("all") === "1" };
  for (const name of KEPT) state[name] = given.get(name) ?? "";
  state.outcomes = given.getAll("outcome");
  state.attributes = given.getAll("attribute");
  state.ignored = [];
  const now = Date.now();
  ignoreUnless(state, "last", (seconds) => seconds > 0 && seconds * 1000 < now, "a number of seconds since 1970 or later");
  for (const name of ["from_ms", "to_ms"]) {
    ignoreUnless(state, name, (ms) => ms >= 0 && ms <= MAX_MOMENT_MS, "a number of milliseconds since 1970");
  }
  return state;
}

function ignoreUnless(state, name, isFit, wanted) {
  if (state[name] === "" || isFit(Number(state[name]))) return;
  state.ignored.push(`${name} of the address is left out: it must be ${wanted}, and is "${state[name].slice(0, 40)}".`);
  state[name] = "";
}

/** Return the query string of a state. */
export function writeState(state) {
  const query = new URLSearchParams();
  for (const name of KEPT) if (state[name]) query.set(name, state[name]);
  for (const outcome of state.outcomes) query.append("outcome", outcome);
  for (const attribute of state.attributes) query.append("attribute", attribute);
  if (state.all) query.set("all", "1");
  if (state.sort !== "newest") query.set("sort", state.sort);
  return query;
}

/** Return what the API is asked: an address's "the last ten minutes" as a moment. */
export function apiQuery(state) {
  const query = writeState(state);
  query.delete("last");
  if (Number(state.last) > 0) query.set("from_ms", String(Date.now() - Number(state.last) * 1000));
  return query;
}

/** Tell whether the spans must be looked at, of which only so many are. */
export function hasSearch(state) {
  return state.text !== "" || state.attributes.length > 0;
}

/** Tell whether anything is filtered out. */
export function isFiltered(state) {
  return KEPT.some((name) => state[name]) || state.outcomes.length > 0 || state.attributes.length > 0;
}

/**
 * Read the search box: terms like `duration > 2 s` and `key = value`, and words of a name.
 *
 * `troubles` says what is not understood; a name with "=", "<" or ">" in it stands in quotes.
 */
export function parseSearch(text) {
  const found = { text: "", min_ms: "", attributes: [], filters: {}, troubles: [] };
  const [, whole] = /^\s*"([^"]*)"\s*$/.exec(text) ?? [];
  if (whole !== undefined) return { ...found, text: whole.trim() };
  const trouble = (term, reason) => {
    found.troubles.push(`"${term.trim()}" is not understood: ${reason}`);
    return " ";
  };
  const rest = text.replace(TERM, (term, key, operator, quoted, unit) => {
    const value = quoted.replace(/^"|"$/g, "");
    if (key === "duration") {
      if (!operator.startsWith(">")) return trouble(term, "duration knows only >, as in duration > 2 s.");
      const [, number, glued] = /^(\d*\.?\d+(?:e\+?\d+)?)(ms|s|min)?$/i.exec(value) ?? [];
      const ms = Number(number) * UNITS[unit ?? glued ?? "ms"];
      if (!Number.isFinite(ms)) return trouble(term, "after duration > comes a number of ms, s or min.");
      found.min_ms = String(ms);
      return " ";
    }
    if (operator !== "=") return trouble(term, `${key} knows only =; only duration knows >.`);
    const whole = unit ? `${value} ${unit}` : value;
    if (FILTERS.has(key)) found.filters[key] = whole;
    else found.attributes.push(`${NAMES[key] ?? key}=${whole}`);
    return " ";
  });
  const words = rest.replace(LOOSE, (term) => trouble(term, "what it is about must stand before it, as in tool = search_products."));
  found.text = words.replace(/\s+/g, " ").trim();
  return found;
}

/** Write what the search box shows for a state. */
export function formatSearch(state) {
  const ms = Number(state.min_ms);
  const shown = Object.fromEntries(Object.entries(NAMES).map(([short, long]) => [long, short]));
  const terms = state.attributes.map((attribute) => {
    const cut = attribute.indexOf("=");
    const [key, value] = [attribute.slice(0, cut), attribute.slice(cut + 1)];
    return `${shown[key] ?? key} = ${/[\s"]/.test(value) ? `"${value}"` : value}`;
  });
  if (state.min_ms) terms.unshift(ms >= 1000 ? `duration > ${ms / 1000} s` : `duration > ${ms} ms`);
  if (state.text) terms.push(OPERATOR.test(state.text) ? `"${state.text}"` : state.text);
  return terms.join("  ");
}
