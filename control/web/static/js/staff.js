// The visit as staff have it: who waits, identity, admission, and the end.

import { confirm, openDialog } from "./dialog.js";
import { el } from "./dom.js";
import { bind } from "./i18n.js";
import { askIdentity } from "./identity.js";
import { askInvitation } from "./invitation.js";
import { People } from "./people.js";
import { askNumber } from "./phone.js";
import { Room } from "./room.js";
import { button } from "./shell.js";

/** @returns Room, with the panel of people */
export function staffRoom({ visit, slots, devices }) {
  const room = new Room({ visit, slots, devices, leave: () => askLeave(visit) });
  const people = new People(visit, {
    identity: (entry, options) => askIdentity(visit, entry, options),
    number: (entry) => askNumber(visit, entry),
    invite: () => askInvitation(visit),
    end: () => askEnd(visit),
  });
  room.panel("people", { symbol: "people", title: "people.title", element: people.element });
  room.entry("add", "invite.title", "more-invite", () => askInvitation(visit));
  const lock = room.entry("lock", "people.lock", "more-lock", () => people.lock());
  room.entry("leave", "end.title", "more-end", () => askEnd(visit));
  const update = () => {
    room.badge("people", visit.queue.length);
    bind(lock.querySelector("span"), visit.locked ? "people.unlock" : "people.lock");
  };
  visit.addEventListener("people", update);
  // Admission is what staff come for: the panel is open from the start wherever the visit fits beside it.
  if (matchMedia("(min-width: 56rem)").matches) room.open("people");
  room.update();
  update();
  return room;
}

function askLeave(visit) {
  const dialog = openDialog({
    title: "leave.title",
    testid: "leave",
    body: [el("p", { t: "leave.host" })],
    actions: [
      button("leave.only-me", {
        kind: "secondary", testid: "confirm-leave",
        click: () => {
          dialog.close();
          visit.leave();
        },
      }),
      button("end.yes", {
        kind: "danger", testid: "end",
        click: () => {
          dialog.close();
          visit.say({ type: "end" });
        },
      }),
    ],
  });
}

function askEnd(visit) {
  confirm({ title: "end.title", text: "end.text", yes: "end.yes", testid: "end", act: () => visit.say({ type: "end" }) });
}
