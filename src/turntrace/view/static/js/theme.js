// Runs before the page is drawn, so that a remembered theme does not flash: no module, no import.
(() => {
  try {
    const theme = localStorage.getItem("turntrace.theme");
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  } catch {
    // Storage may be switched off: the system's theme it is.
  }
})();
