// Before joining: does the camera show me, does the microphone hear me, do I hear?

import { el } from "./dom.js";
import { icon } from "./icons.js";
import { deviceChoices, Preview } from "./preview.js";
import { button } from "./shell.js";

/** The device check; `join` is called once, when the person has decided. */
export class Check {
  element;
  #preview;

  /** @param about {room, form, name} as far as they are known, @param devices Devices, @param join () => void */
  constructor({ room, form, name }, devices, join) {
    const video = form === "video";
    this.#preview = video ? new Preview(devices) : null;
    const go = button("check.join", { kind: "primary large", testid: "join", click: () => join() });
    const where = room?.care_unit?.name;
    this.element = el(
      "section",
      { class: "check" },
      el(
        "div",
        { class: "check-head" },
        el("h1", { t: name ? ["check.hello", { name }] : "check.title" }),
        el("p", { class: "lead", testid: "check-lead", t: lead(form, where) }),
      ),
      video && this.#preview.element,
      el(
        "div",
        { class: "check-side" },
        video && deviceChoices(devices),
        video && el("p", { class: "assure" }, icon("shield"), el("span", { t: "check.assure" })),
        el("div", { class: "check-join" }, go),
      ),
    );
    if (video) void devices.start();
  }

  close() {
    this.#preview?.close();
  }
}

function lead(form, unit) {
  if (form !== "video") return unit ? [`check.lead-${form}-at`, { unit }] : `check.lead-${form}`;
  return unit ? ["check.lead-at", { unit }] : "check.lead";
}
