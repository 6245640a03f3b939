// How messages look. A message is plain data; a view of it is updated in place while it streams.

import { button, el, icon } from "./dom.js";
import { labelOf } from "./kinds.js";
import { blocksOf, nodeOf } from "./markdown.js";

const date = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", year: "numeric" });
const number = new Intl.NumberFormat();
const SHOWN_SOURCES = 4;

export const userView = (message) =>
  el("article", { class: "message user", "aria-label": "You" }, el("div", { class: "said" }, message.text));

export class AnswerView {
  constructor(message, actions) {
    this.message = message;
    this.actions = actions;
    this.blocks = [];
    this.thoughts = el("details", { class: "thoughts", hidden: true }, el("summary", {}, "Thoughts of the model"), el("div", {}));
    this.text = el("div", { class: "text" });
    this.sources = el("div", { class: "sources" });
    this.foot = el("div", { class: "foot" });
    this.node = el("article", { class: "message coach", "aria-label": "Coach" }, this.thoughts, this.text, this.sources, this.foot);
    this.update();
  }

  update() {
    const { message } = this;
    const running = message.status === "running";
    this.node.classList.toggle("running", running);
    this.node.setAttribute("aria-busy", String(running));
    this.renderThoughts();
    this.renderText();
    if (this.sources.childElementCount === 0 && message.sources.length && message.text) this.renderSources();
    this.foot.replaceChildren(...(running ? [] : this.footer()));
  }

  // Folded, and only appended to: a reader who has opened it keeps their place.
  renderThoughts() {
    const { thoughts = "" } = this.message;
    const shown = this.thoughts.lastElementChild;
    this.thoughts.hidden = !thoughts;
    if (shown.textContent.length !== thoughts.length) shown.append(thoughts.slice(shown.textContent.length));
  }

  renderText() {
    const { message } = this;
    if (!message.text) {
      this.text.replaceChildren(...(message.status === "running" ? [thinking(message)] : []));
      this.blocks = [];
      return;
    }
    const cite = (n) => this.citation(n);
    const fresh = blocksOf(message.text).map((block) => ({ block, key: block.kind + block.lines.join("\n") }));
    const kept = this.blocks.findIndex((old, i) => old.key !== fresh[i]?.key);
    const same = kept === -1 ? this.blocks.length : kept;
    if (same === 0) this.text.replaceChildren();
    for (const old of this.blocks.splice(same)) old.node.remove();
    for (const { block, key } of fresh.slice(same)) {
      const node = nodeOf(block, cite);
      this.text.append(node);
      this.blocks.push({ key, node });
    }
  }

  citation(n) {
    const source = this.message.sources[n - 1];
    if (!source) return null;
    return el(
      "button",
      { type: "button", class: "cite", title: source.title, "aria-label": `Source ${n}: ${source.title}`, onclick: () => this.show(n) },
      String(n),
    );
  }

  show(n) {
    const find = () => this.sources.querySelector(`[data-n="${n}"]`);
    if (!find()) this.renderSources(true);
    const card = find();
    for (const other of this.sources.querySelectorAll(".lit")) other.classList.remove("lit");
    card.classList.add("lit");
    card.scrollIntoView({ block: "nearest", behavior: calm() ? "auto" : "smooth" });
    card.focus({ preventScroll: true });
  }

  // Those that the text cites are shown; the rest on demand, since eight cards bury a short answer.
  renderSources(all = this.expanded ?? false) {
    this.expanded = all;
    const { sources, text } = this.message;
    const cited = new Set([...text.matchAll(/\[(\d{1,2})\]/g)].map((match) => Number(match[1])));
    const numbered = sources.map((source, index) => ({ source, n: index + 1 }));
    const first = numbered.filter(({ n }) => (cited.size ? cited.has(n) : n <= SHOWN_SOURCES));
    const shown = all ? numbered : first;
    const rest = numbered.length - shown.length;
    const more = el("button", { type: "button", class: "more", onclick: () => this.renderSources(true) }, `Show ${rest} more`);
    this.sources.replaceChildren(
      el("h2", {}, "Sources"),
      el("ol", {}, ...shown.map(({ source, n }) => card(source, n))),
      ...(rest ? [more] : []),
    );
  }

  footer() {
    const { message, actions } = this;
    if (message.sources.length) this.renderSources();
    const notes = [el("div", { class: "facts" }, facts(message))];
    if (message.withheld?.length) notes.push(el("div", { class: "facts" }, withheld(message.withheld)));
    if (message.status === "failed") {
      const again = message.retry && el("button", { type: "button", class: "more", onclick: actions.retry }, "Try again");
      return [el("div", { class: "notice", role: "alert" }, el("span", {}, message.trouble), again)];
    }
    const copy = button("Copy", "copy", async () => {
      await navigator.clipboard.writeText(message.text);
      copy.replaceChildren(icon("check"));
    });
    const buttons = actions.last ? [button("Answer again", "again", actions.again)] : [];
    return [el("div", { class: "row" }, ...(message.text ? [copy] : []), ...buttons, ...notes)];
  }
}

const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

const thinking = (message) => {
  const reading = message.sources.length ? `Reading ${message.sources.length} of your entries` : "Looking through your notes";
  const what = message.loading ? "The model is loading" : message.thoughts ? "Thinking" : reading;
  return el("p", { class: "thinking" }, el("span", { class: "pulse", "aria-hidden": "true" }), what);
};

const card = ({ title, domain, snippet, updated_at: updated }, n) =>
  el(
    "li",
    { class: "card", "data-n": n, tabindex: "-1" },
    el("span", { class: "n" }, String(n)),
    el(
      "div",
      {},
      el("div", { class: "title" }, title || labelOf(domain)),
      el("div", { class: "snippet" }, snippet),
      el("div", { class: "kind" }, icon(domain), labelOf(domain), updated ? ` · ${date.format(new Date(updated))}` : ""),
    ),
  );

const facts = ({ status, model, usage, milliseconds }) => {
  const found = [];
  if (status === "interrupted") found.push("Stopped");
  if (model) found.push(model);
  if (usage) found.push(`${number.format(usage.total_tokens)} tokens`);
  if (milliseconds !== undefined) found.push(duration(milliseconds));
  return found.join(" · ");
};

const duration = (ms) => (ms < 1000 ? `${ms} ms` : `${(ms / 1000).toFixed(ms < 10000 ? 1 : 0)} s`);

const withheld = (entries) =>
  `Not read: ${entries.map(({ source, reason }) => `${source.replaceAll("_", " ")} (${reason.replaceAll("_", " ")})`).join(", ")}`;
