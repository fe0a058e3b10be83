// What the care unit wants people to know of their visit: fee, what to prepare, the right to come in person instead.

import { el, setWords, show } from "./dom.js";
import { language, onLanguage } from "./i18n.js";
import { icon } from "./icons.js";
import { direction } from "./languages.js";

const SUBJECTS = ["fee", "preparation", "physical_visit"];
const OTHERWISE = "sv"; // as messages do
const ROOMY = "(min-width: 52rem)"; // as in lobby.css: there it stands beside everything else

/** The unit's texts as a part of the waiting page: folded up on a phone. @returns {element, close} */
export function unitTexts(visit) {
  const body = el("div", { class: "unit-texts-body", tabindex: "0", role: "region", label: "unit.title" });
  const element = el(
    "details",
    { class: "card unit-texts", testid: "unit-texts", hidden: true, open: matchMedia(ROOMY).matches },
    el("summary", {}, icon("info"), el("span", { t: "unit.title" })),
    body,
  );
  const update = () => {
    const said = SUBJECTS.map((subject) => [subject, inLanguage(visit.room?.texts?.[subject])]).filter(([, text]) => text);
    show(element, said.length > 0);
    body.replaceChildren(
      ...said.flatMap(([subject, { tag, text }]) => {
        const paragraph = el("p", { lang: tag, dir: direction(tag), testid: `unit-${subject}` });
        setWords(paragraph, text);
        return [el("h3", { t: `unit.${subject}` }), paragraph];
      }),
    );
  };
  const quiet = onLanguage(update);
  visit.addEventListener("welcome", update);
  update();
  return {
    element,
    close: () => {
      quiet();
      visit.removeEventListener("welcome", update);
    },
  };
}

// The page's language, else Swedish, else whatever there is: a fee in another language is better than none.
function inLanguage(texts = {}) {
  const tag = [language(), OTHERWISE, ...Object.keys(texts)].find((one) => texts[one]);
  return tag && { tag, text: texts[tag] };
}
