// Where the user writes: Enter sends, Shift+Enter breaks the line, the length is bounded.
const MAX_CHARACTERS = 10_000;
const SAID_FROM = 9_000;

export class Composer {
  /** `onSend(text)` is called for each message; what may be sent is up to `allow()`. */
  constructor(form, onSend) {
    this.field = form.querySelector("textarea");
    this.button = form.querySelector("button");
    this.length = form.querySelector("#length");
    this.isAllowed = false;
    this.onSend = onSend;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    this.field.addEventListener("input", () => this.#refresh());
    this.field.addEventListener("keydown", (event) => {
      // An input method also confirms with Enter.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#send();
    });
    this.#refresh();
  }

  /** Let messages go, or hold them back: while there is no connection, or an answer is due. */
  allow(isAllowed) {
    this.isAllowed = isAllowed;
    this.#refresh();
  }

  /** Put a text there to be edited, unless the user is writing another one. */
  offer(text, { replace = false } = {}) {
    if (this.field.value && !replace) return;
    this.field.value = text;
    this.#refresh();
    this.field.focus();
  }

  #send() {
    const text = this.field.value.trim();
    if (this.button.disabled) return;
    this.field.value = "";
    this.#refresh();
    this.onSend(text);
  }

  #refresh() {
    const text = this.field.value.trim();
    // Code points, as the backend counts them.
    const count = [...text].length;
    const isTooLong = count > MAX_CHARACTERS;
    this.button.disabled = !this.isAllowed || count === 0 || isTooLong;
    this.length.classList.toggle("over", isTooLong);
    this.length.textContent = lengthNotice(count);
    if (isTooLong) this.field.setAttribute("aria-invalid", "true");
    else this.field.removeAttribute("aria-invalid");
    // As high as its lines; the stylesheet sets the limit.
    this.field.rows = Math.min(8, this.field.value.split("\n").length);
  }
}

function lengthNotice(count) {
  if (count < SAID_FROM) return "";
  const share = `${count.toLocaleString("en")} of ${MAX_CHARACTERS.toLocaleString("en")} characters`;
  return count > MAX_CHARACTERS ? `${share}: shorten it to send it` : share;
}
