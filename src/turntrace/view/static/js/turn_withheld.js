// What the guard withheld of a span, event or link, and the lines that let identifiers out.

import { copy, count, icon, make, visible } from "./base.js";

const NOUNS = { attributes: "attribute", events: "event", links: "link" };
const LENGTH = "Characters of a text, bytes, or items of a list";

/** Return a section about a span, null if nothing was withheld. */
export function withheldSection(withheld) {
  const words = Object.entries(NOUNS)
    .filter(([name]) => withheld[name])
    .map(([name, noun]) => `${count(withheld[name])} ${noun}${withheld[name] === 1 ? "" : "s"}`);
  if (!words.length) return null;
  return make("section", { class: "withheld" },
    make("h3", {}, icon("shield"), `${words.join(", ")} withheld`),
    ...(withheld.keys.length ? said(withheld) : [make("p", {},
      "They are not on the list of what may leave, or over a limit: their values stayed in the process.")]));
}

/** Return a box about an event or a link, null if nothing was withheld; brief where the span's says what to do. */
export function withheldBox(withheld, { of = "", isBrief = false } = {}) {
  if (!withheld.attributes) return null;
  if (!withheld.keys.length) return make("p", { class: "dim" }, `${count(withheld.attributes)} withheld${of}`);
  const words = `${count(withheld.attributes)} ${withheld.attributes === 1 ? "attribute" : "attributes"} withheld${of}`;
  return make("div", { class: "withheld" }, make("h3", {}, icon("shield"), words), ...said(withheld, isBrief));
}

function said({ attributes, keys, more }, isBrief = false) {
  const others = attributes - keys.length - more;
  const example = keys.find(({ setting }) => setting);
  return [
    isBrief ? null : make("p", {}, "The app put text under a key of its own. The text stayed in the process, its length is here:"),
    make("ul", {}, ...keys.map(item)),
    more ? make("p", { class: "dim" }, `and ${count(more)} more, see turntrace.withheld.keys in the attributes`) : null,
    isBrief || !example ? null : make("p", {}, "If it is always an identifier and never a message, paste its line where the app starts, or set ",
      make("code", {}, `TURNTRACE_ATTRIBUTES=${example.setting}`), ", several separated by commas. ",
      make("code", {}, "docs/guide/privacy.md"), " has the other shapes."),
    others > 0 ? make("p", { class: "dim" }, `Of the other ${count(others)} the app's log may say why.`) : null,
  ];
}

function item({ key, length, line }) {
  const size = length === null ? null : make("span", { class: "dim", title: LENGTH }, `length ${count(length)}`);
  return make("li", {}, make("p", {}, make("bdi", {}, visible(key)), size), line ? paste(line) : make("p", { class: "dim" },
    "No such key can be registered: rename it to at most 64 letters, digits and _ . : / -"));
}

function paste(line) {
  const button = make("button", { class: "btn quiet", type: "button", "data-copied": "line" }, "Copy");
  button.addEventListener("click", () => copy(line, button));
  return make("div", { class: "paste" }, make("code", {}, ...breaking(line)), button);
}

/** Break a line after its bracket before anything else. */
const breaking = (line) => line.split(/(?<=\()/).flatMap((part, index) => (index ? [make("wbr"), part] : [part]));
