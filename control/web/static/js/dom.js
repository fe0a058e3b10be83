// Making elements. Text always goes in as text nodes: nothing a participant wrote is ever parsed as markup.

import { bind, bindAttribute } from "./i18n.js";
import { LETTERS_FROM_THE_RIGHT } from "./languages.js";

const NUMBER = /(\+?\d[\d\u0020\u00a0().:/\u2013-]*\d)/u;

/**
 * An element. Options: `class`, `on: {event: handler}`, `t: key | [key, params]` (translated text),
 * `label`/`title`/`placeholder: key | [key, params]` (translated attributes), `testid`, anything else an attribute
 * (true is an empty attribute; false, null and undefined are left out).
 */
export function el(tag, options = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "class") node.className = value;
    else if (name === "on") for (const [type, handler] of Object.entries(value)) node.addEventListener(type, handler);
    else if (name === "t") bind(node, ...[value].flat());
    else if (name === "label") bindAttribute(node, "aria-label", ...[value].flat());
    else if (name === "title") bindAttribute(node, "title", ...[value].flat());
    else if (name === "placeholder") bindAttribute(node, "placeholder", ...[value].flat());
    else if (name === "testid") node.dataset.testid = value;
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** Shows or hides by the `hidden` attribute, touching the DOM only when it changes. */
export function show(node, visible) {
  if (node.hidden === visible) node.hidden = !visible;
}

/** Sets text only when it differs, so that a live region speaks once. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** What somebody wrote, and it differs: a phone number in it must not be turned about by letters from the right. */
export function setWords(node, text) {
  if (node.textContent === text) return;
  const parts = LETTERS_FROM_THE_RIGHT.test(text) ? text.split(NUMBER) : [text];
  node.replaceChildren(...parts.map((part, index) => (index % 2 === 1 ? el("bdi", { dir: "ltr" }, part) : part)));
}

/** Two letters for somebody without a picture. */
export function initials(name) {
  const words = name.trim().split(/\s+/u).filter(Boolean);
  const letters = words.length > 1 ? [words[0], words[words.length - 1]] : words;
  // A non-joiner between them: Arabic letters would be drawn as one word.
  const joint = /\p{Script=Arabic}/u.test(name) ? "\u200c" : "";
  return letters.map((word) => [...word][0].toLocaleUpperCase()).join(joint) || "?";
}

/**
 * Makes `parent`'s children be one element per item, in order, keeping those whose key is known: focus and half-typed
 * answers survive a new list.
 * @param make (item) => element, @param update (element, item) => void
 */
export function keyed(parent, items, keyOf, make, update) {
  const known = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let place = parent.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    let child = known.get(key);
    if (child) known.delete(key);
    else {
      child = make(item);
      child.dataset.key = key;
    }
    update(child, item);
    if (child === place) place = place.nextElementSibling;
    else parent.insertBefore(child, place);
  }
  for (const child of known.values()) child.remove();
}
