// The Turns page: asks for turns as its address says, shows them, and keeps them live.

import { count, duration, make, onKey, showRate, showSource } from "./base.js";
import { openLive } from "./live.js";
import { makeChart } from "./turns_chart.js";
import { apiQuery, formatSearch, hasSearch, isFiltered, parseSearch, readState, writeState } from "./turns_filters.js";
import { chips, fillChoices, totals } from "./turns_head.js";
import { TurnTable } from "./turns_list.js";
import { day, timeOfDay } from "./turns_table.js";

const PAGE = 100;
/** The API gives no more rows at once. */
const MAX_PAGE = 500;
const OVERVIEW_EVERY_MS = 2000;
const SAY_EVERY_MS = 10_000;
const TYPING_MS = 350;

const at = (selector) => document.querySelector(selector);
const form = at("[data-filters]");
const table = new TurnTable(at(".turns"), (turn) => chart?.mark(turn?.trace_id ?? ""));

let state = readState(location.search);
let asked = 0;
let cursor = "";
let change = "";
let overview = null;
let chart = null;
let stream = null;
let isLive = true;

// ---- Asking ---------------------------------------------------------------------------------

async function ask(query) {
  const response = await fetch(`/api/turns?${query}`);
  if (response.status === 401) location.reload();
  const document_ = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(document_.detail ?? `the view answered ${response.status}`);
  return document_;
}

/** Return the turn after which others follow, if it is known: a search may have looked further. */
const endOf = (page) => (page.cursor && !page.is_search_cut ? (page.turns.at(-1) ?? null) : null);

/** Ask the same question again, for as many rows as the reader has. */
const reload = () => load({ isSame: true });

/** Fetch the first page and the overview side by side; the rows are there first. */
async function load({ isSame = false } = {}) {
  const mine = ++asked;
  table.busy(true);
  const [query, summed] = [apiQuery(state), apiQuery(state)];
  query.set("limit", isSame ? Math.min(MAX_PAGE, Math.max(PAGE, table.size)) : PAGE);
  query.set("overview", "0");
  summed.set("limit", "1");
  const summing = ask(summed);
  summing.catch(() => {});
  try {
    const page = await ask(query);
    if (mine !== asked) return;
    change = page.change;
    const hasTail = table.show(page.turns, state.sort, { end: endOf(page), hasMore: page.cursor !== "", isSame });
    if (!hasTail) cursor = page.cursor;
    notice("");
    showRows(page);
    showOverview((await summing).overview, mine);
  } catch (error) {
    if (mine === asked) notice(`The turns could not be fetched: ${error.message}.`);
  } finally {
    if (mine === asked) table.busy(false);
  }
}

async function loadMore() {
  const mine = asked;
  const query = apiQuery(state);
  query.set("limit", table.isCut ? MAX_PAGE : PAGE);
  query.set("overview", "0");
  // Where last rows were let go, the cursor stands behind them: walk there from the first row.
  let position = table.isCut ? "" : cursor;
  try {
    let page;
    do {
      query.set("cursor", position);
      page = await ask(query);
      position = page.cursor;
    } while (mine === asked && position && table.isCut && page.turns.every((turn) => table.has(turn)));
    if (mine !== asked) return;
    cursor = position;
    table.append(page.turns, endOf(page));
    showRows(page);
  } catch (error) {
    notice(`More turns could not be fetched: ${error.message}.`);
  }
}

let overviewTimer = 0;

/** Count anew soon, however many rows change meanwhile. */
function countSoon() {
  if (overviewTimer) return;
  overviewTimer = setTimeout(async () => {
    overviewTimer = 0;
    const mine = asked;
    const query = apiQuery(state);
    query.set("limit", "1");
    const page = await ask(query).catch(() => null);
    if (page) showOverview(page.overview, mine);
  }, OVERVIEW_EVERY_MS);
}

// ---- Showing --------------------------------------------------------------------------------

const troubles = { search: "", address: "", list: "", live: "" };

/** Say what is wrong, with the list before the stream: the list's reason is the better one. */
function notice(text, of = "list") {
  troubles[of] = text;
  const failed = troubles.list || troubles.live;
  const said = [troubles.search, troubles.address, failed].filter(Boolean).join(" ");
  at("[data-retry]").hidden = failed === "";
  at("[data-notice-text]").textContent = said;
  at("[data-notice]").hidden = said === "";
}

function showRows(page) {
  const more = at("[data-more]");
  more.hidden = cursor === "" && !table.isCut;
  more.textContent = page.is_search_cut ? "Search on in older turns" : "More";
  const services = [...new Set(table.turns().map((turn) => turn.service))];
  showSource(services.length > 1 ? `${services.length} services` : (services[0] ?? ""));
  showNone();
}

function showNone() {
  const none = at("[data-none]");
  none.hidden = table.turns().length > 0;
  if (!none.hidden) none.replaceChildren(...whyNone());
}

function whyNone() {
  if (cursor) return ["None among the turns that were searched so far."];
  if (isFiltered(state)) return ["No turn meets these filters.", make("button", { class: "btn", type: "button", "data-clear": true }, "Clear filters")];
  const plain = overview?.plain ?? 0;
  if (plain > 0 && !state.all) {
    const text = plain === 1 ? "No turn yet, but 1 other trace." : `No turn yet, but ${count(plain)} other traces.`;
    return [text, make("button", { class: "btn", type: "button", "data-all": true }, "Show all traces")];
  }
  return ["No turn yet. Send your app a chat message: it appears here by itself."];
}

function showOverview(found, mine) {
  if (mine !== asked || !found) return;
  overview = found;
  at("[data-totals]").replaceChildren(...totals(overview, state.all, hasSearch(state)));
  const focused = document.activeElement?.closest(".chip");
  at("[data-outcomes]").replaceChildren(...chips(overview, state.outcomes));
  if (focused) at(focused.dataset.outcome === undefined ? "[data-every]" : `[data-outcome="${CSS.escape(focused.dataset.outcome)}"]`)?.focus();
  for (const [name, choices] of Object.entries(overview.choices)) {
    const select = form.elements[name];
    if (document.activeElement !== select) fillChoices(select, choices, state[name]);
  }
  const { turns, points, is_cut: isCut } = overview;
  const drawn = points.length < turns ? `The chart shows the newest ${count(points.length)}.` : "";
  at("[data-cut]").textContent = isCut ? `Counted among the newest rows only. ${drawn}` : drawn;
  const last = Number(state.last);
  const from = last > 0 ? Date.now() - last * 1000 : Number(state.from_ms) || null;
  chart?.show(points, from, last > 0 ? Date.now() : Number(state.to_ms) || null);
  showNone();
}

function showControls() {
  form.elements.search.value = formatSearch(state);
  const last = form.elements.last;
  last.querySelector("[data-range]")?.remove();
  if (state.from_ms || state.to_ms) {
    offer(last, "range", rangeWords(Number(state.from_ms), Number(state.to_ms)));
    last.value = "range";
  } else {
    if (![...last.options].some(({ value }) => value === state.last)) {
      offer(last, state.last, `Last ${duration(Number(state.last) * 1000).join(" ")}`);
    }
    last.value = state.last;
  }
  last.classList.toggle("set", last.value !== "");
  for (const name of ["session", "phase", "model", "event"]) {
    fillChoices(form.elements[name], overview?.choices[name] ?? [], state[name]);
  }
  for (const button of document.querySelectorAll("[data-sort]")) {
    button.setAttribute("aria-pressed", String(button.dataset.sort === state.sort));
  }
  at("form [data-all]").setAttribute("aria-pressed", String(state.all));
  at("form [data-clear]").hidden = !isFiltered(state);
}

function offer(select, value, words) {
  select.append(make("option", { value, "data-range": true }, words));
}

/** Say a range of time, 0 being open, without saying the same day twice. */
function rangeWords(fromMs, toMs) {
  const moment = (ms) => `${day(ms)} ${timeOfDay(ms)}`;
  if (!fromMs) return `… – ${moment(toMs)}`;
  if (!toMs) return `${moment(fromMs)} – …`;
  return `${moment(fromMs)} – ${day(fromMs) === day(toMs) ? timeOfDay(toMs) : moment(toMs)}`;
}

// ---- Changing what is asked for ----------------------------------------------------------------

function askFor(changes, { replaces = false } = {}) {
  state = { ...state, ignored: [], ...changes };
  const query = String(writeState(state));
  history[replaces ? "replaceState" : "pushState"](null, "", query ? `/?${query}` : "/");
  start();
}

function start() {
  notice("", "search");
  notice(state.ignored.join(" "), "address");
  showControls();
  load();
  watch();
}

function clear() {
  askFor({ ...readState(""), sort: state.sort, all: state.all });
}

function search(text, options) {
  const { filters, troubles: unread, ...found } = parseSearch(text);
  // What was typed stays, to be mended.
  if (unread.length > 0) notice(unread.join(" "), "search");
  else askFor({ ...found, ...filters }, options);
}

const nextSort = { newest: "slowest", slowest: "dearest", dearest: "newest" };

// ---- Live -----------------------------------------------------------------------------------

let unsaid = 0;
let sayTimer = 0;

/** Tell a screen reader how many turns came, seldom enough to be bearable. */
function saySoon() {
  unsaid += 1;
  if (sayTimer) return;
  sayTimer = setTimeout(() => {
    at("[data-said]").textContent = unsaid === 1 ? "1 new turn" : `${unsaid} new turns`;
    unsaid = sayTimer = 0;
  }, SAY_EVERY_MS);
}

function watch() {
  stream?.close();
  stream = null;
  if (!isLive) return;
  stream = openLive(apiQuery(state), {
    onOpen: (hello) => hello.change !== change && change !== "" && reload(),
    onLink: showLink,
    onTurn(turn) {
      if (table.put(turn)) saySoon();
      if (table.isCut) at("[data-more]").hidden = false;
      showNone();
      countSoon();
    },
    onGone(traceIds) {
      if (table.remove(traceIds)) countSoon();
      showNone();
    },
    onStale: reload,
    onTrouble: (text) => notice(text, "live"),
  });
}

function showLink(isOpen) {
  at("[data-live] .pulse").className = isOpen ? "pulse live" : "pulse off";
}

function flipLive() {
  isLive = !isLive;
  at("[data-live]").setAttribute("aria-pressed", String(isLive));
  notice("", "live");
  if (isLive) reload();
  watch();
  if (isLive) return;
  showLink(false);
  showRate(null);
}

// ---- Events ---------------------------------------------------------------------------------

let typing = 0;
form.addEventListener("submit", (event) => {
  event.preventDefault();
  clearTimeout(typing);
  search(form.elements.search.value);
});
form.elements.search.addEventListener("input", () => {
  clearTimeout(typing);
  // A term that is not finished yet would be searched for as words.
  const { value } = form.elements.search;
  if (/[=<>]/.test(value)) return;
  typing = setTimeout(() => {
    const { text } = parseSearch(value);
    if (text !== state.text) changeText(text);
  }, TYPING_MS);
});

/** Search while typing: the box stays as it is typed. */
function changeText(text) {
  state = { ...state, min_ms: "", attributes: [], text };
  notice("", "search");
  history.replaceState(null, "", `/?${writeState(state)}`);
  at("form [data-clear]").hidden = !isFiltered(state);
  load();
  watch();
}

form.addEventListener("change", (event) => {
  const { name, value } = event.target;
  if (name === "last") askFor({ last: value, from_ms: "", to_ms: "" });
  else if (name !== "search") askFor({ [name]: value });
});

document.addEventListener("click", (event) => {
  const target = event.target.closest("button, a, tr[data-key]");
  if (!target) return;
  if (target.dataset.sort) askFor({ sort: target.dataset.sort });
  if (target.hasAttribute("data-live")) flipLive();
  if (target.hasAttribute("data-all")) askFor({ all: !state.all });
  if (target.hasAttribute("data-clear")) clear();
  if (target.hasAttribute("data-more")) loadMore();
  if (target.hasAttribute("data-retry")) {
    reload();
    watch();
  }
  if (target.hasAttribute("data-every")) askFor({ outcomes: [] });
  if (target.dataset.outcome !== undefined) {
    const { outcome } = target.dataset;
    const chosen = new Set(state.outcomes);
    if (!chosen.delete(outcome)) chosen.add(outcome);
    askFor({ outcomes: [...chosen] });
  }
  if (target.dataset.session && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
    event.preventDefault();
    askFor({ session: target.dataset.session });
  }
  if (target.matches("tr") && getSelection()?.isCollapsed !== false) table.open(target);
});

addEventListener("popstate", () => {
  state = readState(location.search);
  start();
});

onKey(["j", "ArrowDown"], "next turn", () => table.move(1));
onKey(["k", "ArrowUp"], "turn before", () => table.move(-1));
onKey("Enter", "open the turn", () => table.open());
onKey("/", "search", () => form.elements.search.select());
onKey("s", "next order", () => askFor({ sort: nextSort[state.sort] ?? "newest" }));
onKey("l", "live on or off", flipLive);
onKey("a", "all traces, or turns only", () => askFor({ all: !state.all }));
onKey("x", "clear filters", clear);

// ---- Begin ----------------------------------------------------------------------------------

start();
setInterval(() => table.tick(), 1000);
const box = at("[data-chart]");
if (box) {
  chart = await makeChart(box, {
    onRange: (from, to) => askFor({ from_ms: String(Math.floor(from)), to_ms: String(Math.ceil(to)), last: "" }),
    onOpen: (traceId) => (location.href = `/turns/${encodeURIComponent(traceId)}`),
  });
  if (overview) showOverview(overview, asked);
}

