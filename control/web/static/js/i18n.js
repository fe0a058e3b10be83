// The language of the page: Swedish or English, changed in place without a reload.

import en from "./strings/en.js";
import sv from "./strings/sv.js";

const LANGUAGES = { sv, en };
const CHOICE = "vardrum:language";
const texts = new Set(); // WeakRefs of nodes with translated text or attributes
const bindings = new WeakMap(); // node -> Map(attribute or "" -> [key, params])
const listeners = new Set();

let current = known(navigator.language) ?? "sv";
let chosen = false;
let own = false; // chosen by the person

try {
  const kept = known(localStorage.getItem(CHOICE));
  if (kept) [current, chosen, own] = [kept, true, true];
} catch {
  // Storage may be forbidden; then the choice lasts as long as the page.
}
document.documentElement.lang = current;

function known(tag) {
  const language = String(tag ?? "").slice(0, 2).toLowerCase();
  return Object.hasOwn(LANGUAGES, language) ? language : undefined;
}

/** "sv" or "en". */
export function language() {
  return current;
}

/** The room's language, where the person hasn't chosen another. */
export function suggest(tag) {
  if (!chosen && known(tag)) set(known(tag));
}

/** The portal's language, where the person hasn't chosen another; the room's doesn't count then. */
export function prefer(tag) {
  if (own || !known(tag)) return;
  chosen = true;
  set(known(tag));
}

/** The person's own choice; kept in this browser. */
export function choose(tag) {
  chosen = own = true;
  set(known(tag) ?? current);
  try {
    localStorage.setItem(CHOICE, current);
  } catch {
    // See above.
  }
}

/** Calls back when the language has changed. */
export function onLanguage(callback) {
  listeners.add(callback);
}

function set(tag) {
  if (tag === current) return;
  current = tag;
  document.documentElement.lang = tag;
  for (const reference of texts) {
    const node = reference.deref();
    if (node) render(node);
    else texts.delete(reference);
  }
  for (const callback of listeners) callback();
}

/** The text for `key`, `{name}` replaced from `params`; a missing key shows itself. */
export function t(key, params = {}) {
  const text = LANGUAGES[current][key] ?? sv[key] ?? key;
  return text.replace(/\{(\w+)\}/gu, (whole, name) => (Object.hasOwn(params, name) ? String(params[name]) : whole));
}

/** Puts translated text into a node, and again whenever the language changes. */
export function bind(node, key, params) {
  bindAttribute(node, "", key, params);
}

/** The same for an attribute. */
export function bindAttribute(node, attribute, key, params = {}) {
  let known = bindings.get(node);
  if (!known) {
    bindings.set(node, (known = new Map()));
    texts.add(new WeakRef(node));
  }
  known.set(attribute, [key, params]);
  render(node);
}

function render(node) {
  for (const [attribute, [key, params]] of bindings.get(node)) {
    const text = t(key, params);
    if (attribute === "") {
      if (node.textContent !== text) node.textContent = text;
    } else if (node.getAttribute(attribute) !== text) node.setAttribute(attribute, text);
  }
}

/** A time of day such as 14.05, in the room's time zone where it is known. */
export function clock(time, timeZone) {
  return format(time, { hour: "2-digit", minute: "2-digit" }, timeZone);
}

/** A day and time such as "torsdag 3 april 14:05". */
export function dayAndClock(time, timeZone) {
  return format(time, { weekday: "long", day: "numeric", month: "long", hour: "2-digit", minute: "2-digit" }, timeZone);
}

function format(time, options, timeZone) {
  const locale = current === "sv" ? "sv-SE" : "en-GB";
  try {
    return new Intl.DateTimeFormat(locale, { ...options, timeZone }).format(new Date(time));
  } catch {
    return new Intl.DateTimeFormat(locale, options).format(new Date(time));
  }
}

/** How long since `time`, in whole minutes, in words. */
export function waited(time, now = Date.now()) {
  const minutes = Math.max(0, Math.floor((now - Date.parse(time)) / 60000));
  if (!Number.isFinite(minutes) || minutes < 1) return t("time.now");
  if (minutes < 60) return t("time.minutes", { minutes });
  return t("time.hours", { hours: Math.floor(minutes / 60), minutes: minutes % 60 });
}
