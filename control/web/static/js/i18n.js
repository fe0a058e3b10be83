// The language of the page, changed in place without a reload.

import { direction, first, keep, kept, known, LETTERS_FROM_THE_RIGHT, textsOf } from "./languages.js";

// As people read clocks there. Arabic with the digits of phone numbers and of the messages that people have got.
const LOCALES = { sv: "sv-SE", en: "en-GB", fi: "fi-FI", ar: "ar-u-ca-gregory-nu-latn" };
const ISOLATE = "\u2068";
const END = "\u2069";

const nodes = new Set(); // WeakRefs of nodes with translated text or attributes
const bindings = new WeakMap(); // node -> Map(attribute or "" -> [key, params])
const listeners = new Set();

let current = first;
let wanted = null;
let texts = null; // of `current`; null until they have come
let plurals = null;
let own = kept() !== undefined; // chosen by the person
let chosen = own; // by them or by the portal

/** Resolves once there are texts: pages begin then. */
export const ready = set(first);

/** "sv", "en", "fi" or "ar". */
export function language() {
  return current;
}

/** The visit's language, where the person hasn't chosen another. Resolves when the page speaks it. */
export async function suggest(tag) {
  if (!chosen && known(tag)) await set(known(tag));
}

/** The portal's language, where the person hasn't chosen another; the visit's doesn't count then. */
export async function prefer(tag) {
  if (own || !known(tag)) return;
  chosen = true;
  await set(known(tag));
}

/** The person's own choice; kept in this browser. */
export async function choose(tag) {
  chosen = own = true;
  keep(tag);
  await set(tag);
}

/** Calls back when the language has changed; answers what stops that. */
export function onLanguage(callback) {
  listeners.add(callback);
  return () => listeners.delete(callback);
}

async function set(tag) {
  wanted = tag;
  const found = await textsOf(tag);
  if (tag !== wanted || (tag === current && texts)) return; // another was chosen meanwhile, or it is so already
  [current, texts, plurals] = [tag, found, new Intl.PluralRules(tag)];
  document.documentElement.lang = tag;
  document.documentElement.dir = direction(tag);
  for (const reference of nodes) {
    const node = reference.deref();
    if (node) render(node);
    else nodes.delete(reference);
  }
  for (const callback of listeners) callback();
}

/**
 * The text for `key`, `{name}` replaced from `params`; a missing key shows itself. A text that counts something is one for
 * each of the language's plural categories, and `by` names the parameter.
 */
export function t(key, params = {}) {
  if (!texts) return "";
  const found = texts[key] ?? key;
  const text = typeof found === "string" ? found : found[plurals.select(Number(params[found.by]))] ?? found.other;
  return text.replace(/\{(\w+)\}/gu, (whole, name) => (Object.hasOwn(params, name) ? isolated(params[name]) : whole));
}

// A name from the other direction, or a time in a sentence from the right, must not turn the words around it about.
function isolated(value) {
  const text = String(value);
  const turns = text !== "" && (direction(current) === "rtl" || LETTERS_FROM_THE_RIGHT.test(text));
  return turns ? ISOLATE + text + END : text;
}

/** Puts translated text into a node, and again whenever the language changes; `params` may be a function that answers them. */
export function bind(node, key, params) {
  bindAttribute(node, "", key, params);
}

/** The same for an attribute. */
export function bindAttribute(node, attribute, key, params = {}) {
  let bound = bindings.get(node);
  if (!bound) {
    bindings.set(node, (bound = new Map()));
    nodes.add(new WeakRef(node));
  }
  bound.set(attribute, [key, params]);
  render(node);
}

function render(node) {
  for (const [attribute, [key, params]] of bindings.get(node)) {
    const text = t(key, typeof params === "function" ? params() : params);
    if (attribute === "") {
      if (node.textContent !== text) node.textContent = text;
    } else if (node.getAttribute(attribute) !== text) node.setAttribute(attribute, text);
  }
}

/** A time of day such as 14.05, in the visit's time zone where it is known. */
export function clock(time, timeZone) {
  return format(time, { hour: "2-digit", minute: "2-digit" }, timeZone);
}

/** A day and time such as "torsdag 3 april 14:05"; with the zone, where this device is in another. */
export function dayAndClock(time, timeZone) {
  const options = { weekday: "long", day: "numeric", month: "long", hour: "2-digit", minute: "2-digit" };
  const there = format(time, options, timeZone);
  return there === format(time, options) ? there : format(time, { ...options, timeZoneName: "short" }, timeZone);
}

function format(time, options, timeZone) {
  const shown = { ...options, hourCycle: "h23" };
  try {
    return new Intl.DateTimeFormat(LOCALES[current], { ...shown, timeZone }).format(new Date(time));
  } catch {
    return new Intl.DateTimeFormat(LOCALES[current], shown).format(new Date(time)); // a zone that this browser lacks
  }
}

/** How long since `time`, in whole minutes, in words. */
export function waited(time, now = Date.now()) {
  const minutes = Math.max(0, Math.floor((now - Date.parse(time)) / 60000));
  if (!Number.isFinite(minutes) || minutes < 1) return t("time.now");
  if (minutes < 60) return t("time.minutes", { minutes });
  return t("time.hours", { hours: Math.floor(minutes / 60), minutes: minutes % 60 });
}
