// One conversation at a time: a session over HTTP, its events over Socket.IO, a trace per action.
import { io } from "./vendor/socket.io.esm.min.js";
import { Composer } from "./composer.js";
import { Log } from "./log.js";
import { Action, carrier } from "./trace.js";

const JOIN_TIMEOUT_MS = 10_000;
const HISTORY = 200;
const SESSION = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const TRACE = /^[0-9a-f]{32}$/;
const TRANSPORTS = ["polling", "websocket"];

/** A failure whose text is for the user. */
class Refusal extends Error {
  constructor(text, details = []) {
    super(text);
    this.details = details;
  }
}

/** Nobody answered: another attempt may succeed. */
class Silence extends Refusal {}

async function call(path, options = {}) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Silence("The backend cannot be reached. Is it still running?");
  }
  const body = await response.json().catch(() => ({}));
  if (response.ok) return body;
  throw new Refusal(body.detail ?? `The backend answered ${response.status}.`, body.errors);
}

export function start() {
  new Chat().start();
}

class Chat {
  #log = new Log(document.querySelector("[data-log]"));
  #composer = new Composer(document.querySelector("[data-composer]"), (text) => this.#say(text));
  #carrier = carrier();
  #socket = io({ ...this.#carrier.options, ...asked(), autoConnect: false });
  #viewUrl = document.documentElement.dataset.viewUrl;
  #sessionId = null;
  /** Which connection has joined which session: each connection must join anew. */
  #joined = null;
  /** The turn of this tab that is running. */
  #turn = null;
  /** The answer to what another tab asked. */
  #overheard = null;

  start() {
    for (const [event, handle] of Object.entries(this.#handlers())) {
      // The room of a session that was left still talks to this socket.
      this.#socket.on(event, (payload) => {
        if (payload.sessionId === undefined || payload.sessionId === this.#sessionId) handle(payload);
      });
    }
    this.#socket.on("connect", () => this.#connected());
    this.#socket.on("disconnect", () => this.#disconnected());
    this.#socket.on("connect_error", () => this.#show("connecting", "no connection, trying again"));
    addEventListener("popstate", () => this.#open());
    for (const button of document.querySelectorAll("[data-new]")) {
      button.addEventListener("click", (event) => {
        if (event.ctrlKey || event.metaKey || event.shiftKey) return;
        event.preventDefault();
        history.pushState(null, "", location.pathname + location.search);
        this.#open();
        this.#composer.field.focus();
      });
    }
    for (const sample of document.querySelectorAll("[data-sample]")) {
      sample.addEventListener("click", () =>
        this.#composer.offer(sample.textContent, { replace: true }),
      );
    }
    this.#log.watch();
    this.#open();
    this.#show("connecting", "connecting");
    this.#socket.connect();
  }

  #handlers() {
    return {
      "chat:message_ack": ({ traceId }) => this.#turn?.acknowledge(traceId),
      "chat:assistant_token": ({ token, done }) => (done ? this.#answered() : this.#heard(token)),
      "chat:tool_call": ({ toolName, input }) => this.#answer().addToolCall(toolName, input),
      "chat:tool_result": ({ toolName, result }) => this.#answer().addToolResult(toolName, result),
      "chat:warning": ({ warning }) => this.#answer().addWarning(warning),
      "chat:error": ({ error, details }) => this.#refused(new Refusal(error, details)),
    };
  }

  // ---- the user's actions ----------------------------------------------------------------------

  async #say(text) {
    this.#turn?.answer.end();
    const action = new Action();
    const turn = new Turn(text, action, this.#log.ask(text));
    this.#turn = turn;
    this.#refresh();
    try {
      if (this.#sessionId === null) {
        const session = await call("api/sessions", { method: "POST", headers: action.headers() });
        if (this.#turn !== turn) return;
        this.#sessionId = session.sessionId;
        history.replaceState(null, "", `#${session.sessionId}`);
      }
      await this.#join(action);
      if (this.#turn !== turn) return;
      const payload = { sessionId: this.#sessionId, content: text };
      this.#socket.emit("chat:user_message", this.#carrier.carry(payload, action));
      turn.isEmitted = true;
    } catch (error) {
      if (this.#turn === turn) this.#refused(error);
    }
  }

  /** Let this connection hear the session; as part of an action if there is one. */
  async #join(action = null) {
    const sessionId = this.#sessionId;
    const seat = () => `${this.#socket.id} in ${sessionId}`;
    if (this.#joined === seat()) return;
    const payload = { sessionId };
    if (action) this.#carrier.carry(payload, action);
    const answer = await this.#socket
      .timeout(JOIN_TIMEOUT_MS)
      .emitWithAck("chat:join_session", payload)
      .catch(() => null);
    if (answer === null) throw new Silence("The backend did not answer. Send the message again.");
    if (!answer.ok) throw new Refusal(answer.error);
    this.#joined = seat();
  }

  // ---- a turn ----------------------------------------------------------------------------------

  /** Return the answer that is being written. */
  #answer() {
    if (this.#turn) return this.#turn.answer;
    if (!this.#overheard) {
      this.#overheard = this.#log.answer();
      this.#catchUp();
    }
    return this.#overheard;
  }

  #heard(token) {
    this.#turn?.noteToken();
    this.#answer().addToken(token);
  }

  #answered() {
    const isWhole = this.#turn !== null && !this.#turn.isCut && this.#overheard === null;
    if (this.#turn) this.#endTurn();
    this.#overheard?.end();
    this.#overheard = null;
    // Who was not there from the start has heard a part only.
    if (!isWhole) this.#catchUp();
  }

  #refused(error) {
    const turn = this.#turn;
    if (!turn) return this.#complain(error.message);
    turn.answer.fail(error.message, error.details);
    if (!turn.isAcknowledged) {
      turn.answer.loseQuestion();
      this.#composer.offer(turn.text);
    }
    return this.#endTurn();
  }

  #endTurn() {
    const turn = this.#turn;
    this.#turn = null;
    turn.answer.end();
    turn.answer.addTrace(this.#traceUrl(turn.traceId), turn.times());
    this.#refresh();
  }

  #traceUrl(traceId) {
    return TRACE.test(traceId ?? "") ? `${this.#viewUrl}/turns/${traceId}` : null;
  }

  // ---- session and connection ------------------------------------------------------------------

  /** Show the conversation that the address names, or a new one. */
  #open() {
    const named = location.hash.slice(1);
    const sessionId = SESSION.test(named) ? named : null;
    this.#complain(named && !sessionId ? "The address names no conversation; this is a new one." : "");
    if (sessionId === this.#sessionId && sessionId !== null) return;
    this.#sessionId = sessionId;
    this.#joined = this.#turn = this.#overheard = null;
    this.#log.clear();
    this.#refresh();
    if (this.#socket.connected) this.#enter();
  }

  async #enter() {
    const sessionId = this.#sessionId;
    if (sessionId === null) return;
    try {
      await this.#join();
      await this.#catchUp();
      if (this.#turn?.isCut) this.#mend(this.#turn);
    } catch (error) {
      // Without an answer the session may well be there: the next connection asks again.
      if (sessionId === this.#sessionId && !(error instanceof Silence)) this.#leave(error);
    }
  }

  #leave(error) {
    history.replaceState(null, "", location.pathname + location.search);
    this.#open();
    this.#complain(`${error.message} This is a new conversation.`);
  }

  /** Find out what became of a turn while there was no connection; it may also still run. */
  #mend(turn) {
    if (turn.answer.isStored) this.#endTurn();
    else if (!turn.answer.isAsked) {
      turn.isAcknowledged = false;
      this.#refused(new Refusal("The connection was lost before the message arrived. Send it again."));
    }
  }

  async #catchUp() {
    const sessionId = this.#sessionId;
    const messages = await call(`api/sessions/${sessionId}/messages?limit=${HISTORY}`).catch(
      (error) => this.#complain(error.message),
    );
    if (!messages || sessionId !== this.#sessionId) return;
    this.#log.reconcile(messages);
    this.#refresh();
  }

  #connected() {
    this.#show("connected", "connected");
    this.#refresh();
    this.#enter();
  }

  #disconnected() {
    this.#show("connecting", "connection lost, trying again");
    if (this.#turn?.isEmitted) this.#turn.isCut = true;
    this.#refresh();
  }

  // ---- what is shown ---------------------------------------------------------------------------

  #refresh() {
    // A turn that was cut may have failed unheard: nobody waits for it.
    const isBusy = this.#turn !== null && !this.#turn.isCut;
    this.#composer.allow(this.#socket.connected && !isBusy);
    document.querySelector("[data-empty]").hidden = !this.#log.isEmpty || this.#sessionId !== null;
  }

  #show(state, text) {
    const shown = document.querySelector(".state");
    shown.dataset.state = state;
    shown.querySelector(".state-text").textContent = text;
  }

  #complain(text) {
    const notice = document.querySelector("[data-notice=trouble]");
    notice.textContent = text;
    notice.hidden = !text;
  }
}

/** What the address asks of the connection: `?transport=polling` or `websocket`, to see either. */
function asked() {
  const transport = new URLSearchParams(location.search).get("transport");
  return TRANSPORTS.includes(transport) ? { transports: [transport] } : {};
}

/** One message of this tab and the answer to it. */
class Turn {
  #startedMs = performance.now();
  #firstTokenMs = null;
  #acknowledgedTraceId = null;
  isAcknowledged = false;
  isEmitted = false;
  /** Whether the connection was lost meanwhile. */
  isCut = false;

  constructor(text, action, answer) {
    this.text = text;
    this.action = action;
    this.answer = answer;
  }

  /** Where the backend says the turn is recorded, else where we asked it to. */
  get traceId() {
    if (this.isAcknowledged) return this.#acknowledgedTraceId;
    return this.action.isCarried ? this.action.traceId : null;
  }

  acknowledge(traceId = null) {
    this.isAcknowledged = true;
    this.#acknowledgedTraceId = traceId;
  }

  noteToken() {
    this.#firstTokenMs ??= performance.now() - this.#startedMs;
  }

  times() {
    return { totalMs: performance.now() - this.#startedMs, firstTokenMs: this.#firstTokenMs };
  }
}
