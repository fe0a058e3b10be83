// The chat panel: lines, what others are writing just now, and a place to write.

import { el, keyed, setText, setWords, show } from "./dom.js";
import { bind, clock } from "./i18n.js";
import { icon } from "./icons.js";

const LONGEST = 4000;

export class Writing {
  element;
  #visit;
  #lines;
  #typing;
  #empty;
  #input;
  #open = false;

  constructor(visit) {
    this.#visit = visit;
    this.#empty = el("p", { class: "panel-empty", t: "chat.empty" });
    this.#lines = el("ol", { class: "lines", role: "log", "aria-live": "polite", testid: "chat-lines", label: "chat.title" });
    this.#typing = el("div", { class: "typing", testid: "typing" });
    this.#input = el("textarea", {
      rows: "1", maxlength: LONGEST, id: "chat-input", testid: "chat-input", placeholder: "chat.placeholder",
      autocomplete: "off", dir: "auto",
      on: {
        input: () => this.#typed(),
        keydown: (event) => {
          if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
          event.preventDefault();
          this.#send();
        },
      },
    });
    const form = el(
      "form",
      { class: "compose", on: { submit: (event) => (event.preventDefault(), this.#send()) } },
      el("label", { for: "chat-input", class: "unseen", t: "chat.label" }),
      this.#input,
      el("button", { class: "round send", type: "submit", testid: "chat-send", label: "chat.send" }, icon("send")),
    );
    this.element = el(
      "section",
      { class: "panel-body chat", testid: "chat" },
      el("div", { class: "scroll" }, this.#empty, this.#lines, this.#typing),
      el("p", { class: "hint", t: "chat.live" }),
      form,
    );
    visit.chat.addEventListener("lines", () => this.#update());
    visit.chat.addEventListener("typing", () => this.#update());
    visit.addEventListener("people", () => this.#update());
    this.#update();
  }

  /** The panel is shown or not: what is shown counts as read. */
  shown(open) {
    this.#open = open;
    if (!open) return;
    this.#visit.chat.read();
    this.#scroll();
    if (matchMedia("(hover: hover)").matches) this.#input.focus();
  }

  #update() {
    const { chat } = this.#visit;
    show(this.#empty, chat.lines.length === 0 && chat.typing.size === 0);
    const before = this.#lines.childElementCount;
    keyed(this.#lines, chat.lines, (line) => line.id ?? String(line.seq), () => this.#make(), (item, line) => {
      const { who, text, time } = item.parts;
      item.classList.toggle("mine", line.mine === true);
      item.classList.toggle("unsent", line.seq === null);
      if (line.mine) bind(who, line.to ? "chat.you-to" : "stage.you", { name: this.#visit.nameOf(line.to) });
      else bind(who, "plain", { text: this.#visit.nameOf(line.participant) || line.name || "" });
      if (!line.name && !line.mine) line.name = this.#visit.nameOf(line.participant); // they may leave
      setWords(text, line.text);
      setText(time, clock(line.at, this.#visit.room?.time_zone));
    });
    const typing = [...chat.typing].map(([participant, typed]) => ({ participant, text: typed.text }));
    keyed(this.#typing, typing, (one) => one.participant, () => this.#make(), (item, one) => {
      const { who, text } = item.parts;
      item.classList.add("now");
      bind(who, "chat.writing", { name: this.#visit.nameOf(one.participant) });
      setWords(text, one.text);
    });
    if (this.#lines.childElementCount !== before || typing.length) this.#scroll();
    if (this.#open) chat.read();
  }

  #make() {
    const who = el("span", { class: "who" });
    const text = el("p", { class: "text", dir: "auto" });
    const time = el("time");
    const item = el("li", { class: "line" }, el("div", { class: "line-head" }, who, time), text);
    item.parts = { who, text, time };
    return item;
  }

  #scroll() {
    const box = this.#lines.parentElement;
    requestAnimationFrame(() => box.scrollTo({ top: box.scrollHeight }));
  }

  #typed() {
    this.#visit.chat.line(this.#input.value);
    this.#input.style.height = "auto";
    this.#input.style.height = `${Math.min(this.#input.scrollHeight, 120)}px`;
  }

  #send() {
    const text = this.#input.value.trim();
    if (!text) return;
    this.#visit.chat.write(text);
    this.#input.value = "";
    this.#input.style.height = "auto";
  }
}
