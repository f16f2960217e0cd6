// The page's first script: theme, keys, and the chat as soon as its libraries are there.
const root = document.documentElement;
const THEME = "renovation-theme";

function stored(write) {
  // A browser may refuse the page any storage; the theme then lasts as long as the page.
  try {
    if (write) localStorage.setItem(THEME, write);
    return localStorage.getItem(THEME);
  } catch {
    return null;
  }
}

function flipTheme() {
  const isDark = root.dataset.theme
    ? root.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = isDark ? "light" : "dark";
  stored(root.dataset.theme);
}

const theme = stored();
if (theme === "light" || theme === "dark") root.dataset.theme = theme;

document.querySelector("[data-theme-flip]").addEventListener("click", flipTheme);
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, textarea")) return;
  if (event.key === "t") flipTheme();
  if (event.key === "/") {
    event.preventDefault();
    document.querySelector("textarea").focus();
  }
});

if (root.dataset.missing) {
  document.querySelector("[data-notice=missing]").hidden = false;
  document.querySelector("[data-empty]").hidden = true;
  document.querySelector("textarea").disabled = true;
  document.querySelector(".state").dataset.state = "off";
  document.querySelector(".state-text").textContent = "not connected";
} else {
  const { start } = await import("./chat.js");
  start();
}
