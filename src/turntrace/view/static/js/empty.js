// The quick start: copies commands, and gives way to the turns as soon as something arrives.

import { copy, onKey } from "./base.js";
import { openLive } from "./live.js";

function copyFrom(button) {
  copy(button.parentElement.querySelector("[data-text]").textContent, button);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy]");
  if (button) copyFrom(button);
});

onKey("y", "copy the first command", () => copyFrom(document.querySelector("[data-copy]")));

async function look() {
  const response = await fetch("/api/turns?all=1&limit=1&overview=0").catch(() => null);
  if (response?.ok && (await response.json()).turns.length > 0) location.reload();
}

openLive("all=1", { onOpen: look, onTurn: () => location.reload(), onStale: look });
