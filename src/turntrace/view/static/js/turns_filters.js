// What is asked for: kept in the page's address, shown in its controls, sent to /api/turns.

const NAMES = { tool: "gen_ai.tool.name", service: "service.name", user: "user.id" };
const FILTERS = new Set(["session", "phase", "model", "event"]);
const UNITS = { ms: 1, s: 1000, min: 60_000 };
const TERM = /([\p{L}\p{N}_.\-:/]+)\s*(>=|>|=)\s*("[^"]*"|[^\s"]+)(?:\s*(ms|s|min)(?=\s|$))?/gu;
const KEPT = ["session", "phase", "model", "event", "text", "min_ms", "from_ms", "to_ms", "last"];

/** Return the state of an address's query string. */
export function readState(search) {
  const given = new URLSearchParams(search);
  const state = { sort: given.get("sort") ?? "newest", all: given.get("all") === "1" };
  for (const name of KEPT) state[name] = given.get(name) ?? "";
  state.outcomes = given.getAll("outcome");
  state.attributes = given.getAll("attribute");
  return state;
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

/** Tell whether anything is filtered out. */
export function isFiltered(state) {
  return KEPT.some((name) => state[name]) || state.outcomes.length > 0 || state.attributes.length > 0;
}

/** Read the search box: terms like `duration > 2 s` and `key = value`, and words of a name. */
export function parseSearch(text) {
  const found = { text: "", min_ms: "", attributes: [], filters: {} };
  const rest = text.replace(TERM, (term, key, operator, quoted, unit) => {
    const value = quoted.replace(/^"|"$/g, "");
    if (key === "duration" && operator !== "=") {
      const [, number, glued] = /^([\d.]+)(ms|s|min)?$/.exec(value) ?? [];
      if (number === undefined) return term;
      found.min_ms = String(Number(number) * UNITS[unit ?? glued ?? "ms"]);
      return " ";
    }
    if (operator !== "=") return term;
    const whole = unit ? `${value} ${unit}` : value;
    if (FILTERS.has(key)) found.filters[key] = whole;
    else found.attributes.push(`${NAMES[key] ?? key}=${whole}`);
    return " ";
  });
  found.text = rest.replace(/\s+/g, " ").trim();
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
  if (state.text) terms.push(state.text);
  return terms.join("  ");
}
