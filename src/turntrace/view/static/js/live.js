// One stream of what changes, open only while the page can be seen: a browser allows few per server.

import { showRate } from "./base.js";

const RETRY_MS = 10_000;

/**
 * Watch rows that meet `query` (a query string; "rows=none" for the rate of spans only).
 *
 * Handlers, all optional: onOpen(state), onTurn(row), onGone(traceIds), onStale(), onTrouble(text)
 * with "" when it is over. Returns {close}.
 */
export function openLive(query, handlers) {
  let source = null;
  let timer = 0;
  let isClosed = false;

  const on = (name, action) => source.addEventListener(name, (event) => action(JSON.parse(event.data)));

  function open() {
    clearTimeout(timer);
    if (isClosed || source || document.hidden) return;
    source = new EventSource(`/api/live?${query}`);
    on("hello", (state) => {
      showRate(state.spans_per_second);
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
      // The browser tries again by itself unless the answer was a refusal.
      if (source?.readyState !== EventSource.CLOSED) return;
      shut();
      handlers.onTrouble?.("Live is off: the view does not answer, or too many of its pages are open. It is tried again in 10 s.");
      timer = setTimeout(open, RETRY_MS);
    });
  }

  function shut() {
    clearTimeout(timer);
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
