// The stack of an exception: types and places, long ones folded.

import { count, make } from "./base.js";
import { place } from "./turn_head.js";

/** So many lines are shown at first; up to two more are not worth folding. */
const SHOWN = 8;
const MAX_INDENT = 12;
const PLACE = /^(\S+):(\d+) in (\S+)$/;
const TYPE = /^(caused by |while handling |member )?([A-Za-z_<][\w.<>]*)$/;

/** Return the block of a stack's lines, null if there are none. */
export function stackBlock(lines) {
  if (!lines.length) return null;
  const isLong = lines.length > SHOWN + 2;
  const block = make("pre", { class: "stack" }, ...(isLong ? lines.slice(0, SHOWN) : lines).map(drawn));
  if (!isLong) return block;
  const button = make("button", { class: "btn quiet", type: "button", "aria-expanded": "false" }, more(lines));
  button.addEventListener("click", () => {
    const isOpen = button.getAttribute("aria-expanded") === "true";
    block.replaceChildren(...(isOpen ? lines.slice(0, SHOWN) : lines).map(drawn));
    button.textContent = isOpen ? more(lines) : "Fewer lines";
    button.setAttribute("aria-expanded", String(!isOpen));
  });
  return make("div", {}, block, button);
}

const more = (lines) => `${count(lines.length - SHOWN)} more lines`;

/** A line too long for the panel goes on further in than it began. */
function drawn(line) {
  const words = line.trimStart();
  const indent = Math.min(MAX_INDENT, line.length - words.length);
  return place(make("span", { class: "line" }, ...parts(words)), { "--in": `${indent}ch` });
}

function parts(words) {
  const frame = PLACE.exec(words);
  if (frame) return [`${frame[1]}:${frame[2]}`, make("span", { class: "dim" }, " in "), frame[3]];
  const type = TYPE.exec(words);
  if (type) return [make("span", { class: "dim" }, type[1] ?? ""), make("b", {}, type[2])];
  return [words];
}
