// One stream of what changes, open only while the page can be seen: a browser allows few per server.

import { showRate } from "./base.js";

const RETRY_MS = 10_000;
/** How long a stream may be away before somebody is told. */
const PATIENCE_MS = 5_000;
const AWAY = "The view does not answer: is `turntrace view` still running? What is shown may be out of date; it is tried again by itself.";

/**
 * Watch rows that meet `query` (a query string; "rows=none" for the rate of spans only).
 *
 * Handlers, all optional: onOpen(state), onTurn(row), onGone(traceIds), onStale(), onLink(isOpen),
 * onTrouble(text) with "" when it is over. Returns {close}.
 */
export function openLive(query, handlers) {
  let source = null;
  let timer = 0;
  let patience = 0;
  let isClosed = false;

  const on = (name, action) => source.addEventListener(name, (event) => action(JSON.parse(event.data)));

  function open() {
    clearTimeout(timer);
    if (isClosed || source || document.hidden) return;
    source = new EventSource(`/api/live?${query}`);
    on("hello", (state) => {
      showRate(state.spans_per_second);
      clearTimeout(patience);
      patience = 0;
      handlers.onLink?.(true);
      handlers.onTrouble?.("");
      handlers.onOpen?.(state);
    });
    on("pulse", (state) => showRate(state.spans_per_second));
    on("turn", (row) => handlers.onTurn?.(row));
    on("gone", ({ trace_ids: ids }) => handlers.onGone?.(ids));
    on("stale", () => handlers.onStale?.());
    on("dropped", ({ reason, dropped_slow: times }) => {
      if (reason !== "slow") return;
      handlers.onTrouble?.(`This page fell behind the turns that arrive (${times} times since the view started): it was fetched anew.`);
      handlers.onStale?.();
    });
    source.addEventListener("error", () => {
      showRate(null);
      handlers.onLink?.(false);
      patience ||= setTimeout(() => handlers.onTrouble?.(AWAY), PATIENCE_MS);
      // The browser tries again by itself unless the answer was a refusal.
      if (source?.readyState !== EventSource.CLOSED) return;
      shut();
      handlers.onTrouble?.("Live is off: the view does not answer, or too many of its pages are open. It is tried again in 10 s.");
      timer = setTimeout(open, RETRY_MS);
    });
  }

  function shut() {
    clearTimeout(timer);
    clearTimeout(patience);
    patience = 0;
    source?.close();
    source = null;
  }

  function follow() {
    if (document.hidden) shut();
    else open();
  }

  document.addEventListener("visibilitychange", follow);
  open();
  return {
    close() {
      isClosed = true;
      document.removeEventListener("visibilitychange", follow);
      shut();
      showRate(null);
    },
  };
}
