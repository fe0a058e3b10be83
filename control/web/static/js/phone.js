// Phoning somebody whom video fails: their number, shown only now that it is asked for, and how it went.

import { openDialog } from "./dialog.js";
import { el, setText, show } from "./dom.js";
import { bind, t } from "./i18n.js";
import { call } from "./session.js";
import { button } from "./shell.js";

const OUTCOMES = ["completed", "resumed", "no_answer"];

/** A number to press. */
export function phoneLink(number, testid) {
  return el("a", { class: "phone-number", href: `tel:${number}`, dir: "ltr", testid }, number);
}

/** Asks the server for the number, which writes down who did. @param entry {participant, display_name} */
export function askNumber(visit, { participant, display_name: name }) {
  const path = `/v1/rooms/${encodeURIComponent(visit.roomId)}/participants/${encodeURIComponent(participant)}`;
  const place = el("p", { class: "phone-place", "aria-live": "polite" });
  const wrong = el("p", { class: "wrong", role: "alert", hidden: true });
  const copy = button("number.copy", { symbol: "copy", testid: "copy-number", click: () => void copied() });
  const outcomes = OUTCOMES.map((outcome) =>
    button(`number.${outcome}`, {
      kind: outcome === "completed" ? "primary" : "secondary", testid: `outcome-${outcome}`,
      click: () => void went(outcome),
    }),
  );
  const after = el("div", { class: "after-call", hidden: true }, copy, el("p", { t: "number.how" }), el("div", { class: "actions" }, outcomes));
  const dialog = openDialog({
    title: ["number.title", { name }], testid: "number",
    body: [el("p", { t: "number.text" }), place, wrong, after],
  });
  let number = "";
  void reveal();

  async function reveal() {
    try {
      number = (await call("GET", `${path}/phone`, { token: visit.token })).phone;
    } catch (refusal) {
      return refused(refusal);
    }
    if (!dialog.isConnected) return;
    place.append(phoneLink(number, "number"));
    show(after, true);
    place.firstElementChild.focus();
  }

  async function went(outcome) {
    for (const one of outcomes) one.disabled = true;
    show(wrong, false);
    try {
      await call("POST", `${path}/fallback`, { body: { mode: "phone", outcome }, token: visit.token });
    } catch (refusal) {
      for (const one of outcomes) one.disabled = false;
      return refused(refusal);
    }
    visit.phoned(participant);
    dialog.close();
  }

  async function copied() {
    try {
      await navigator.clipboard.writeText(number);
    } catch {
      return getSelection().selectAllChildren(place); // then Ctrl+C does it
    }
    bind(copy.querySelector("span"), "invite.copied");
  }

  function refused(refusal) {
    const key = `refusal.${refusal.name}`;
    setText(wrong, t(key) === key ? t("refusal.other") : t(key));
    show(wrong, true);
  }
}
