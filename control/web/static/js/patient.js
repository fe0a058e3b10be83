// The visit as a patient, a relative or an interpreter has it: few buttons, each one needed.

import { confirm } from "./dialog.js";
import { bind } from "./i18n.js";
import { Room } from "./room.js";

/** @returns Room */
export function patientRoom({ visit, slots, devices }) {
  const leave = () => confirm({
    title: "leave.title", text: "leave.text", yes: "bar.leave", testid: "leave", act: () => visit.leave(),
  });
  const room = new Room({ visit, slots, devices, leave });
  const phone = room.entry("phone", "help.phone", "ask-phone", () => {
    if (!visit.say({ type: "help", kind: "phone" })) return;
    bind(phone.querySelector("span"), "help.phone-sent");
  });
  room.update();
  return room;
}
