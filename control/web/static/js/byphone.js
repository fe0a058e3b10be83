// While a patient is phoned instead: camera, microphone and sound rest here, and one tap brings them back.

import { el, show } from "./dom.js";
import { bind } from "./i18n.js";
import { phoneLink } from "./phone.js";
import { button, card } from "./shell.js";

/** Covers the room for as long as the visit is by phone. @param room Room */
export function coverWhileByPhone(room, visit) {
  const told = el("p", {});
  const own = el("div", { class: "unit-phone" });
  const cover = el(
    "div",
    { class: "by-phone", hidden: true },
    card({
      symbol: "phone", title: "phone.title", testid: "by-phone", lines: [told, own, "phone.quiet"],
      actions: [button("phone.back", { kind: "primary", testid: "back-to-video", click: () => visit.backToVideo() })],
    }),
  );
  room.element.querySelector("main").append(cover);
  const update = () => {
    bind(told, visit.askLater ? "phone.not-told" : "phone.told");
    own.replaceChildren(...unitPhone(visit.room?.care_unit));
    room.element.classList.toggle("covered", visit.byPhone);
    if (visit.byPhone && cover.hidden) queueMicrotask(() => cover.querySelector("button").focus());
    show(cover, visit.byPhone);
  };
  for (const type of ["phone", "welcome"]) visit.addEventListener(type, update);
  update();
}

/** The unit's own number with words before it; nothing where it isn't known. */
export function unitPhone(unit) {
  if (!unit?.phone) return [];
  return [el("p", { t: ["phone.unit", { unit: unit.name }] }), phoneLink(unit.phone, "unit-phone")];
}
