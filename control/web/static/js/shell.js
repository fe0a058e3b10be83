// The quiet page around everything that isn't the visit itself: care unit above, one card, the language.

import { el, setText } from "./dom.js";
import { choose, language, onLanguage } from "./i18n.js";
import { icon } from "./icons.js";
import { direction, LANGUAGES } from "./languages.js";

/** The mark of this installation; a region puts its own in static/img/mark.svg. */
export function mark() {
  return el("img", { class: "mark", src: "/static/img/mark.svg", alt: "", width: "32", height: "32" });
}

/** The languages, each by its own name in its own letters. */
export function languageChoice() {
  const select = el(
    "select",
    { testid: "language", label: "language.choose", on: { change: () => void choose(select.value) } },
    Object.entries(LANGUAGES).map(([tag, name]) => el("option", { value: tag, lang: tag, dir: direction(tag) }, name)),
  );
  const update = () => (select.value = language());
  onLanguage(update);
  update();
  return el("span", { class: "language" }, icon("globe"), select);
}

export class Shell {
  element;
  main;
  #unit;
  #title;

  constructor() {
    this.#unit = el("span", { class: "unit", dir: "auto", testid: "care-unit" });
    this.#title = el("span", { class: "unit-title", dir: "auto" });
    this.main = el("main", { class: "shell-main", id: "main", tabindex: "-1" });
    const header = el(
      "header",
      { class: "shell-header" },
      mark(),
      el("span", { class: "unit-lines" }, this.#unit, this.#title),
      languageChoice(),
    );
    this.element = el("div", { class: "shell" }, header, this.main);
  }

  /** @param room `welcome.room` or what the session told; may be null */
  about(room) {
    setText(this.#unit, room?.care_unit?.name ?? "");
    setText(this.#title, room?.title ?? "");
  }

  /** Puts one thing on the page; the first heading gets the focus, so that a screen reader reads on from there. */
  put(...children) {
    this.main.replaceChildren(...children);
    const heading = this.main.querySelector("h1");
    if (!heading) return;
    heading.tabIndex = -1;
    heading.focus({ preventScroll: true });
  }
}

/**
 * A card that says one thing: {symbol, tone, title, lines, actions}. Texts are keys or [key, params].
 * `tone`: "calm" (default), "good", "warn".
 */
export function card({ symbol, tone = "calm", title, lines = [], actions = [], testid, live = true }) {
  return el(
    "section",
    { class: `card say ${tone}`, testid, ...(live ? { "aria-live": "polite" } : {}) },
    symbol && el("span", { class: "symbol" }, icon(symbol)),
    el("h1", { t: title }),
    lines.map((line) => (line instanceof Node ? line : el("p", { t: line }))),
    actions.length > 0 && el("div", { class: "actions" }, actions),
  );
}

/** A button with text; `kind`: "primary", "secondary", "danger", "quiet". */
export function button(text, { kind = "secondary", symbol, testid, click, ...rest }) {
  return el(
    "button",
    { class: kind, type: "button", testid, on: click ? { click } : {}, ...rest },
    symbol && icon(symbol),
    el("span", { t: text }),
  );
}
