// What every page shares: the theme, the keys, making elements, and the live stream.

const root = document.documentElement;
const THEME_KEY = "turntrace.theme";

// ---- Elements: text from the network only ever becomes text ---------------------------------

/** Make an element: `make("b", {class: "x", title: "y"}, "text", child, ...)`. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

/** Make an icon of base.html's symbols: `icon("search")`. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  const isKnown = document.getElementById(`i-${name}`) !== null;
  use.setAttribute("href", isKnown ? `#i-${name}` : "#i-other");
  svg.append(use);
  return svg;
}

const HAS_INK = /[^\p{C}\p{Z}\p{M}\u115f\u1160\u2800\u3164\uffa0]/u;

/** Return a name that can be seen: `instead` of one that is empty or of white space only. */
export function visible(name, instead = "(no name)") {
  return HAS_INK.test(name) ? name : instead;
}

/** Return a name as nodes that break after its ":", "/", "_" and "." before they break a word. */
export function breakable(name) {
  return visible(name).split(/(?<=[:/_.])/u).flatMap((part, place) => (place ? [make("wbr"), part] : [part]));
}

/** Make an outcome: its shape and its words. */
export function outcome(name) {
  const known = /^[a-z_]+$/.test(name) ? name : "";
  return make("span", { class: `outcome ${known}` }, icon(known), visible(name.replaceAll("_", " "), "unknown"));
}

// ---- Numbers with their units ---------------------------------------------------------------

/** Return [number, unit] of milliseconds: three digits that matter, from µs to hours. */
export function duration(milliseconds) {
  const ms = Math.max(0, milliseconds);
  if (ms < 0.9995) return [String(Math.round(ms * 1000)), "µs"];
  if (ms < 9.95) return [ms.toFixed(1), "ms"];
  if (ms < 999.5) return [String(Math.round(ms)), "ms"];
  if (ms < 9995) return [(ms / 1000).toFixed(2), "s"];
  if (ms < 119_950) return [(ms / 1000).toFixed(1), "s"];
  if (ms < 7_170_000) return [(ms / 60_000).toFixed(1), "min"];
  return [(ms / 3_600_000).toFixed(1), "h"];
}

/** Return an amount of US dollars with as many digits as a model call needs. */
export function dollars(amount) {
  if (amount === 0) return "$0";
  if (amount < 0.000005) return "<$0.00001";
  return `$${amount.toFixed(amount < 1 ? 5 : 2)}`;
}

const integers = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

/** Return a whole number with separators. */
export function count(number) {
  return integers.format(number);
}

// ---- Theme ----------------------------------------------------------------------------------

function flipTheme() {
  const isDark = root.dataset.theme
    ? root.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = isDark ? "light" : "dark";
  try {
    localStorage.setItem(THEME_KEY, root.dataset.theme);
  } catch {
    // Storage may be switched off: the theme lasts as long as the page.
  }
  document.dispatchEvent(new CustomEvent("turntrace:theme"));
}

// ---- Keys -----------------------------------------------------------------------------------

const keys = new Map();

/** Say what a key does: `onKey("j", "next turn", (event) => ...)`; several names may share it. */
export function onKey(names, meaning, action) {
  const all = [names].flat();
  for (const name of all) keys.set(name, { names: all, meaning, action });
}

function isTyping(target) {
  return target.matches?.("input:not([type=checkbox]), textarea, select, [contenteditable]");
}

const SHOWN = { ArrowDown: "↓", ArrowUp: "↑", ArrowLeft: "←", ArrowRight: "→", Enter: "enter", " ": "space", Escape: "esc" };

function showKeys() {
  const dialog = document.querySelector("[data-keys]");
  const list = dialog.querySelector("[data-keys-list]");
  const rows = new Set([...keys.values()].map(({ names, meaning }) => JSON.stringify([names, meaning])));
  list.replaceChildren(
    ...[...rows].map(JSON.parse).flatMap(([names, meaning]) => [
      make("dt", {}, ...names.map((name) => make("kbd", {}, SHOWN[name] ?? name))),
      make("dd", {}, meaning),
    ]),
  );
  dialog.showModal();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (document.querySelector("dialog[open]")) return;
  if (isTyping(event.target)) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  // Enter and space belong to the control that has the focus.
  if ((event.key === "Enter" || event.key === " ") && event.target.closest("a, button, summary")) return;
  const key = keys.get(event.key);
  if (!key) return;
  event.preventDefault();
  key.action(event);
});

document.addEventListener("click", (event) => {
  if (event.target.closest("[data-theme-flip]")) flipTheme();
  if (event.target.closest("[data-show-keys]")) showKeys();
});

onKey("t", "light or dark", flipTheme);
onKey("?", "all keys", showKeys);

// ---- Copying --------------------------------------------------------------------------------

/** Put text on the clipboard and say so on the button. */
export async function copy(text, button) {
  const before = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Select it and copy by hand";
  }
  setTimeout(() => (button.textContent = before), 2000);
}

// ---- The top bar's right side ----------------------------------------------------------------

const pulse = document.querySelector("[data-pulse]");
const receiving = document.querySelector("[data-receiving]");

/** Show whether and how fast spans arrive; null: not known. */
export function showRate(spansPerSecond) {
  const isKnown = spansPerSecond !== null;
  pulse.className = isKnown && spansPerSecond > 0 ? "pulse live" : isKnown ? "pulse" : "pulse off";
  const rate = isKnown && spansPerSecond >= 10 ? count(spansPerSecond) : spansPerSecond?.toFixed(1);
  receiving.textContent = !isKnown
    ? "not connected"
    : spansPerSecond > 0 ? `receiving, ${rate} spans/s` : "listening";
}

/** Say in the top bar whose spans these are. */
export function showSource(text) {
  document.querySelector("[data-source]").textContent = text;
}
