// The Turn page: fetches the turn, draws it, follows it while it runs.

import { copy, onKey, showRate } from "./base.js";
import { Details } from "./turn_detail.js";
import { SILENT_MS, drawFrame, drawHead, say } from "./turn_head.js";
import { Search } from "./turn_search.js";
import { Waterfall } from "./turn_waterfall.js";

const MIN_WAIT_MS = 1000;
const MAX_WAIT_MS = 10_000;
/** How long after its end late spans are looked for. */
const LATE_MS = 30_000;
const NARROW = matchMedia("(max-width: 1100px)");

const traceId = document.querySelector("[data-turn]").dataset.turn;
const address = `/api/turns/${encodeURIComponent(traceId)}`;
const find = (name) => document.querySelector(`[data-${name}]`);

let turn = null;
let etag = "";
let waitMs = MIN_WAIT_MS;

const details = new Details(find("detail"), traceId, { close: () => select(null), show: (id) => select(id) });
const waterfall = new Waterfall(find("waterfall"), { select, changed: showCount });
const search = new Search(waterfall, find("find"), { go, changed: showCount });

function select(id, { isQuiet = false } = {}) {
  const row = waterfall.select(id);
  if (!isQuiet) history.replaceState(null, "", row ? `#${row.id}` : location.pathname);
  details.show(row, turn);
  if (row && NARROW.matches && !isQuiet) waterfall.scrollTo(row.id);
}

/** Select a span wherever it hides, and bring it into sight. */
function go(id) {
  waterfall.reveal(id);
  select(id);
  waterfall.scrollTo(id);
}

function showCount() {
  const { shown, hidden } = waterfall.counts();
  const spans = `${(shown + hidden).toLocaleString("en-US")} ${shown + hidden === 1 ? "span" : "spans"}`;
  const rest = waterfall.isPathOnly ? "not on the path" : "folded";
  find("count").textContent = search.words() || (hidden ? `${spans}, ${hidden.toLocaleString("en-US")} ${rest}` : spans);
  find("path-only").setAttribute("aria-pressed", String(waterfall.isPathOnly));
  find("fold-all").textContent = waterfall.hasFolds() ? "Unfold all" : "Fold all";
}

// ---- Fetching ---------------------------------------------------------------------------------

function draw(next) {
  const isFirst = turn === null;
  turn = next;
  drawHead(turn, go);
  drawFrame(turn, go);
  waterfall.show(turn);
  search.run({ isQuiet: true });
  const wanted = location.hash.slice(1);
  if (waterfall.has(wanted)) {
    if (isFirst) go(wanted);
    else select(wanted, { isQuiet: true });
  } else if (isFirst && !NARROW.matches) {
    select(mostTelling(turn), { isQuiet: true });
  } else if (waterfall.selected) {
    select(waterfall.selected, { isQuiet: true });
  }
  showCount();
}

/** Return the first failure that no failure below explains, else what was waited for longest. */
function mostTelling({ rows }) {
  const parents = new Map(rows.map((row) => [row.id, row.parent_id]));
  const explained = new Set();
  for (const { id } of rows.filter((row) => row.is_error)) {
    for (let above = parents.get(id); above && !explained.has(above); above = parents.get(above)) explained.add(above);
  }
  const failed = rows.find((row) => row.is_error && !explained.has(row.id));
  return (failed ?? rows.reduce((most, row) => (row.waited_ns > most.waited_ns ? row : most))).id;
}

async function refresh() {
  let answer;
  try {
    answer = await fetch(address, { headers: etag ? { "If-None-Match": etag } : {}, cache: "no-store" });
    if (answer.ok) {
      etag = answer.headers.get("etag") ?? "";
      draw(await answer.json());
      waitMs = MIN_WAIT_MS;
    } else {
      waitMs = Math.min(waitMs * 1.5, MAX_WAIT_MS);
    }
  } catch {
    answer = null;
    waitMs = Math.min(waitMs * 1.5, MAX_WAIT_MS);
  }
  if (answer && !answer.ok && answer.status !== 304 && !turn) {
    say(answer.status === 404 ? "No span of this turn is stored here any more." : `The view answered ${answer.status}: reload the page.`);
    return;
  }
  showRate(answer === null ? null : 0);
  const isYoung = turn && Date.now() - turn.last_end_ms < LATE_MS;
  say(notice(answer !== null));
  if (answer === null || turn.is_running || isYoung) setTimeout(whenSeen, waitMs);
}

function whenSeen() {
  if (!document.hidden) refresh();
  else document.addEventListener("visibilitychange", whenSeen, { once: true });
}

function notice(isReachable) {
  if (!isReachable) return "The view does not answer. Trying again: is `turntrace view` still running?";
  const { counts } = turn;
  const words = [];
  if (turn.is_running && Date.now() - turn.last_end_ms < SILENT_MS) {
    words.push("This turn is running: its root span has not arrived yet. What has ended so far is drawn, and the page follows.");
  } else if (turn.is_running) {
    words.push("The root span of this turn is not here: the turn still runs, was cut off, or its root was not kept.");
  } else if (counts.orphans) {
    words.push(counts.orphans === 1
      ? "The parent of one span is not here (not kept, or not arrived): it stands at the top."
      : `The parents of ${counts.orphans} spans are not here (not kept, or not arrived): those stand at the top.`);
  }
  if (counts.left_out) words.push(`${counts.left_out.toLocaleString("en-US")} spans more are not drawn; the JSON has all ${counts.spans.toLocaleString("en-US")}.`);
  return words.join(" ");
}

// ---- Hands and keys ------------------------------------------------------------------------------

async function copyJson(button) {
  const answer = await fetch(`/api/traces/${encodeURIComponent(traceId)}`);
  await copy(await answer.text(), button);
}

const move = (step) => {
  const id = waterfall.neighbour(step);
  if (id) {
    select(id);
    waterfall.scrollTo(id);
  }
};

find("copy-id").addEventListener("click", (event) => copy(traceId, event.currentTarget));
find("copy-json").addEventListener("click", (event) => copyJson(event.currentTarget));
find("path-only").addEventListener("click", () => waterfall.togglePathOnly());
find("fold-all").addEventListener("click", () => waterfall.foldAll());
addEventListener("hashchange", () => {
  const id = location.hash.slice(1);
  if (waterfall.has(id)) go(id);
});

onKey(["j", "ArrowDown"], "next span", () => move(1));
onKey(["k", "ArrowUp"], "span before", () => move(-1));
onKey(["h", "ArrowLeft"], "fold, or to the parent", () => {
  const id = waterfall.foldOrParent();
  if (id) go(id);
});
onKey(["l", "ArrowRight"], "unfold, or to the first child", () => {
  const id = waterfall.unfoldOrChild();
  if (id) go(id);
});
onKey("Enter", "details of the span", () => {
  if (waterfall.selected) {
    select(waterfall.selected);
    details.focus();
  }
});
onKey("Escape", "close the details", () => select(null));
onKey("/", "find in this turn", () => find("find").focus());
onKey("n", "next match", () => search.next(1));
onKey("N", "match before", () => search.next(-1));
onKey("c", "critical path only", () => waterfall.togglePathOnly());
onKey("y", "copy the trace id", () => copy(traceId, find("copy-id")));

refresh();
