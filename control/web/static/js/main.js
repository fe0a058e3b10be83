// The page begins here: the link becomes a session, and the session a visit.

import { Check } from "./check.js";
import { Devices } from "./devices.js";
import { el } from "./dom.js";
import { expose } from "./hook.js";
import { bind, dayAndClock, onLanguage, prefer, ready, suggest, t } from "./i18n.js";
import { outcome, Waiting } from "./lobby.js";
import { chime } from "./meter.js";
import { patientRoom } from "./patient.js";
import { Portal } from "./portal.js";
import { Doorway, readAddress, Refusal } from "./session.js";
import { button, card, Shell } from "./shell.js";
import { Slots } from "./slots.js";
import { staffRoom } from "./staff.js";
import { Visit } from "./visit.js";
import { keepAwake } from "./wake.js";

const AGAIN = 2000;
const SPEAKS_WITHIN = 3000; // nobody is kept from going in because a language is slow to come
// Refusals of what a person did by hand are told; the rest mends itself.
const TOLD = new Set(["identify", "admit", "hold", "deny", "remove", "mute", "identity", "lock", "unlock", "end", "sharing", "help"]);
const ROOM = ["identifying", "admitted"];
const ENDS = ["left", "denied", "removed", "ended", "elsewhere", "replaced", "refused"];
const STAYS = [...ROOM, "connecting", "waiting", "held"];

const page = document.getElementById("page");
const notices = document.getElementById("notices");
const shell = new Shell();
const devices = new Devices();

let portal = new Portal(null); // where the page is in a frame
let screen = "opening";
let view = null; // what is on the page and wants to be closed
let visit = null;
let slots = new Slots(document.getElementById("sounds"));
let room = null; // the visit's own screen, kept while one is on hold

expose(() => ({ screen, visit, slots, stage: room?.stage ?? null }));
onLanguage(title);

function title() {
  const unit = visit?.room?.care_unit?.name;
  const waiting = visit?.queue.length ? `(${visit.queue.length}) ` : "";
  const kind = t(visit && !visit.video ? `page.title-${visit.form}` : "page.title");
  const text = waiting + (unit ? `${kind} – ${unit}` : kind);
  if (document.title !== text) document.title = text;
}

/** Puts a screen on the page; in the quiet shell, or (a Room) all over it. */
function put(next, element, inShell = true) {
  if (view && view !== next) view.close?.();
  view = next;
  document.body.classList.toggle("dark", !inShell);
  if (inShell) {
    notices.replaceChildren(); // they were about people who are no longer on this page
    shell.put(element);
    if (!shell.element.isConnected) page.replaceChildren(shell.element);
  } else if (!element.isConnected) {
    page.replaceChildren(element);
    element.querySelector("main").focus({ preventScroll: true });
  }
}

function say(options) {
  put(null, card(options));
}

async function start() {
  await ready;
  title();
  say({ symbol: "clock", title: "open.title", lines: ["open.text"], testid: "opening" });
  if (!isSecureContext) return problem("insecure");
  const address = await readAddress();
  portal = new Portal(address.portal);
  portal.say("ready");
  portal.listen({ leave: () => visit && !ENDS.includes(visit.state) && visit.leave(), lang: ({ lang }) => void prefer(lang) });
  void prefer(address.lang);
  const doorway = new Doorway(address);
  if (!doorway.possible) return refused(doorway, new Refusal(404, { type: "/no-link" }));
  await open(doorway);
}

async function open(doorway) {
  let session;
  try {
    session = await doorway.open();
  } catch (refusal) {
    return refused(doorway, refusal);
  }
  const speaks = suggest(session.about?.language);
  if (!doorway.joined) await Promise.race([speaks, new Promise((resolve) => setTimeout(resolve, SPEAKS_WITHIN))]);
  arrive(doorway, session);
}

function refused(doorway, refusal) {
  const again = () => void open(doorway);
  const { name, status, problem: document } = refusal;
  portal.say("error", { code: name });
  if (status === 0 || status >= 500 || status === 429) {
    problem("unreachable");
    setTimeout(again, Math.max(AGAIN, 1000 * Number(document.retry_after ?? 0)));
    return;
  }
  if (name === "not-open-yet") {
    const opens = document.opens_at ?? document.extra?.opens_at;
    problem("not-open", () => ({ time: opens ? dayAndClock(opens, document.time_zone) : "" }), again);
    const wait = opens ? Date.parse(opens) - Date.now() : 0;
    // Looks again when it opens, with some seconds' spread; a far day needs no timer at all.
    if (wait < 12 * 3600 * 1000) setTimeout(again, Math.max(3000, wait + Math.random() * 3000));
    return;
  }
  if (status === 410) return problem(name === "session-replaced" ? "replaced" : "over");
  if (name === "room-locked") return problem("locked", {}, again);
  if (name === "no-link" && !portal.around) return problem("no-link");
  if (name === "function-off") return problem("by-portal");
  // In a portal there is no link to open again: it vouches anew, for who loads its page again.
  if (portal.around) return problem("token");
  problem("link", {}, again);
}

function problem(name, params = {}, again = null) {
  screen = "problem";
  say({
    symbol: name === "not-open" || name === "unreachable" ? "clock" : "info",
    tone: name === "not-open" || name === "unreachable" ? "calm" : "warn",
    title: `problem.${name}`,
    lines: [[`problem.${name}-1`, params], `problem.${name}-2`],
    actions: again ? [button("again", { kind: "primary", testid: "again", click: again })] : [],
    testid: `problem-${name}`,
  });
}

function arrive(doorway, session) {
  const about = session.about ?? null; // {care_unit, title, language, display_name}, where the server tells it
  shell.about(about);
  slots.attach(null);
  slots = new Slots(document.getElementById("sounds"));
  room = null;
  visit = new Visit({ doorway, session, devices, slots });
  visit.room = about;
  title();
  visit.addEventListener("state", ({ detail }) => {
    keepAwake(STAYS.includes(visit.state));
    if (detail?.former) tell();
    // They may have looked away while they waited.
    if (visit.state === "admitted" && ["waiting", "held"].includes(detail?.former)) void chime().catch(() => undefined);
    showVisit(doorway);
  });
  visit.addEventListener("people", title);
  visit.addEventListener("welcome", () => {
    shell.about(visit.room);
    title();
  });
  visit.addEventListener("notice", ({ detail }) => notice(detail.key, detail.params));
  visit.addEventListener("refusal", ({ detail }) => {
    if (visit.chat.refused(detail.re)) return notice("refusal.chat");
    if (!TOLD.has(detail.re)) return;
    const key = `refusal.${detail.code}`;
    if (detail.code !== "identity-not-met") notice(t(key) === key ? "refusal.other" : key);
  });
  const join = () => {
    visit.muted = { microphone: !devices.wanted.microphone, camera: !devices.wanted.camera };
    visit.join();
  };
  if (!visit.video) devices.never();
  if (doorway.joined && !visit.video) return visit.join();
  if (doorway.joined) {
    const { muted } = doorway;
    // The camera stays dark, the microphone is taken but not sent, as before.
    devices.wanted.camera = !muted.camera;
    visit.muted = muted;
    void devices.start();
    return visit.join();
  }
  screen = "check";
  const check = new Check({ room: about, form: visit.form, name: about?.display_name ?? "" }, devices, join);
  put(check, check.element);
}

function tell() {
  const { state, detail } = visit;
  if (state === "refused") portal.say("error", { code: detail.refusal?.name ?? "token-not-accepted" });
  else if (state !== "connecting") portal.say(state);
}

function showVisit(doorway) {
  screen = "visit";
  const { state } = visit;
  if (ROOM.includes(state)) {
    // After its offer has gone out: to make the room takes a slow phone a tenth of a second.
    setTimeout(showRoom, 0, visit);
  } else if (["connecting", "waiting", "held"].includes(state)) {
    if (view instanceof Waiting) return;
    void devices.start();
    const waiting = new Waiting(visit, devices);
    put(waiting, waiting.element);
  } else {
    put(null, outcome(visit, () => void open(doorway)));
  }
}

function showRoom(whose) {
  if (visit !== whose || !ROOM.includes(visit.state)) return;
  const make = visit.host ? staffRoom : patientRoom;
  room ??= make({ visit, slots, devices });
  if (view !== room) put(room, room.element, false);
  room.shown();
}

/** Something to tell once, for some seconds. */
function notice(key, params = {}) {
  const text = el("p", { class: "notice", testid: "notice" });
  bind(text, key, params);
  notices.append(text);
  if (notices.childElementCount > 3) notices.firstElementChild.remove();
  setTimeout(() => text.remove(), 7000);
}

// Another link opened in this very tab changes only the fragment: browsers don't load the page for that.
addEventListener("hashchange", () => {
  if (location.hash.length > 1) location.reload();
});

void start();
