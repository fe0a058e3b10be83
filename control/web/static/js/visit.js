// One person's visit: session, websocket, call and what the server said, in one place that the screens read.
// `state` is where the person is: "connecting" until the first answer, then what the server said last (waiting,
// identifying, held, admitted, denied, removed, ended), or how it went out: "left", "elsewhere" (this person is here in
// another tab), "replaced" (4002), "refused" (the link isn't accepted any more).

import { pictureOf } from "./call.js";
import { Calling } from "./calling.js";
import { Chat } from "./chat.js";
import { Cushion } from "./cushion.js";
import { describeDevice, deviceKnown } from "./device.js";
import { captureScreen } from "./devices.js";
import { Eid } from "./eid.js";
import { Quality } from "./quality.js";
import { Recovery } from "./recovery.js";
import { Report } from "./report.js";
import { Restart } from "./restart.js";
import { call } from "./session.js";
import { Socket } from "./socket.js";

const STATES = ["waiting", "identifying", "held", "admitted", "denied", "removed", "ended"];
const WITH_MEDIA = ["identifying", "admitted"];
// The server measures its load over seconds; asking more often only adds to it.
const RETRY_FULL = 5000;
const GONE = ["denied", "removed", "ended", "left", "elsewhere", "replaced", "refused"];

/**
 * Events: "state", "people" (participants, queue, speaking, hands), "quality", "network" (online, silent),
 * "notice" (detail: {key, params}: something to tell once), "welcome".
 */
export class Visit extends EventTarget {
  state = "connecting";
  detail = {}; // of the state: {since, staff_present}, {host}, {reason}
  me = null;
  room = null;
  participants = [];
  queue = [];
  speaking = [];
  locked = false;
  online = false;
  silent = false; // the network brings nothing just now
  full = false; // the server has no room for one more just now
  muted = { microphone: false, camera: false };
  mutedBy = null; // the host who turned one's microphone off
  sharing = null; // the screen's track
  quality = new Quality();
  hand = false;
  wasIn = false; // has been let in
  byPhone = false; // they are phoned instead: nothing is sent or heard here
  askLater = false; // they asked to be phoned while there was no network
  calls = new Map(); // to hosts: who needs to be phoned -> whether their number is known
  chat;
  eid; // logging in by a provider
  #doorway;
  #session;
  #devices;
  #slots;
  #socket;
  #recovery;
  #calling;
  #cushion = new Cushion();
  #report = new Report((figures) => this.state === "admitted" && this.#socket.send({ type: "stats", ...figures }));
  #restart = new Restart(() => this.#say("network"));
  #welcome = null;

  /** @param parts {doorway: Doorway, session, devices: Devices, slots: Slots} */
  constructor({ doorway, session, devices, slots }) {
    super();
    this.#doorway = doorway;
    this.#session = session;
    this.#devices = devices;
    this.#slots = slots;
    this.eid = new Eid(session.logins ?? [], () => this.token);
    this.chat = new Chat((message) => this.#socket.send(message));
    this.#socket = new Socket({
      url: () => this.#session.websocket_url,
      hello: () => deviceKnown.then(() => this.#hello()),
      renew: async () => void (this.#session = await this.#doorway.open()),
    });
    this.#socket.addEventListener("message", ({ detail }) => this.#heard(detail));
    this.#socket.addEventListener("up", () => this.#network(true));
    this.#socket.addEventListener("away", () => this.#restart.begin());
    this.#socket.addEventListener("down", () => this.#network(false));
    this.#socket.addEventListener("over", ({ detail }) => this.#over(detail));
    this.#calling = new Calling({
      send: (message) => this.#socket.send(message),
      began: (call) => this.#attach(call),
      ended: () => this.#attach(null),
      offering: () => this.#recovery.offered(),
      state: () => this.#say("network"),
    });
    this.#recovery = new Recovery({
      socket: this.#socket,
      call: () => this.call,
      mayOffer: () => WITH_MEDIA.includes(this.state),
      wordsOnly: () => !this.video && this.state === "admitted",
      restart: () => void this.#calling.offer(true),
      renew: () => this.#begin(),
      silent: (silent) => this.#silence(silent),
    });
    devices.addEventListener("change", () => this.#tracks());
  }

  get call() {
    return this.#calling.current;
  }

  /** Whether media will flow the moment one is let in. */
  get ready() {
    return this.#calling.ready;
  }

  /** [{id, restart, at, answered}], performance.now(). */
  get offers() {
    return this.#calling.offers;
  }

  /** Whether it is the server that is away, and not the network, and only for a moment. */
  get restarting() {
    return this.#restart.on;
  }

  get host() {
    return this.me?.host === true;
  }

  /** "video", "phone" or "chat", as booked. */
  get form() {
    return this.room?.form ?? "video";
  }

  /** Whether people are seen and heard here; else nothing is asked for, sent or awaited. */
  get video() {
    return this.form === "video";
  }

  /** Whether the care unit has it on: "chat", "screen", "feedback"; a server that says nothing has all. */
  can(what) {
    return this.room?.functions?.includes(what) ?? true;
  }

  /** Whether this person is to be asked what they thought: who was in, isn't staff, and hasn't said. */
  get asks() {
    return this.wasIn && !this.host && this.can("feedback") && !this.#doorway.rated;
  }

  /** What they thought: {technical?, visit?}, 1 to 5. Throws Refusal. */
  async rate(answers) {
    await call("POST", `/v1/rooms/${this.roomId}/feedback`, { body: answers, token: this.token });
    this.#doorway.rated = true;
  }

  get token() {
    return this.#session.token;
  }

  get roomId() {
    return this.#session.room?.id ?? this.#session.room;
  }

  /** Someone's name, oneself and people in the queue included. */
  nameOf(participant) {
    const known = [this.me, ...this.participants, ...this.queue.map((one) => ({ ...one, id: one.participant }))];
    return known.find((one) => one?.id === participant)?.display_name ?? "";
  }

  /** Everybody but oneself. */
  get others() {
    return this.participants.filter((one) => one.id !== this.me?.id);
  }

  join() {
    this.#doorway.joined = true;
    this.#doorway.muted = this.muted;
    this.#to("connecting");
    this.#socket.start();
    this.#recovery.start();
  }

  leave() {
    this.#socket.send({ type: "leave" });
    this.#out("left");
  }

  /** What a page says, where there is somebody to say it to. */
  say(message) {
    return this.#socket.send(message);
  }

  /** Asks the staff to phone; from within the visit, media rests meanwhile. Returns whether they have been told. */
  askPhone() {
    this.askLater = !this.#socket.send({ type: "help", kind: "phone" });
    this.#phone(WITH_MEDIA.includes(this.state));
    return !this.askLater;
  }

  /** One tap after the call: everything is as before it. */
  backToVideo() {
    this.askLater = false;
    this.#phone(false);
  }

  // The telephone takes the microphone for itself, and what plays here would be heard through it.
  #phone(on) {
    const former = this.byPhone;
    this.byPhone = on;
    this.#slots.hush(on);
    if (on) {
      for (const source of ["microphone", "camera"]) void this.#devices.turn(source, false);
      if (this.sharing) this.unshare();
    } else if (former) {
      for (const source of ["microphone", "camera"]) this.#devices.wanted[source] = !this.muted[source];
      if (WITH_MEDIA.includes(this.state)) void this.#devices.start();
    }
    this.#tracks();
    this.#say("phone");
  }

  /** Somebody needs no call any more: they were phoned, or a host has seen that they needn't be. */
  phoned(participant) {
    if (this.calls.delete(participant)) this.#say("people");
  }

  /** Microphone or camera on or off, by the person's own wish. */
  async turn(source, on) {
    this.muted[source] = !on;
    if (source === "microphone") this.mutedBy = null;
    this.#doorway.muted = this.muted;
    // The camera's light goes out when it is off; the microphone is kept, so that it is back without delay.
    if (source === "camera" || on) await this.#devices.turn(source, on);
    this.#tracks();
    this.#sayMuted(source);
    this.#say("people");
  }

  /** Shows the screen; resolves when it is shown or the person changed their mind. */
  async share() {
    const track = await captureScreen(this.call?.picture("screen"));
    if (!track) return;
    track.addEventListener("ended", () => this.sharing === track && this.unshare());
    this.sharing = track;
    this.#socket.send({ type: "sharing", on: true });
    this.#tracks();
    this.#say("people");
  }

  unshare() {
    if (!this.sharing) return;
    this.sharing.stop();
    this.sharing = null;
    this.#socket.send({ type: "sharing", on: false });
    this.#tracks();
    this.#say("people");
  }

  raiseHand(raised) {
    this.hand = raised;
    this.#socket.send({ type: "hand", raised });
    this.#say("people");
  }

  #hello() {
    const hello = { type: "hello", token: this.#session.token, device: describeDevice() };
    return this.chat.last === null ? hello : { ...hello, last_chat: this.chat.last };
  }

  #heard(message) {
    if (STATES.includes(message.type)) return this.#state(message);
    const handler = this.#handlers[message.type];
    if (handler) handler(message);
  }

  #handlers = {
    welcome: (message) => {
      this.#welcome = message;
      this.room = message.room;
      this.me = message.participant;
      this.quality.again();
      this.#restart.over();
      this.#calling.again();
      if (message.media === "new") this.#calling.drop();
      else this.#calling.apply(message.send);
      this.#devices.capture(pictureOf(message.send.camera));
      if (this.askLater) this.askLater = !this.#socket.send({ type: "help", kind: "phone" });
      this.#say("welcome");
    },
    answer: ({ id, sdp }) => void this.#answered(id, sdp),
    slots: ({ slots }) => {
      this.#slots.update(slots);
      const shared = slots.some((slot) => slot.source === "screen");
      if (this.sharing && shared) this.unshare(); // a host's screen has taken its place
    },
    participants: ({ participants }) => {
      this.#tellChanges(participants);
      this.participants = participants;
      this.quality.settle((participant) => this.nameOf(participant) !== "");
      this.#slots.cameraOff(participants.filter((one) => one.muted?.camera).map((one) => one.id));
      this.hand = participants.find((one) => one.id === this.me?.id)?.hand ?? this.hand;
      this.#say("people");
    },
    speaking: ({ speaking }) => {
      this.speaking = speaking;
      this.#say("people");
    },
    queue: ({ queue }) => {
      this.queue = queue;
      this.#say("people");
    },
    send: ({ type: _, ...change }) => {
      this.#calling.apply(change);
      if (this.#welcome) {
        for (const [source, values] of Object.entries(change)) {
          this.#welcome.send[source] = { ...this.#welcome.send[source], ...values };
        }
      }
      if (change.camera) this.#devices.capture(pictureOf(change.camera));
    },
    mute: ({ source, by }) => {
      if (source === "screen") return this.unshare();
      this.muted[source] = true;
      this.#doorway.muted = this.muted;
      if (source === "camera") void this.#devices.turn("camera", false);
      else this.mutedBy = by;
      this.#tracks();
      this.#sayMuted(source);
      this.#notice(source === "camera" ? "notice.muted-camera-by" : "notice.muted-by", { name: this.nameOf(by) });
      this.#say("people");
    },
    chat: (message) => this.chat.heard(message, this.me?.id),
    typing: ({ participant, text }) => participant !== this.me?.id && this.chat.types(participant, text),
    hand: ({ participant, raised }) => {
      if (raised && participant !== this.me?.id) this.#notice("notice.hand", { name: this.nameOf(participant) });
    },
    quality: (message) => {
      this.quality.heard(message);
      this.#say("quality");
    },
    fallback: ({ participant, phone_available }) => {
      this.calls.set(participant, phone_available);
      this.#say("people");
    },
    stopping: () => {
      if (WITH_MEDIA.includes(this.state)) this.#notice("notice.restart");
    },
    error: ({ code, detail, re }) => this.#refused(code, detail, re),
  };

  #state({ type, ...detail }) {
    this.detail = detail;
    if (this.byPhone && !WITH_MEDIA.includes(type)) this.#phone(false);
    if (type === "ended" || type === "removed" || type === "denied") {
      this.#calling.drop();
      this.#devices.stop();
    }
    // Whoever waits is ready for the moment in which they are let in: it takes a slow phone and a long way a second.
    if (type === "waiting") setTimeout(() => this.#ready());
    if (type === "admitted") this.wasIn = true;
    if (type === "ended" || type === "removed") this.#doorway.joined = false;
    if (!WITH_MEDIA.includes(type)) {
      this.participants = [];
      this.speaking = [];
    }
    this.#to(type);
    if (WITH_MEDIA.includes(type)) {
      this.#calling.relayBy(detail.ice_servers ?? []);
      void this.#devices.start(); // they were let go when one was denied
      for (const source of ["microphone", "camera"]) this.#sayMuted(source, true);
      if (this.sharing) this.#socket.send({ type: "sharing", on: true });
      if (this.hand) this.#socket.send({ type: "hand", raised: true });
      if (type === "admitted") this.chat.again();
      const { call } = this;
      const usable = call && !call.failed && (call.answered || call.pending);
      if (!usable) this.#begin();
    }
    this.#tracks();
  }

  #ready() {
    if (this.state !== "waiting" || !this.video) return;
    this.#calling.prepare(this.#welcome);
    void this.#calling.connect();
  }

  // A new connection, and its offer where it needs one.
  #begin() {
    if (this.#welcome && this.video && WITH_MEDIA.includes(this.state)) this.#calling.begin(this.#welcome);
    else this.#calling.drop();
  }

  // What goes with a connection (null: there is none any more).
  #attach(call) {
    this.#slots.attach(call);
    this.#cushion.attach(call);
    this.#report.attach(call);
    if (call) this.#tracks();
    else this.silent = false;
  }

  async #answered(id, sdp) {
    this.full = false;
    if (await this.#calling.answered(id, sdp)) this.#say("network");
  }

  #refused(code, detail, re) {
    if (this.#calling.declined(re)) return this.#ready();
    if (this.#calling.refused(re)) {
      this.full = code === "overloaded";
      if (this.full) this.#recovery.patience(RETRY_FULL * (0.75 + Math.random() / 2)); // not everyone at once
      this.#say("network");
      return;
    }
    if (code === "screen-taken") this.unshare();
    if (code === "unavailable" && re === "hello") this.#restart.begin(); // the next one will take us in
    this.dispatchEvent(new CustomEvent("refusal", { detail: { code, detail, re } }));
  }

  // Sends what should be sent now: nothing while one waits, is held, or has switched it off.
  #tracks() {
    const { call } = this;
    if (!call) return;
    const open = WITH_MEDIA.includes(this.state) && !this.byPhone;
    for (const source of ["microphone", "camera"]) {
      const track = open && !this.muted[source] ? this.#devices.tracks[source] : null;
      void call.setTrack(source, track);
    }
    void call.setTrack("screen", open ? this.sharing : null);
    for (const source of ["microphone", "camera"]) this.#sayMuted(source, true);
  }

  #told = {};

  // To the others, a microphone that doesn't exist is muted too.
  #sayMuted(source, onlyChange = false) {
    if (!WITH_MEDIA.includes(this.state) || !this.#socket.up) return;
    const muted = this.muted[source] || !this.#devices.tracks[source];
    if (onlyChange && (this.#told[source] ?? false) === muted) return;
    if (this.#socket.send({ type: "muted", source, muted })) this.#told[source] = muted;
  }

  #network(online) {
    this.online = online;
    if (online) this.#told = {}; // a server that restarted has forgotten
    this.#say("network");
  }

  #silence(silent) {
    if (silent === this.silent) return;
    this.silent = silent;
    this.#say("network");
  }

  #over({ code, refusal }) {
    if (GONE.includes(this.state)) return this.#out(this.state);
    this.detail = { refusal };
    this.#out({ 4001: "elsewhere", 4002: "replaced" }[code] ?? "refused");
  }

  #out(state) {
    this.#phone(false);
    if (state !== "elsewhere") this.#doorway.joined = false;
    this.sharing?.stop();
    this.sharing = null;
    this.#calling.drop();
    this.#recovery.stop();
    this.#restart.over();
    this.#socket.stop();
    this.#devices.stop();
    this.#to(state);
  }

  #to(state) {
    const former = this.state;
    this.state = state;
    if (former !== state) this.dispatchEvent(new CustomEvent("state", { detail: { former } }));
    else this.#say("state");
  }

  // Says who came and who went; not of the first list, which is everybody.
  #tellChanges(participants) {
    if (this.participants.length === 0) return;
    const before = new Set(this.participants.map((one) => one.id));
    const now = new Set(participants.map((one) => one.id));
    const tell = (key, people, known) => {
      for (const one of people) {
        if (!known.has(one.id) && one.id !== this.me?.id) this.#notice(key, { name: one.display_name });
      }
    };
    tell("notice.joined", participants, before);
    tell("notice.gone", this.participants, now);
  }

  #notice(key, params) {
    this.dispatchEvent(new CustomEvent("notice", { detail: { key, params } }));
  }

  #say(type) {
    this.dispatchEvent(new Event(type));
  }
}
