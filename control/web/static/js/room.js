// The visit itself: stage, the bar of buttons, and a panel beside it. patient.js and staff.js say what else there is.

import { unitPhone } from "./byphone.js";
import { el, setText, show } from "./dom.js";
import { openDialog } from "./dialog.js";
import { askPhone } from "./help.js";
import { bind, bindAttribute } from "./i18n.js";
import { icon, setIcon } from "./icons.js";
import { askNumber } from "./phone.js";
import { ownWeakness } from "./quality.js";
import { deviceChoices } from "./preview.js";
import { button, languageChoice, mark } from "./shell.js";
import { Stage } from "./stage.js";
import { Writing } from "./writing.js";

const WEAK_FOR = 5000; // a moment's weakness is not worth a word
const LOST_FOR = 15_000; // then a telephone may be the better way; so does the server think

export class Room {
  element;
  stage;
  visit;
  #slots;
  #devices;
  #panels = new Map(); // name -> {element, title, button, shown}
  #open = null;
  #side;
  #sideTitle;
  #sideBody;
  #bar;
  #more;
  #banner;
  #unit;
  #buttons = {};
  #devicesEntry;
  #weakTimer = 0;
  #lostTimer = 0;
  #lost = false; // the network has been gone for long enough to say what else there is
  #weak = false; // one's own quality has been poor for long enough to say so

  /** @param parts {visit, slots, devices, leave: () => void} */
  constructor({ visit, slots, devices, leave }) {
    this.visit = visit;
    this.#slots = slots;
    this.#devices = devices;
    this.stage = new Stage({ visit, slots, devices });
    this.#unit = el("span", { class: "unit", dir: "auto", testid: "care-unit" });
    this.#banner = el("div", { class: "banners", "aria-live": "polite" });
    this.#bar = el("div", { class: "bar-main" });
    this.#more = el("div", { class: "menu", id: "more-menu", popover: "auto", testid: "more-menu" });
    this.#sideTitle = el("h2", { id: "side-title" });
    this.#sideBody = el("div", { class: "side-body" });
    const close = el(
      "button",
      { class: "round small", type: "button", label: "close", testid: "close-panel", on: { click: () => this.open(null) } },
      icon("close"),
    );
    this.#side = el(
      "aside",
      { class: "side", hidden: true, "aria-labelledby": "side-title" },
      el("header", {}, this.#sideTitle, close),
      this.#sideBody,
    );
    this.element = el(
      "div",
      { class: "room", testid: "room" },
      el("header", { class: "room-header" }, mark(), this.#unit, languageChoice()),
      el("main", { class: "room-main", tabindex: "-1" }, this.stage.element, this.#banner),
      this.#side,
      el("footer", { class: "bar", role: "toolbar", label: "bar.label" }, this.#bar, this.#more),
    );
    this.element.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && this.#open && !event.defaultPrevented) this.open(null);
    });
    this.#controls(leave);
    for (const type of ["people", "network", "state", "welcome"]) visit.addEventListener(type, () => this.update());
    for (const type of ["people", "quality", "state"]) visit.addEventListener(type, () => this.#weaken());
    devices.addEventListener("change", () => this.update());
    slots.addEventListener("blocked", () => this.update());
    slots.addEventListener("change", () => this.#banners());
    visit.chat.addEventListener("lines", () => this.update());
  }

  #controls(leave) {
    const { visit } = this;
    const writing = new Writing(visit);
    this.#buttons = {
      microphone: this.control("mic", "short.microphone", "mute", () => {
        void visit.turn("microphone", this.#off("microphone"));
      }),
      camera: this.control("camera", "short.camera", "camera", () => {
        void visit.turn("camera", this.#off("camera"));
      }),
      screen: this.control("screen", "short.screen", "screen", () => {
        if (visit.sharing) visit.unshare();
        else void visit.share();
      }, "wide"),
      hand: this.control("hand", "short.hand", "hand", () => visit.raiseHand(!visit.hand), "wide"),
    };
    this.panel("chat", { symbol: "chat", title: "chat.title", element: writing.element, shown: (open) => writing.shown(open) });
    const more = this.control("more", "bar.more", "more", () => undefined);
    this.#devicesEntry = this.#entry("settings", "bar.devices", "devices", () => this.#settings());
    if ("popover" in HTMLElement.prototype) more.setAttribute("popovertarget", "more-menu");
    else {
      this.#more.hidden = true;
      more.addEventListener("click", () => show(this.#more, this.#more.hidden));
    }
    this.#more.append(
      this.#entry("hand", "bar.hand-up", "more-hand", () => visit.raiseHand(!visit.hand), "narrow"),
      this.#entry("screen", "bar.screen-on", "more-screen", () => {
        if (visit.sharing) visit.unshare();
        else void visit.share();
      }, "narrow"),
      this.#devicesEntry,
    );
    const out = this.control("leave", "bar.leave", "leave", leave, "danger");
    this.#bar.append(out);
    if (!navigator.mediaDevices?.getDisplayMedia) {
      this.#buttons.screen.remove();
      this.#more.querySelector("[data-testid=more-screen]").remove();
    }
  }

  /** A round button in the bar, with words under it where there is room. */
  control(symbol, text, testid, click, extra = "") {
    const control = el(
      "button",
      { class: `control ${extra}`, type: "button", testid, on: { click } },
      el("span", { class: "round-face" }, icon(symbol), el("span", { class: "badge", hidden: true })),
      el("span", { class: "control-text", t: text }),
    );
    this.#bar.insertBefore(control, this.#bar.querySelector(".control.danger"));
    return control;
  }

  #entry(symbol, text, testid, click, extra = "") {
    return el(
      "button",
      {
        class: `entry ${extra}`, type: "button", testid,
        on: {
          click: () => {
            if (this.#more.hidePopover) this.#more.hidePopover();
            else show(this.#more, false);
            click();
          },
        },
      },
      icon(symbol),
      el("span", { t: text }),
    );
  }

  /** One more thing under "more". */
  entry(symbol, text, testid, click) {
    const entry = this.#entry(symbol, text, testid, click);
    this.#more.append(entry);
    return entry;
  }

  /** A panel beside the stage, with its button in the bar. @param shown (open) => void */
  panel(name, { symbol, title, element, shown }) {
    const toggle = this.control(symbol, title, `panel-${name}`, () => this.open(this.#open === name ? null : name));
    toggle.setAttribute("aria-expanded", "false");
    this.#panels.set(name, { element, title, toggle, shown });
  }

  /** Opens one panel, or none. */
  open(name) {
    if (this.#open === name) return;
    const former = this.#panels.get(this.#open);
    former?.shown?.(false);
    former?.toggle.setAttribute("aria-expanded", "false");
    this.#open = name;
    const panel = this.#panels.get(name);
    show(this.#side, Boolean(panel));
    this.element.classList.toggle("with-side", Boolean(panel));
    if (!panel) return former?.toggle.focus();
    bind(this.#sideTitle, panel.title);
    this.#sideBody.replaceChildren(panel.element);
    panel.toggle.setAttribute("aria-expanded", "true");
    panel.shown?.(true);
  }

  get opened() {
    return this.#open;
  }

  /** A number at a panel's button; 0 takes it away. */
  badge(name, count) {
    const badge = this.#panels.get(name).toggle.querySelector(".badge");
    show(badge, count > 0);
    setText(badge, count > 99 ? "99+" : String(count));
  }

  // Off by one's own wish, by a host, or for want of a device.
  #off(source) {
    return this.visit.muted[source] || !this.#devices.tracks[source];
  }

  update() {
    const { visit } = this;
    setText(this.#unit, visit.room?.care_unit?.name ?? "");
    for (const [source, symbol] of [["microphone", "mic"], ["camera", "camera"]]) {
      const off = this.#off(source);
      this.#toggle(this.#buttons[source], !off, off ? `${symbol}-off` : symbol, `bar.${source}-${off ? "on" : "off"}`);
    }
    this.#toggle(this.#buttons.screen, Boolean(visit.sharing), "screen", visit.sharing ? "bar.screen-off" : "bar.screen-on");
    this.#toggle(this.#buttons.hand, visit.hand, "hand", visit.hand ? "bar.hand-down" : "bar.hand-up");
    for (const [name, on] of [["hand", visit.hand], ["screen", Boolean(visit.sharing)]]) {
      const entry = this.#more.querySelector(`[data-testid=more-${name}] span`);
      if (entry) bind(entry, `bar.${name}-${name === "hand" ? (on ? "down" : "up") : on ? "off" : "on"}`);
    }
    for (const one of [this.#buttons.microphone, this.#buttons.camera, this.#devicesEntry]) show(one, visit.video);
    for (const one of this.element.querySelectorAll("[data-testid=screen], [data-testid=more-screen]")) {
      show(one, visit.can("screen"));
    }
    show(this.#panels.get("chat").toggle, visit.can("chat"));
    if (this.#open === "chat" && !visit.can("chat")) this.open(null);
    this.badge("chat", visit.chat.unread);
    this.element.dataset.state = visit.state;
    this.#banners();
  }

  /** It is on the page (again): browsers stop pictures that were taken off it. */
  shown() {
    this.stage.play();
    this.update();
  }

  // The name says what a press does, so that it needs no pressed state beside it; `data-on` is what is so now.
  #toggle(control, on, symbol, text) {
    control.dataset.on = String(on);
    setIcon(control.querySelector("svg"), symbol);
    bindAttribute(control, "aria-label", text);
    bindAttribute(control, "title", text);
  }

  get #weakness() {
    return this.visit.state === "admitted" ? ownWeakness(this.visit.quality.of(this.visit.me?.id)) : null;
  }

  #weaken() {
    const weak = this.#weakness !== null;
    if (weak !== (this.#weakTimer !== 0)) {
      clearTimeout(this.#weakTimer);
      this.#weak = false;
      this.#weakTimer = weak ? setTimeout(() => this.#admitWeak(), WEAK_FOR) : 0;
    }
    this.#banners();
  }

  #admitWeak() {
    this.#weak = true;
    this.#banners();
  }

  #banners() {
    const { visit } = this;
    const wanted = [];
    this.#lose(!visit.online || visit.silent);
    if (this.#lost && !visit.host && visit.room?.care_unit?.phone) wanted.push("unit-phone");
    if (visit.host) for (const one of visit.calls.keys()) if (visit.nameOf(one)) wanted.push(`call-${one}`);
    if (!visit.online && visit.restarting) wanted.push("restart");
    else if (!visit.online || visit.silent) wanted.push("lost");
    else if (visit.full) wanted.push("full");
    else if (this.#weak && this.#weakness) wanted.push(this.#weakness);
    if (visit.host && visit.room?.training) wanted.push("training");
    if (!visit.video) wanted.push(visit.host ? `${visit.form}-host` : visit.form);
    if (this.#slots.blocked) wanted.push("blocked");
    if (visit.state === "identifying") wanted.push("identifying");
    // Only the host who looks at the document has that person in a slot.
    const alone = visit.queue.some((one) => one.state === "identifying" && this.#slots.slotOf(one.participant, "camera"));
    if (alone) wanted.push("identifying-host");
    for (const source of ["microphone", "camera"]) {
      if (this.#devices.wanted[source] && this.#devices.problems[source] && !visit.muted[source]) wanted.push(source);
    }
    for (const child of [...this.#banner.children]) {
      if (!wanted.includes(child.dataset.banner)) child.remove();
    }
    for (const name of wanted) {
      if (!this.#banner.querySelector(`[data-banner=${name}]`)) this.#banner.append(this.#makeBanner(name));
    }
  }

  #lose(lost) {
    if (lost === (this.#lostTimer !== 0)) return;
    clearTimeout(this.#lostTimer);
    this.#lost = false;
    this.#lostTimer = lost ? setTimeout(() => ((this.#lost = true), this.#banners()), LOST_FOR) : 0;
  }

  // Somebody is to be phoned: until a host has done so, or says that it isn't needed.
  #makeCall(name) {
    const { visit } = this;
    const participant = name.slice("call-".length);
    const entry = { participant, display_name: visit.nameOf(participant) };
    const known = visit.calls.get(participant);
    const close = el(
      "button",
      { class: "round small", type: "button", label: "close", testid: "close-call", on: { click: () => visit.phoned(participant) } },
      icon("close"),
    );
    return el(
      "div",
      { class: "banner call", "data-banner": name, testid: `banner-${name}` },
      icon("phone"),
      el("p", { t: [known ? "notice.fallback" : "notice.fallback-unknown", { name: entry.display_name }] }),
      known && button("act.phone", { kind: "primary", testid: "show-number", click: () => askNumber(visit, entry) }),
      close,
    );
  }

  #makeBanner(name) {
    if (name.startsWith("call-")) return this.#makeCall(name);
    if (name === "unit-phone") {
      return el("div", { class: "banner", "data-banner": name, testid: `banner-${name}` }, icon("phone"), unitPhone(this.visit.room.care_unit));
    }
    const make = (symbol, text, ...more) => {
      return el("div", { class: `banner ${name}`, "data-banner": name, testid: `banner-${name}` }, icon(symbol), el("p", { t: text }), more);
    };
    if (name === "restart") return make("info", "banner.restart");
    if (name === "lost") return make("network", "banner.lost");
    if (name === "full") return make("info", "banner.full");
    if (name.startsWith("weak")) {
      const instead = (event) => askPhone(this.visit, event.currentTarget, "banner.phone-instead");
      const phone = button("banner.phone-instead", { testid: "phone-instead", click: instead });
      return make(name === "weak-phone" ? "info" : "network", `banner.${name}`, this.visit.host ? [] : phone);
    }
    if (name.startsWith("identifying")) return make("id", `banner.${name}`);
    if (name === "training") return make("info", "banner.training");
    if (name.startsWith("phone") || name.startsWith("chat")) return make(name.split("-")[0], `banner.form-${name}`);
    if (name === "blocked") {
      return make("sound", "banner.blocked", button("banner.unblock", {
        kind: "primary", testid: "unblock", click: () => void this.#slots.unblock(),
      }));
    }
    return make("info", `banner.no-${name}`, button("check.again", {
      kind: "secondary", testid: `try-${name}`, click: () => void this.#devices.start(),
    }));
  }

  #settings() {
    openDialog({ title: "bar.devices", testid: "devices", body: [deviceChoices(this.#devices)] });
  }

}
