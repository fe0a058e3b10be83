// One's own picture and sound before others see and hear them, and which camera and microphone they come from.

import { el, keyed, setText, show } from "./dom.js";
import { bind, bindAttribute, t } from "./i18n.js";
import { icon, setIcon } from "./icons.js";
import { chime, Meter } from "./meter.js";

const BARS = 24;

/** The picture, the level of the microphone, two switches. */
export class Preview {
  element;
  #devices;
  #video;
  #note;
  #problem;
  #bars;
  #level;
  #meter = new Meter();
  #heard = null;
  #timer;
  #switches;
  #listener = () => this.update();

  constructor(devices, { compact = false } = {}) {
    this.#devices = devices;
    this.#video = el("video", { autoplay: true, playsinline: true, "aria-hidden": "true", tabindex: "-1" });
    this.#video.muted = true;
    this.#note = el("p", { class: "preview-note", t: "check.asking" });
    this.#problem = el("div", { class: "problems", "aria-live": "polite" });
    this.#bars = el("div", { class: "bars" }, Array.from({ length: BARS }, () => el("i")));
    this.#level = el(
      "div",
      {
        class: "level", role: "meter", testid: "level", label: "check.level",
        "aria-valuemin": "0", "aria-valuemax": "100", "aria-valuenow": "0",
      },
      icon("mic"),
      this.#bars,
    );
    this.#switches = {
      microphone: this.#switch("microphone", "mic"),
      camera: this.#switch("camera", "camera"),
    };
    this.element = el(
      "div",
      { class: compact ? "preview compact" : "preview", testid: "preview" },
      el(
        "div",
        { class: "preview-picture" },
        this.#video,
        this.#note,
        el("div", { class: "preview-switches" }, this.#switches.microphone, this.#switches.camera),
      ),
      this.#level,
      this.#problem,
    );
    devices.addEventListener("change", this.#listener);
    this.#timer = setInterval(() => this.#draw(), 80);
    this.update();
  }

  #switch(source, symbol) {
    const toggle = el("button", {
      class: "round", type: "button", testid: source === "camera" ? "check-camera" : "check-mute",
      on: { click: () => void this.#devices.turn(source, !this.#devices.wanted[source]) },
    });
    toggle.append(icon(symbol));
    return toggle;
  }

  update() {
    const { tracks, wanted, problems } = this.#devices;
    const shown = this.#video.srcObject?.getVideoTracks()[0] ?? null;
    if (shown !== tracks.camera) {
      this.#video.srcObject = tracks.camera ? new MediaStream([tracks.camera]) : null;
      if (tracks.camera) void this.#video.play().catch(() => undefined);
    }
    show(this.#note, !tracks.camera);
    if (!wanted.camera) bind(this.#note, "check.camera-off");
    else bind(this.#note, problems.camera ? "check.no-picture" : "check.asking");
    if (tracks.microphone !== this.#heard) {
      this.#heard = tracks.microphone;
      this.#meter.listen(tracks.microphone);
    }
    for (const [source, name] of [["microphone", "mic"], ["camera", "camera"]]) {
      const off = !wanted[source];
      const toggle = this.#switches[source];
      setIcon(toggle.firstElementChild, off ? `${name}-off` : name);
      toggle.dataset.on = String(!off);
      bindAttribute(toggle, "aria-label", `bar.${source}-${off ? "on" : "off"}`);
      bindAttribute(toggle, "title", `bar.${source}-${off ? "on" : "off"}`);
    }
    const wrong = ["camera", "microphone"].filter((source) => wanted[source] && problems[source]);
    const both = wrong.length === 2 && problems.camera === problems.microphone;
    const items = (both ? ["both"] : wrong).map((source) => {
      return { source, problem: problems[both ? "camera" : source] };
    });
    keyed(
      this.#problem,
      items,
      ({ source, problem }) => `${source}.${problem}`,
      ({ source, problem }) => this.#say(source, problem),
      () => undefined,
    );
  }

  #say(source, problem) {
    const key = `problem.${source}.${problem}`;
    const text = t(key) === key ? `problem.${source}.other` : key;
    return el(
      "div",
      { class: "problem", testid: `problem-${source}` },
      icon("info"),
      el(
        "div",
        {},
        el("p", { t: text }),
        el("button", {
          class: "link", type: "button", t: "check.again", testid: "try-devices",
          on: { click: () => void this.#devices.start() },
        }),
      ),
    );
  }

  #draw() {
    const level = this.#meter.read();
    const lit = Math.round(level * BARS);
    for (const [index, bar] of [...this.#bars.children].entries()) bar.classList.toggle("lit", index < lit);
    const percent = String(Math.round(level * 100));
    if (this.#level.getAttribute("aria-valuenow") !== percent) this.#level.setAttribute("aria-valuenow", percent);
    this.#level.classList.toggle("off", !this.#heard);
  }

  close() {
    clearInterval(this.#timer);
    this.#meter.stop();
    this.#devices.removeEventListener("change", this.#listener);
    this.#video.srcObject = null;
  }
}

/** Which camera and microphone, and whether the loudspeaker works. */
export function deviceChoices(devices) {
  const fields = ["camera", "microphone"].map((source) => {
    const select = el("select", {
      id: `choose-${source}`, testid: `choose-${source}`,
      on: { change: () => void devices.choose(source, select.value) },
    });
    const field = el("div", { class: "field" }, el("label", { for: select.id, t: `check.${source}` }), select);
    const update = () => {
      const list = devices.list[source];
      show(field, list.length > 0);
      keyed(
        select,
        list,
        (one) => one.id,
        (one) => el("option", { value: one.id }),
        (option, one) => setText(option, one.label || `${t(`check.${source}`)} ${list.indexOf(one) + 1}`),
      );
      const current = devices.current(source);
      if (list.some((one) => one.id === current) && select.value !== current) select.value = current;
    };
    update();
    devices.addEventListener("change", update);
    return field;
  });
  const sound = el(
    "button",
    {
      class: "secondary", type: "button", testid: "test-sound",
      on: {
        click: async () => {
          sound.disabled = true;
          await chime().catch(() => undefined);
          sound.disabled = false;
        },
      },
    },
    icon("sound"),
    el("span", { t: "check.sound" }),
  );
  return el("div", { class: "choices" }, fields, sound);
}
