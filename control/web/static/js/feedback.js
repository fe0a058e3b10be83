// Two questions after the visit, answered with a number each and no words; each may be left out, and so may both.

import { el, show } from "./dom.js";
import { bind } from "./i18n.js";
import { button } from "./shell.js";

const QUESTIONS = ["technical", "visit"];
const STARS = [1, 2, 3, 4, 5];

/** The questions as a card of their own; what was answered goes to `visit.rate`. */
export function feedback(visit) {
  const said = el("p", { role: "status", tabindex: "-1", testid: "feedback-said" });
  const send = button("feedback.send", { kind: "secondary", testid: "feedback-send", type: "submit" });
  const form = el(
    "form",
    { class: "feedback", testid: "feedback", "aria-labelledby": "feedback-title", novalidate: true },
    el("h2", { id: "feedback-title", t: "feedback.title" }),
    el("p", { t: "feedback.text" }),
    QUESTIONS.map(scale),
    send,
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void answer();
  });

  async function answer() {
    const answers = Object.fromEntries([...new FormData(form)].map(([name, value]) => [name, Number(value)]));
    if (Object.keys(answers).length === 0) return bind(said, "feedback.none");
    send.disabled = true;
    try {
      await visit.rate(answers);
    } catch (refusal) {
      const late = refusal.status === 409 || refusal.status === 410;
      send.disabled = late;
      return bind(said, late ? "feedback.late" : "feedback.failed");
    }
    bind(said, "feedback.thanks");
    said.focus({ preventScroll: true }); // what had the focus goes away
    show(form, false);
  }

  return el("section", { class: "card say asked" }, form, said);
}

function scale(name) {
  return el(
    "fieldset",
    { testid: `feedback-${name}` },
    el("legend", { t: `feedback.${name}` }),
    el(
      "div",
      { class: "stars" },
      STARS.map((star) => el(
        "label",
        { class: "option" },
        el("input", {
          type: "radio", name, value: star, label: `feedback.star-${star}`, testid: `feedback-${name}-${star}`,
        }),
        el("span", { "aria-hidden": "true" }, String(star)),
      )),
    ),
    el("div", { class: "ends", "aria-hidden": "true" }, el("span", { t: "feedback.worst" }), el("span", { t: "feedback.best" })),
  );
}
