// Where one is before and after the visit: waiting, held, not let in, over; each with a sentence and a next step.

import { unitPhone } from "./byphone.js";
import { el, setWords, show } from "./dom.js";
import { feedback } from "./feedback.js";
import { askPhone } from "./help.js";
import { eidCard } from "./eid.js";
import { bind, clock, waited } from "./i18n.js";
import { icon } from "./icons.js";
import { Preview } from "./preview.js";
import { button, card } from "./shell.js";
import { unitTexts } from "./unit.js";

/** Waiting, held or connecting: nothing to do but to stay. */
export class Waiting {
  element;
  #visit;
  #preview;
  #title;
  #lines;
  #since;
  #letters;
  #phone;
  #timer;
  #eid;
  #unit;
  #onState = () => this.#update();
  #onLines = () => this.#write();
  #onNetwork = () => this.#update();

  constructor(visit, devices) {
    this.#visit = visit;
    this.#preview = visit.video ? new Preview(devices, { compact: true }) : null;
    this.#eid = visit.eid ? eidCard(visit.eid) : null;
    this.#unit = unitTexts(visit);
    this.#title = el("h1", {});
    this.#lines = [el("p", { class: "lead" }), el("p", {})];
    this.#since = el("p", { class: "since" });
    this.#letters = el("div", { class: "letters", "aria-live": "polite", testid: "messages-from-staff" });
    this.#phone = el("div", { class: "unit-phone", hidden: true, "aria-live": "polite" });
    this.element = el(
      "section",
      { class: "waiting", testid: "waiting" },
      el(
        "div",
        { class: "card say calm" },
        el("div", { class: "breath", "aria-hidden": "true" }, el("span"), el("span"), icon("clock")),
        el("div", { "aria-live": "polite" }, this.#title, this.#lines),
        this.#since,
        this.#phone,
        this.#letters,
        el(
          "div",
          { class: "actions" },
          visit.form === "phone" ? [] : button("help.phone", {
            kind: "secondary", symbol: "phone", testid: "ask-phone",
            click: (event) => this.#ask(event.currentTarget),
          }),
          button("bar.leave", { kind: "quiet", testid: "leave", click: () => visit.leave() }),
        ),
      ),
      el("div", { class: "waiting-side" }, this.#eid?.element, this.#unit.element, this.#preview?.element),
    );
    visit.addEventListener("state", this.#onState);
    visit.addEventListener("network", this.#onNetwork);
    visit.chat.addEventListener("lines", this.#onLines);
    this.#timer = setInterval(() => this.#tick(), 10000);
    this.#update();
    this.#write();
  }

  #update() {
    const { state, detail, online, restarting } = this.#visit;
    this.element.dataset.state = state;
    const stay = this.#visit.video ? "wait.stay" : `wait.stay-${this.#visit.form}`;
    const away = restarting ? "restart" : "offline";
    const key = online || (state === "connecting" && !restarting) ? state : away;
    const words = {
      connecting: ["wait.connecting", "wait.connecting-1", ""],
      restart: ["wait.restart", "wait.restart-1", "wait.offline-2"],
      offline: ["wait.offline", "wait.offline-1", "wait.offline-2"],
      held: ["wait.held", "wait.held-1", stay],
      waiting: ["wait.title", detail.staff_present ? "wait.staff-here" : "wait.staff-away", stay],
    }[key] ?? ["wait.connecting", "wait.connecting-1", ""];
    bind(this.#title, words[0]);
    bind(this.#lines[0], words[1]);
    bind(this.#lines[1], words[2] || "nothing");
    this.#tick();
  }

  #ask(pressed) {
    askPhone(this.#visit, pressed);
    this.#phone.replaceChildren(
      el("p", { t: this.#visit.askLater ? "phone.not-told" : "phone.told" }),
      ...unitPhone(this.#visit.room?.care_unit),
    );
    show(this.#phone, true);
  }

  #tick() {
    const { state, detail, room } = this.#visit;
    show(this.#since, state === "waiting" && Boolean(detail.since));
    if (!detail.since) return;
    bind(this.#since, "wait.since", () => ({
      time: clock(detail.since, room?.time_zone), waited: waited(detail.since),
    }));
  }

  #write() {
    const letters = this.#visit.chat.lines.filter((line) => !line.mine);
    show(this.#letters, letters.length > 0);
    this.#letters.replaceChildren(
      ...letters.map((line) => {
        const text = el("p", { dir: "auto" });
        setWords(text, line.text);
        return el("div", { class: "letter" }, el("strong", { t: "wait.letter" }), text);
      }),
    );
  }

  close() {
    clearInterval(this.#timer);
    this.#preview?.close();
    this.#eid?.close();
    this.#unit.close();
    this.#visit.removeEventListener("state", this.#onState);
    this.#visit.removeEventListener("network", this.#onNetwork);
    this.#visit.chat.removeEventListener("lines", this.#onLines);
  }
}

const OUTCOMES = {
  denied: { symbol: "info", tone: "warn", again: false },
  removed: { symbol: "info", tone: "warn", again: false },
  ended: { symbol: "check", tone: "good", again: false },
  left: { symbol: "check", tone: "good", again: true },
  elsewhere: { symbol: "info", tone: "calm", again: true },
  replaced: { symbol: "info", tone: "calm", again: true },
  refused: { symbol: "info", tone: "warn", again: true },
};

/** How it went out. @param again () => void: comes back */
export function outcome(visit, again) {
  const { symbol, tone, again: mayReturn } = OUTCOMES[visit.state];
  const lines = [`out.${visit.state}-1`];
  const phone = tone === "warn" ? unitPhone(visit.room?.care_unit) : [];
  if (phone.length > 0) lines.push(el("div", { class: "unit-phone" }, phone));
  const actions = mayReturn
    ? [button(`out.${visit.state}-again`, { kind: "primary", testid: "return", click: again })]
    : [];
  if (visit.state === "denied") {
    actions.push(button("bar.leave", { kind: "secondary", testid: "leave", click: () => visit.leave() }));
  }
  const said = card({ symbol, tone, title: `out.${visit.state}`, lines, actions, testid: `state-${visit.state}` });
  const reason = visit.detail.reason;
  if (reason) {
    const quoted = el("blockquote", { dir: "auto" });
    setWords(quoted, reason);
    said.querySelector("p").after(quoted);
  }
  const asked = ["ended", "left"].includes(visit.state) && visit.asks;
  // Beside the card and not in it: the card is read out whole whenever it changes.
  return asked ? el("div", {}, said, feedback(visit)) : said;
}
