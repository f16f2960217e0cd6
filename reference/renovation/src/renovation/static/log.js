// What a person sees of the conversation: messages, tools, warnings, errors, and links to traces.

function element(name, className, ...children) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

function seconds(milliseconds) {
  return milliseconds < 1000
    ? `${Math.round(milliseconds)} ms`
    : `${(milliseconds / 1000).toFixed(2)} s`;
}

function asText(value) {
  return typeof value === "string" ? value : JSON.stringify(value, null, 2);
}

/** One message of either side; `id` is the backend's once it is known to be stored. */
class Message {
  constructor(role, text = "", id = null) {
    this.role = role;
    this.id = id;
    this.isLost = false;
    this.words = element("p", "words", text);
    const who = element("h3", "sr", role === "user" ? "You" : "Assistant");
    this.node = element("article", `message ${role}`, who, this.words);
  }

  get text() {
    return this.words.textContent;
  }

  /** Become what the backend has stored. */
  adopt(stored) {
    this.id = stored.id;
    if (this.text !== stored.content) this.words.textContent = stored.content;
    this.rest();
  }

  /** Show that words may come, and keep a screen reader from reading each of them alone. */
  wait() {
    this.node.classList.add("waiting");
    this.node.setAttribute("aria-busy", "true");
  }

  rest() {
    this.node.classList.remove("waiting");
    this.node.removeAttribute("aria-busy");
  }
}

/** An answer while it is written. */
export class Answer {
  constructor(log, message, question) {
    this.log = log;
    this.message = message;
    this.question = question;
    this.tools = [];
    message.wait();
  }

  /** Whether the backend is known to have stored what was asked. */
  get isAsked() {
    return this.question?.id != null;
  }

  /** Whether the backend is known to have stored the answer. */
  get isStored() {
    return this.message.id !== null;
  }

  /** Note that the question never got as far as the backend's store. */
  loseQuestion() {
    if (this.question) this.question.isLost = true;
  }

  addToken(text) {
    this.message.words.append(text);
    this.log.follow();
  }

  addToolCall(name, input) {
    const inputText = element("code", "arguments", JSON.stringify(input));
    const state = element("span", "dim", "at work");
    const head = element("summary", "", kindTag(), element("code", "", name), inputText, state);
    const body = element("pre", "result", "No result yet.");
    const node = element("details", "tool", head, body);
    this.tools.push({ name, node, body, state, isDone: false });
    this.message.node.insertBefore(node, this.message.words);
    this.log.follow();
  }

  addToolResult(name, result) {
    const tool = this.tools.find((one) => one.name === name && !one.isDone);
    if (!tool) return;
    tool.isDone = true;
    tool.body.textContent = asText(result);
    tool.state.textContent = "done";
  }

  addWarning(text) {
    this.message.node.insertBefore(note("warning", "Note", text), this.message.words);
    this.log.follow();
  }

  /** End with an error; `details` are the fields it is about. */
  fail(text, details = []) {
    const box = note("error", "Error", text);
    box.setAttribute("role", "alert");
    if (details.length) {
      const lines = details.map(({ field, message }) => element("li", "", `${field} ${message}`));
      box.append(element("ul", "", ...lines));
    }
    this.message.isLost = true;
    this.message.node.append(box);
    this.end();
  }

  end() {
    this.message.rest();
    for (const tool of this.tools) if (!tool.isDone) tool.state.textContent = "no result";
    this.log.follow();
  }

  /** Say how long it took, and where to see why. */
  addTrace(url, { totalMs, firstTokenMs }) {
    const facts = [];
    if (url) {
      const link = element("a", "", "see this turn");
      Object.assign(link, { href: url, target: "_blank", rel: "noopener" });
      facts.push(link);
    }
    facts.push(element("span", "", seconds(totalMs)));
    if (firstTokenMs !== null) {
      facts.push(element("span", "", `first token ${seconds(firstTokenMs)}`));
    }
    this.message.node.append(element("p", "facts dim", ...facts));
    this.log.follow();
  }
}

function kindTag() {
  const tag = element("span", "kind", "TOOL");
  tag.dataset.kind = "tool";
  return tag;
}

function note(kind, word, text) {
  return element("div", `note ${kind}`, element("strong", "", `${word}: `), text);
}

/** The messages of one conversation, in order. */
export class Log {
  #messages = [];
  #isAtEnd = true;

  constructor(node) {
    this.node = node;
  }

  clear() {
    this.#messages = [];
    this.node.replaceChildren();
  }

  get isEmpty() {
    return this.#messages.length === 0;
  }

  /** Show what the user has just written, and return the answer to it. */
  ask(text) {
    this.#insert(new Message("user", text), this.#messages.length);
    return this.answer(this.#messages.at(-1));
  }

  /** Return an answer to be written; the question is somebody else's if it is not given. */
  answer(question = null) {
    const message = new Message("assistant");
    this.#insert(message, this.#messages.length);
    this.follow(question !== null);
    return new Answer(this, message, question);
  }

  /** Bring in what the backend has stored; what is shown already keeps its tools and links. */
  reconcile(stored) {
    let at = 0;
    for (const one of stored) {
      let index = this.#messages.findIndex((shown) => shown.id === one.id);
      if (index < 0) index = this.#messages.findIndex((shown, i) => i >= at && isSame(shown, one));
      if (index < 0) {
        index = at;
        this.#insert(new Message(one.role, one.content, one.id), at);
      } else {
        this.#messages[index].adopt(one);
      }
      at = index + 1;
    }
    this.follow();
  }

  /** Keep the newest words in sight of who was looking at them. */
  follow(always = false) {
    const page = document.scrollingElement;
    if (always) this.#isAtEnd = true;
    if (this.#isAtEnd) page.scrollTop = page.scrollHeight;
  }

  /** Listen to scrolling: who reads further up is left there. */
  watch() {
    addEventListener("scroll", () => {
      const page = document.scrollingElement;
      this.#isAtEnd = page.scrollHeight - page.scrollTop - page.clientHeight < 80;
    }, { passive: true });
  }

  #insert(message, at) {
    this.node.insertBefore(message.node, this.#messages[at]?.node ?? null);
    this.#messages.splice(at, 0, message);
  }
}

function isSame(shown, stored) {
  if (shown.id !== null || shown.isLost || shown.role !== stored.role) return false;
  return shown.role === "assistant" || shown.text === stored.content;
}
