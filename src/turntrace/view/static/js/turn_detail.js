// The panel beside the waterfall: everything that is known of the selected span.

import { copy, count, duration, icon, make, visible } from "./base.js";
import { amount } from "./turn_head.js";
import { stackBlock } from "./turn_stack.js";
import { withheldBox, withheldSection } from "./turn_withheld.js";

const LAYER_WORDS = {
  universal: "Universal", turn: "Turn", http: "HTTP", "socket.io": "Socket.IO", ai: "AI", database: "Database",
  exception: "Exception", guard: "Guard", resource: "Resource", other: "Other",
};
const SVG = "http://www.w3.org/2000/svg";
const TEETH = 40;
const MAX_KEPT = 300;

export class Details {
  #kept = new Map();
  #wanted = null;

  constructor(panel, traceId, { close, show }) {
    this.panel = panel;
    this.traceId = traceId;
    this.close = close;
    this.showSpan = show;
  }

  /** Show a row's span, or nothing; what is not here yet is fetched. */
  async show(row, turn) {
    const isSame = this.#wanted === row?.id;
    this.#wanted = row?.id ?? null;
    if (!row) {
      this.panel.replaceChildren();
      return;
    }
    const kept = this.#kept.get(row.id);
    if (!isSame || kept) this.#draw(row, turn, kept);
    if (!isSame) this.panel.scrollTop = 0;
    if (kept) return;
    const found = await this.#fetch(row.id);
    if (this.#wanted === row.id) this.#draw(row, turn, found);
  }

  focus() {
    this.panel.querySelector("button")?.focus();
  }

  async #fetch(id) {
    try {
      const answer = await fetch(`/api/turns/${encodeURIComponent(this.traceId)}?span=${encodeURIComponent(id)}`);
      if (!answer.ok) return null;
      if (this.#kept.size >= MAX_KEPT) this.#kept.clear();
      const found = await answer.json();
      this.#kept.set(id, found);
      return found;
    } catch {
      return null;
    }
  }

  /** `span` is undefined while it is on its way, and null if it could not be had. */
  #draw(row, turn, span) {
    this.panel.dataset.kind = row.kind;
    const parts = [this.#header(row, turn), failure(row, span), stream(row, span)];
    if (span) {
      parts.push(...span.layers.map(({ layer, attributes }) => section(LAYER_WORDS[layer] ?? layer, attributeList(attributes))));
      parts.push(withheldSection(span.withheld), events(span), links(span), this.#ids(span), origin(span));
    } else if (span === null) {
      parts.push(make("p", { class: "soft" }, "The details cannot be had: is `turntrace view` still running?"));
    }
    this.panel.replaceChildren(...parts.filter(Boolean));
  }

  #header(row, turn) {
    const close = make("button", { class: "btn quiet", type: "button", title: "Close (esc)" }, "Close");
    close.addEventListener("click", this.close);
    const total = Math.max(1, turn.window.end_ns - turn.window.start_ns);
    const path = row.waited_ns
      ? `; the turn waited ${share(row.waited_ns, total)} of its time for this span itself`
      : ", none of it on the critical path";
    return make("header", {},
      make("h2", {}, make("span", { class: "kind" }, row.letters), make("bdi", {}, visible(row.name)), close),
      make("p", {}, ...amount(row.duration), ", from ", ...amount(at(row.offset_ns)), " to ", ...amount(at(row.offset_ns + row.duration_ns)),
        `. ${share(row.duration_ns, total)} of the turn${path}.`));
  }

  #ids(span) {
    const parent = span.parent_span_id ? [copyLine("parent", span.parent_span_id)] : [];
    return section("Ids", copyLine("span", span.span_id), ...parent, copyLine("trace", span.trace_id));
  }
}

const at = (nanoseconds) => duration(nanoseconds / 1e6);

function share(part, total) {
  const percent = (100 * part) / total;
  return percent > 0 && percent < 0.5 ? "<1%" : `${Math.round(percent)}%`;
}

function section(title, ...content) {
  return make("section", {}, make("h3", {}, title), ...content);
}

function copyLine(label, value) {
  const button = make("button", { class: "btn quiet", type: "button", "data-copied": label }, "Copy");
  button.addEventListener("click", () => copy(value, button));
  return make("p", { class: "copy" }, make("span", { class: "label" }, label), make("span", { class: "value", title: value }, value), button);
}

/** A value too long for its line opens with a click. */
function attributeList(pairs) {
  const list = make("dl", { class: "attrs" }, ...pairs.map(([key, value]) =>
    make("div", {}, make("dt", { title: key }, make("bdi", {}, key)), make("dd", { title: value.slice(0, 300) }, value))));
  list.addEventListener("click", (event) => {
    if (!getSelection().toString()) event.target.closest("div")?.classList.toggle("open");
  });
  return list;
}

function failure(row, span) {
  if (!row.is_error) return null;
  const words = span?.exception_type || row.facts.find((fact) => fact.startsWith("error")) || "error";
  return make("p", { class: "failure" }, icon("error"), words, span?.status_message ? `: ${span.status_message}` : "");
}

function events(span) {
  if (!span.events.length) return null;
  return section("Events", ...span.events.map((event) =>
    make("div", { class: "event" },
      make("p", {}, make("b", {}, event.name), make("span", { class: "dim" }, "at ", ...amount(event.at))),
      event.message ? make("p", { class: "words" }, event.message) : null,
      stackBlock(event.stack),
      event.attributes.length ? attributeList(event.attributes) : null,
      withheldBox(event.withheld, { isBrief: span.withheld.keys.length > 0 }))));
}

function links(span) {
  if (!span.links.length) return null;
  return section("Links", make("div", { class: "links" }, ...span.links.map((link) =>
    make("a", { href: `/turns/${link.trace_id}#${link.span_id}` },
      make("span", { class: "kind" }, "LINK"), make("span", { class: "what code" }, link.trace_id), make("span", { class: "dim" }, "open"))),
    ...span.links.map((link) => withheldBox(link.withheld, {
      of: ` of the link to ${link.trace_id.slice(0, 8)}`, isBrief: span.withheld.keys.length > 0,
    }))));
}

function origin(span) {
  const scope = span.scope ? [["scope", span.scope]] : [];
  return section("Resource", attributeList([...span.resource, ...scope, ["span kind", span.kind]]));
}

/** How a model call answered: solid while it waits, a comb while words arrive. */
function stream(row, span) {
  if (row.first_chunk_ns === null || !row.duration_ns) return null;
  const waitedNs = row.first_chunk_ns - row.offset_ns;
  const share = waitedNs / row.duration_ns;
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "stream");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", "waiting, then words arriving; evenly drawn");
  const rect = (x, width, name) => {
    const element = document.createElementNS(SVG, "rect");
    for (const [key, value] of Object.entries({ x: `${x * 100}%`, width: `${width * 100}%`, y: 8, height: 22, class: name })) element.setAttribute(key, value);
    svg.append(element);
  };
  rect(0, share, "");
  rect(share, 1 - share, "pale");
  for (let tooth = 0; tooth < TEETH; tooth += 1) {
    const x = share + ((1 - share) * tooth) / TEETH;
    if (share < 0.98) rect(x, Math.min(0.005, 1 - x), "");
  }
  const attributes = new Map(span?.layers.flatMap((layer) => layer.attributes) ?? []);
  const tokens = Number(attributes.get("gen_ai.usage.output_tokens") ?? attributes.get("ai.usage.completion_tokens"));
  const seconds = (row.duration_ns - waitedNs) / 1e9;
  const rate = tokens > 0 && seconds > 0.05 ? `, ${count(tokens / seconds)} tokens/s` : "";
  const first = `${Math.round(share * 100)}% waiting for the first chunk`;
  return make("section", {},
    make("h3", {}, "Token stream", make("span", { class: "dim" }, `evenly drawn${rate}`)),
    svg,
    make("p", { class: "stream-scale" }, make("span", {}, "0"), make("span", {}, first), make("span", {}, ...amount(row.duration))));
}
