// The visit as a patient, a relative or an interpreter has it: few buttons, each one needed.

import { coverWhileByPhone } from "./byphone.js";
import { confirm } from "./dialog.js";
import { askPhone } from "./help.js";
import { Room } from "./room.js";

/** @returns Room */
export function patientRoom({ visit, slots, devices }) {
  const leave = () => confirm({
    title: "leave.title", text: "leave.text", yes: "bar.leave", testid: "leave", act: () => visit.leave(),
  });
  const room = new Room({ visit, slots, devices, leave });
  if (visit.form !== "phone") {
    const phone = room.entry("phone", "help.phone", "ask-phone", () => askPhone(visit, phone));
  }
  if (visit.form === "chat") room.open("chat");
  coverWhileByPhone(room, visit);
  room.update();
  return room;
}
