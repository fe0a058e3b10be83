// The panel where staff see who waits and who is in, and decide.

import { confirm, openDialog } from "./dialog.js";
import { el, keyed, setText, show } from "./dom.js";
import { bind, bindAttribute, clock, t, waited } from "./i18n.js";
import { chime } from "./meter.js";
import { button } from "./shell.js";

const BY_HOST = ["document", "known_in_person"];

export class People {
  element;
  #visit;
  #asks;
  #queue;
  #inside;
  #nobody;
  #alone;
  #count;
  #lock;
  #spoken;
  #known = new Set(); // sessions that have been sounded

  /** @param asks {identity(entry), number(entry), invite(), end()} open their dialogs */
  constructor(visit, asks) {
    this.#visit = visit;
    this.#asks = asks;
    this.#queue = el("ul", { class: "cards", testid: "queue" });
    this.#inside = el("ul", { class: "rows", testid: "inside" });
    this.#nobody = el("p", { class: "panel-empty", t: "people.nobody" });
    this.#alone = el("p", { class: "panel-empty", t: "people.nobody-inside" });
    this.#count = el("span", { class: "count" });
    this.#spoken = el("p", { class: "unseen", "aria-live": "polite" });
    this.#lock = button("people.lock", { symbol: "lock", testid: "lock", click: () => this.lock() });
    this.element = el(
      "section",
      { class: "panel-body people", testid: "people" },
      el(
        "div",
        { class: "scroll" },
        el("h3", {}, el("span", { t: "people.waiting" }), this.#count),
        this.#spoken,
        this.#nobody,
        this.#queue,
        el("h3", { t: "people.inside" }),
        this.#alone,
        this.#inside,
      ),
      el(
        "div",
        { class: "panel-foot" },
        button("invite.button", { symbol: "add", testid: "invite", click: () => asks.invite() }),
        this.#lock,
        button("end.title", { kind: "danger-quiet", testid: "end", click: () => asks.end() }),
      ),
    );
    visit.addEventListener("people", () => this.update());
    visit.addEventListener("refusal", ({ detail }) => this.#refused(detail));
    setInterval(() => this.update(), 15000);
    this.update();
  }

  lock() {
    const { locked } = this.#visit;
    if (!this.#visit.say({ type: locked ? "unlock" : "lock" })) return;
    this.#visit.locked = !locked;
    this.#visit.dispatchEvent(new Event("people"));
  }

  update() {
    const { queue, others } = this.#visit;
    show(this.#nobody, queue.length === 0);
    show(this.#alone, others.length === 0);
    show(this.#count, queue.length > 0);
    // By who it is and not by how many: one may come in the moment in which another gives up.
    const come = queue.filter((one) => !this.#known.has(one.session));
    this.#known = new Set(queue.map((one) => one.session));
    if (come.length > 0) {
      void chime().catch(() => undefined);
      setText(this.#spoken, t("people.arrived", { name: come[come.length - 1].display_name }));
    }
    setText(this.#count, String(queue.length));
    bind(this.#lock.querySelector("span"), this.#visit.locked ? "people.unlock" : "people.lock");
    keyed(this.#queue, queue, (one) => one.session, (one) => this.#card(one), (card, one) => this.#fill(card, one));
    keyed(this.#inside, others, (one) => one.id, (one) => this.#row(one), (row, one) => this.#fillRow(row, one));
  }

  #card(first) {
    const name = el("strong", { class: "who" });
    const about = el("span", { class: "about" });
    const since = el("span", { class: "since" });
    const identity = el("span", { class: "chip" });
    const second = el("p", { class: "second", t: "people.second" });
    const connection = el("span", { class: "dot", role: "img" });
    const act = (type) => () => this.#decide(type, card.entry);
    const buttons = {
      admit: button("act.admit", { kind: "primary", testid: "admit", click: act("admit") }),
      identify: button("act.identify", { symbol: "id", testid: "identify", click: act("identify") }),
      hold: button("act.hold", { testid: "hold", click: act("hold") }),
      record: button("act.record", { testid: "record-identity", click: () => this.#asks.identity(card.entry) }),
      phone: button("act.phone", { kind: "quiet", symbol: "phone", testid: "phone", click: () => this.#asks.number(card.entry) }),
      write: button("act.write", { kind: "quiet", symbol: "chat", testid: "write-to", click: () => this.#write(card.entry) }),
      deny: button("act.deny", { kind: "danger-quiet", testid: "deny", click: () => this.#ask("deny", card.entry) }),
    };
    const card = el(
      "li",
      { class: "person-card", testid: "queue-entry", "data-participant": first.participant, "data-session": first.session },
      el("div", { class: "person-head" }, connection, el("div", {}, name, about), since),
      identity,
      second,
      el("div", { class: "person-actions" }, Object.values(buttons)),
    );
    card.parts = { name, about, since, identity, second, connection, buttons };
    return card;
  }

  #fill(card, entry) {
    card.entry = entry;
    const { name, about, since, identity, second, connection, buttons } = card.parts;
    const identifying = entry.state === "identifying";
    card.dataset.state = entry.state ?? "waiting";
    setText(name, entry.display_name);
    bind(about, `role.${entry.role}`);
    const zone = this.#visit.room?.time_zone;
    bind(since, "people.since", () => ({ time: clock(entry.since, zone), waited: waited(entry.since) }));
    identityChip(identity, entry.identity, entry.expected, entry.identified_as);
    connectionDot(connection, entry.connection);
    const arrivals = this.#visit.queue.filter((one) => one.participant === entry.participant).length;
    show(second, arrivals > 1 || this.#visit.participants.some((one) => one.id === entry.participant));
    // Without a picture there is nothing to hold a document up to.
    show(buttons.identify, !identifying && this.#visit.video);
    show(buttons.write, this.#visit.can("chat"));
    show(buttons.hold, identifying);
  }

  #row(person) {
    const name = el("strong", { class: "who" });
    const about = el("span", { class: "about" });
    const identity = el("span", { class: "chip" });
    const connection = el("span", { class: "dot", role: "img" });
    const entry = { participant: person.id };
    const mute = button("act.mute", { testid: "mute-participant", click: () => this.#decide("mute", entry) });
    const hold = button("act.hold", { testid: "hold", click: () => this.#decide("hold", entry) });
    const phone = button("act.phone", { symbol: "phone", testid: "phone", click: () => this.#asks.number(row.entry) });
    const remove = button("act.remove", { kind: "danger-quiet", testid: "remove", click: () => this.#ask("remove", row.entry) });
    const row = el(
      "li",
      { class: "person-card inside", testid: "inside-entry", "data-participant": person.id },
      el("div", { class: "person-head" }, connection, el("div", {}, name, about)),
      identity,
      el("div", { class: "person-actions" }, mute, phone, hold, remove),
    );
    row.parts = { name, about, identity, connection, mute, phone, hold, remove };
    return row;
  }

  #fillRow(row, person) {
    row.entry = { participant: person.id, display_name: person.display_name };
    const { name, about, identity, connection, mute, phone, hold, remove } = row.parts;
    setText(name, person.display_name);
    bind(about, person.host ? "role.host" : `role.${person.role}`);
    identityChip(identity, person.identity);
    connectionDot(connection, person.connection);
    show(mute, this.#visit.video);
    mute.disabled = person.muted?.microphone === true;
    bind(mute.querySelector("span"), mute.disabled ? "act.is-muted" : "act.mute");
    show(phone, !person.host);
    for (const [one, label] of [[mute, "act.mute-name"], [phone, "number.title"], [hold, "act.hold-name"], [remove, "act.remove-name"]]) {
      bindAttribute(one, "aria-label", label, { name: person.display_name });
    }
  }

  #decide(type, { participant, session }) {
    this.#asked = { type, participant, session };
    this.#visit.say(session ? { type, participant, session } : { type, participant });
  }

  #asked = null;

  // "Admit" before the identity that the unit demands: the next step is to record it.
  #refused({ code, re }) {
    if (code !== "identity-not-met" || re !== "admit" || !this.#asked) return;
    const entry = this.#visit.queue.find((one) => one.session === this.#asked.session);
    if (entry) this.#asks.identity(entry, { thenAdmit: true });
  }

  #ask(type, entry) {
    const name = entry.display_name;
    confirm({
      title: [`${type}.title`, { name }], text: [`${type}.text`, { name }], yes: `${type}.yes`, testid: type,
      act: () => this.#decide(type, entry),
    });
  }

  #write(entry) {
    const text = el("textarea", { rows: "3", maxlength: "1000", dir: "auto", id: "letter", testid: "letter" });
    const dialog = openDialog({
      title: ["write.title", { name: entry.display_name }],
      testid: "write",
      body: [el("label", { for: "letter", t: "write.label" }), text],
      actions: [
        button("cancel", { click: () => dialog.close() }),
        button("chat.send", {
          kind: "primary", testid: "send-letter",
          click: () => {
            if (text.value.trim()) this.#visit.chat.write(text.value.trim(), entry.participant);
            dialog.close();
          },
        }),
      ],
    });
    text.focus();
  }
}

/** How somebody was identified, and `as` whom, where their eID has a name. */
export function identityChip(chip, identity, expected, as) {
  const known = Boolean(identity);
  chip.classList.toggle("known", known && expected !== false);
  chip.classList.toggle("other", expected === false);
  if (expected === false) return bind(chip, "identity.unexpected");
  if (!known) return bind(chip, "identity.none");
  const { method, level = "", by } = identity;
  // An eID may be called as any of our texts is.
  if (BY_HOST.includes(method)) return bind(chip, `identity.${method}`);
  const shown = { method: by?.id === method ? by.name : method, level, name: as };
  bind(chip, as ? "identity.eid-as" : "identity.eid", shown);
}

export function connectionDot(dot, connection) {
  dot.dataset.connection = connection ?? "none";
  bindAttribute(dot, "aria-label", `connection.${connection ?? "none"}`);
  bindAttribute(dot, "title", `connection.${connection ?? "none"}`);
}

