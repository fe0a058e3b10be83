// Staff's console: who waits in all rooms of the care unit now, today's visits, and the way into each.

import { el, keyed, setText, show } from "./dom.js";
import { bind, bindAttribute, clock, onLanguage, ready, t, waited } from "./i18n.js";
import { chime, mayChime } from "./meter.js";
import { connectionDot, identityChip } from "./people.js";
import { call } from "./session.js";
import { button, card, Shell } from "./shell.js";

const WAITING_EVERY = 2500;
const ROOMS_EVERY = 6; // times that
const PAGES = 5; // of 200 visits a day each
const tenant = decodeURIComponent(location.pathname.split("/")[2] ?? "");
const STORE = `vardrum:staff:${tenant}`;
const MUTED = "vardrum:staff-muted";

const shell = new Shell();
document.getElementById("page").replaceChildren(shell.element);
let board = null;

onLanguage(() => (board ? board.update() : (document.title = t("console.title"))));

async function start() {
  await ready;
  document.title = t("console.title");
  const told = new URLSearchParams(location.hash.slice(1));
  history.replaceState(null, "", location.pathname);
  if (told.has("code")) return redeem(told.get("code"));
  if (told.has("error")) return logIn(told.get("error"));
  const kept = read();
  return kept ? open(kept) : logIn();
}

async function redeem(code, unit) {
  try {
    const body = unit === undefined ? { code } : { code, care_unit: unit };
    const session = await call("POST", "/v1/staff/codes", { body, cookies: true });
    keep(session);
    open(session);
  } catch (refusal) {
    if (refusal.name === "care-unit-needed") return choose(code, refusal.problem.care_units);
    // Not with what this tab still has: at a shared computer that may be somebody else's.
    await logIn(refusal.status === 0 || refusal.status >= 500 ? "unavailable" : "expired");
  }
}

function choose(code, units) {
  const actions = units.map((unit) => button(["plain", { text: unit }], { click: () => void redeem(code, unit) }));
  shell.put(card({ symbol: "people", title: "console.unit", lines: ["console.unit-1"], actions, testid: "choose-unit" }));
}

async function logIn(error = null) {
  forget();
  // The next one at this computer must not read whose it was.
  shell.about(null);
  document.title = t("console.title");
  let logins = [];
  try {
    logins = (await call("GET", `/v1/staff/logins?tenant=${encodeURIComponent(tenant)}`)).items;
  } catch {
    error ??= "unavailable";
  }
  const actions = logins.map(({ provider, label }) =>
    button(["eid.button", { label }], {
      kind: "primary", symbol: "id", testid: `log-in-${provider}`,
      click: async () => {
        try {
          const path = `/v1/staff/oidc/${encodeURIComponent(provider)}/start`;
          location.assign((await call("POST", path, { body: { tenant }, cookies: true })).location);
        } catch {
          await logIn("unavailable");
        }
      },
    }));
  shell.put(card({
    symbol: "id",
    tone: error ? "warn" : "calm",
    title: "console.log-in",
    lines: [
      ...(error ? [`console.failed.${error}`] : []),
      logins.length > 0 ? "console.log-in-1" : "console.from-portal",
    ],
    actions,
    testid: "staff-log-in",
  }));
}

function open(session) {
  shell.about({ care_unit: { name: session.care_unit }, title: session.user.name });
  board = new Board(session, (error) => {
    board?.close();
    board = null;
    void logIn(error);
  });
  shell.put(board.element);
}

/** The lists, asked for again and again. */
class Board {
  element;
  #session;
  #over;
  #waiting = [];
  #rooms = [];
  #known = null; // sessions that have been sounded
  #stale = false;
  #silent = false; // the browser wants a tap before it sounds
  #list;
  #today;
  #parts;
  #closed = false;
  #ticker = ticker(WAITING_EVERY);
  #ticks = 0;
  #asking = false;

  constructor(session, over) {
    this.#session = session;
    this.#over = over;
    this.#list = el("ul", { class: "cards", testid: "console-waiting" });
    this.#today = el("ul", { class: "rows", testid: "console-rooms" });
    const sound = button("console.sound-on", {
      symbol: "sound", testid: "mute-console", click: () => this.#mute(!this.#silent && !muted()),
    });
    const out = button("console.log-out", { kind: "quiet", testid: "log-out", click: () => void this.#logOut() });
    const heading = el("h1", { tabindex: "-1" });
    const stale = el("p", { class: "console-stale", role: "alert", t: "console.stale", testid: "console-stale" });
    const nobody = el("p", { t: "console.nobody" });
    const none = el("p", { t: "console.none" });
    const spoken = el("p", { class: "unseen", "aria-live": "polite" });
    this.#parts = { sound, heading, stale, nobody, none, spoken };
    this.element = el(
      "div",
      { class: "console", testid: "console" },
      el("div", { class: "console-head" }, heading, sound, out),
      stale,
      spoken,
      nobody,
      this.#list,
      el("h2", { t: "console.today" }),
      none,
      this.#today,
    );
    this.update();
    void this.#listen();
    this.#ticker.onmessage = () => void this.#tick();
    void this.#tick();
  }

  close() {
    this.#closed = true;
    this.#ticker.terminate();
  }

  update() {
    const { sound, heading, stale, nobody, none } = this.#parts;
    const count = this.#waiting.length;
    document.title = `${count > 0 ? `(${count}) ` : ""}${t("console.title")} – ${this.#session.care_unit}`;
    bind(heading, "console.waiting", { count });
    bind(sound.querySelector("span"), muted() ? "console.sound-off" : this.#silent ? "banner.unblock" : "console.sound-on");
    show(stale, this.#stale);
    show(nobody, count === 0);
    show(none, this.#rooms.length === 0);
    keyed(this.#list, this.#waiting, (one) => one.session, (one) => this.#card(one), fillCard);
    keyed(this.#today, this.#rooms, (one) => one.id, (one) => this.#row(one), (row, one) => fillRow(row, one, this.#waiting));
  }

  async #tick() {
    if (this.#asking) return; // a slow network is never asked twice at once
    this.#asking = true;
    await this.#askWaiting();
    if (this.#ticks % ROOMS_EVERY === 0) await this.#askRooms();
    this.#ticks += 1;
    this.#asking = false;
  }

  async #ask(path) {
    try {
      const answer = await call("GET", path, { token: this.#session.token });
      this.#stale = false;
      return answer;
    } catch ({ status }) {
      if (this.#closed) return null;
      if (status === 401) this.#over("expired");
      else this.#stale = true; // a list that looks quiet and is old would leave somebody waiting
      if (!this.#closed) this.update();
      return null;
    }
  }

  async #askWaiting() {
    const answer = await this.#ask("/v1/waiting");
    if (!answer || this.#closed) return;
    this.#waiting = answer.items;
    const come = this.#waiting.filter((one) => !this.#known?.has(one.session));
    this.#known = new Set(this.#waiting.map((one) => one.session));
    if (come.length > 0) {
      if (!muted()) void this.#listen().then(() => chime()).catch(() => undefined);
      setText(this.#parts.spoken, t("people.arrived", { name: come[come.length - 1].display_name }));
    }
    this.update();
  }

  async #askRooms() {
    const day = new Date();
    day.setHours(0, 0, 0, 0);
    const end = new Date(day);
    end.setDate(day.getDate() + 1);
    const query = `from=${day.toISOString()}&to=${end.toISOString()}&limit=200`;
    const found = [];
    let next = null;
    for (let page = 0; page < PAGES; page += 1) {
      const answer = await this.#ask(`/v1/rooms?${query}${next ? `&cursor=${next}` : ""}`);
      if (!answer) return;
      found.push(...answer.items);
      next = answer.next;
      if (!next) break;
    }
    this.#rooms = found
      .filter((one) => one.state !== "cancelled")
      .sort((a, b) => Date.parse(a.starts_at) - Date.parse(b.starts_at));
    if (!this.#closed) this.update();
  }

  #card(first) {
    const parts = {
      connection: el("span", { class: "dot", role: "img" }),
      name: el("strong", { class: "who" }),
      about: el("span", { class: "about" }),
      since: el("span", { class: "since" }),
      identity: el("span", { class: "chip" }),
      away: el("p", { class: "second", t: "console.away" }),
    };
    parts.go = button("console.open", { kind: "primary", testid: "open-visit", click: () => void this.#go(first.room) });
    const made = el(
      "li",
      { class: "person-card", testid: "waiting-entry", "data-participant": first.participant, "data-room": first.room },
      el("div", { class: "person-head" }, parts.connection, el("div", {}, parts.name, parts.about), parts.since),
      parts.identity,
      parts.away,
      el("div", { class: "person-actions" }, parts.go),
    );
    made.parts = parts;
    return made;
  }

  #row(first) {
    const parts = {
      time: el("strong", { class: "console-time", dir: "ltr" }),
      title: el("span", { class: "console-what" }),
      state: el("span", { class: "chip" }),
      people: el("span", { class: "about" }),
      go: button("console.open", { testid: "open-visit", click: () => void this.#go(first.id) }),
    };
    const options = { class: "person-card console-row", testid: "room-entry", "data-room": first.id };
    const made = el("li", options, Object.values(parts));
    made.parts = parts;
    return made;
  }

  async #go(room) {
    // Opened at the press itself: browsers open no windows for what comes later. It is told where when that is known.
    const visit = window.open("about:blank", "_blank");
    try {
      const made = await call("POST", `/v1/rooms/${room}/host`, { token: this.#session.token });
      const address = `/j/${encodeURIComponent(tenant)}#embed_token=${made.embed_token}`;
      if (visit) visit.location.replace(address);
      else location.assign(address);
    } catch ({ status }) {
      visit?.close();
      if (status === 401) return this.#over("expired");
      this.#stale = status === 0 || status >= 500;
      void this.#askRooms();
    }
  }

  // A console that only looks as if it sounded would leave somebody waiting.
  async #listen() {
    this.#silent = !(await mayChime().catch(() => false));
    if (!this.#closed) this.update();
  }

  #mute(on) {
    try {
      if (on) localStorage.setItem(MUTED, "1");
      else localStorage.removeItem(MUTED);
    } catch {
      mutedHere = on;
    }
    this.update();
    if (!on) void this.#listen().then(() => chime()).catch(() => undefined);
  }

  async #logOut() {
    await call("DELETE", "/v1/staff/sessions", { token: this.#session.token }).catch(() => undefined);
    this.#over(null);
  }
}

function ticker(every) {
  const path = "/static/js/ticker.js";
  const policy = globalThis.trustedTypes?.createPolicy("vardrum-ticker", { createScriptURL: () => path });
  const worker = new Worker(policy ? policy.createScriptURL(path) : path);
  worker.postMessage({ every });
  return worker;
}

let mutedHere = false; // where storage is forbidden

function muted() {
  try {
    return localStorage.getItem(MUTED) === "1";
  } catch {
    return mutedHere;
  }
}

function fillCard(made, one) {
  const { connection, name, about, since, identity, away, go } = made.parts;
  made.dataset.reachable = String(one.reachable);
  made.dataset.state = one.state;
  connectionDot(connection, one.connection);
  setText(name, one.display_name);
  setText(about, [t(`role.${one.role}`), one.title, one.training && t("console.training")].filter(Boolean).join(" · "));
  bind(since, "people.since", () => ({ time: clock(one.since, one.time_zone), waited: waited(one.since) }));
  identityChip(identity, one.identity, one.expected, one.identified_as);
  show(away, !one.reachable);
  bindAttribute(go, "aria-label", "console.open-name", { name: one.display_name });
}

function fillRow(made, room, waiting) {
  const { time, title, state, people, go } = made.parts;
  const count = waiting.filter((one) => one.room === room.id).length;
  made.dataset.state = room.state;
  const from = clock(room.starts_at, room.time_zone);
  setText(time, `${from}–${clock(room.ends_at, room.time_zone)}`);
  bindAttribute(go, "aria-label", "console.open-name", { name: [from, room.title].filter(Boolean).join(" ") });
  setText(title, [room.title || t("page.title"), room.training && t("console.training")].filter(Boolean).join(" · "));
  bind(state, `console.state.${room.state}`);
  state.classList.toggle("known", room.state === "in_progress");
  // Who came and left again without having been let in mustn't be forgotten.
  const left = room.participants.filter((one) => one.state === "left" && !one.host).map((one) => one.display_name);
  const gone = left.length > 0 && room.state === "open" && t("console.left", { names: left.join(", ") });
  setText(people, [count > 0 && t("console.count", { count }), gone].filter(Boolean).join(" · "));
  show(go, ["open", "in_progress"].includes(room.state));
}

function read() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(STORE));
    return kept && Date.parse(kept.expires_at) > Date.now() ? kept : null;
  } catch {
    return null;
  }
}

function keep(session) {
  try {
    sessionStorage.setItem(STORE, JSON.stringify(session));
  } catch {
    // A reload then asks to log in again.
  }
}

function forget() {
  try {
    sessionStorage.removeItem(STORE);
  } catch {
    // See above.
  }
}

void start();
