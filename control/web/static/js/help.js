// Asking to be phoned: from the waiting room, from the visit's menu, and where the network is too weak for more.

import { bind } from "./i18n.js";

const AGAIN = 60_000; // who is told now needs not be told again at once, but perhaps once more

/** Asks, and says on the button that the staff have been told. @param words key of what stands there otherwise */
export function askPhone(visit, button, words = "help.phone") {
  if (!visit.askPhone()) return;
  const text = button.querySelector("span");
  button.disabled = true;
  bind(text, "help.phone-sent");
  setTimeout(() => {
    button.disabled = false;
    bind(text, words);
  }, AGAIN);
}
