// Which languages there are, which one a page begins in, and the texts of one: each is fetched when it is needed, for many
// come by a phone network. Pages name this module before their own, so that the texts come along with the code.

/** Tag to the language's own name: who can't read the page finds theirs. */
export const LANGUAGES = { sv: "Svenska", en: "English", fi: "Suomi", ar: "العربية" };
const FROM_THE_RIGHT = ["ar"];
export const LETTERS_FROM_THE_RIGHT = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]/u;
const CHOICE = "vardrum:language";
const AGAIN = 2000;

const fetched = new Map(); // tag -> promise of its texts

/** The tag of ours for a BCP 47 tag such as "ar-SE", or undefined. */
export function known(tag) {
  const language = String(tag ?? "").split("-")[0].toLowerCase();
  return Object.hasOwn(LANGUAGES, language) ? language : undefined;
}

/** "ltr" or "rtl". */
export function direction(tag) {
  return FROM_THE_RIGHT.includes(tag) ? "rtl" : "ltr";
}

/** The person's own choice as this browser keeps it, or undefined. */
export function kept() {
  try {
    return known(localStorage.getItem(CHOICE));
  } catch {
    return undefined; // storage may be forbidden; then the choice lasts as long as the page
  }
}

export function keep(tag) {
  try {
    localStorage.setItem(CHOICE, tag);
  } catch {
    // See above.
  }
}

/** What the page begins in: the person's choice, else the first of the browser's that we have, else Swedish. */
export const first = kept() ?? (navigator.languages ?? [navigator.language]).map(known).find(Boolean) ?? "sv";

/** A language's texts, key to text. On a network that is away it goes on trying. */
export function textsOf(tag) {
  if (!fetched.has(tag)) fetched.set(tag, fetchTexts(tag));
  return fetched.get(tag);
}

async function fetchTexts(tag) {
  for (let tries = 0; ; tries += 1) {
    try {
      // Some browsers remember of an address that it couldn't be fetched.
      return (await import(tries > 0 ? `./strings/${tag}.js?${tries}` : `./strings/${tag}.js`)).default;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, AGAIN));
    }
  }
}

void textsOf(first);
