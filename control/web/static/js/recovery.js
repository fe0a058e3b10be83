// A lost network, by the contract's rules: when nothing has come in for 1.5 s, on `online` and on waking, ask whether
// the server is there; on whichever websocket answers, restart ICE; where ICE has failed, make a new connection.
//
// This module only decides; Visit does what it says.

const SILENCE = 1500;
const FIRST_SILENCE = 4000; // a handshake that lost a flight needs a second or three
const LOOK_EVERY = 500;
const BETWEEN_OFFERS = 1000;
const UNANSWERED = 15000; // the websocket answers pings and yet not this: something is broken at the other end
const QUIET = 5000; // without media the websocket is asked this often
const ANSWERS = ["pong", "admitted", "identifying"];
const ASLEEP = 5000; // a timer of half a second that comes this late was asleep

export class Recovery {
  #does;
  #timer = 0;
  #running = false;
  #received = new Map(); // candidate pair -> packets received
  #inboundAt = 0;
  #lookedAt = 0;
  #offeredAt = -Infinity;
  #askedAt = null; // an event wants a restart, on an answer that is newer than this
  #peer = null;
  #flowed = false;

  /**
   * @param does {socket: Socket, call: () => Call|null, mayOffer: () => boolean, wordsOnly: () => boolean, restart: () => void,
   *   renew: () => void, silent: (silent: boolean) => void}
   */
  constructor(does) {
    this.#does = does;
    addEventListener("online", () => this.#event());
    document.addEventListener("resume", () => this.#event()); // a frozen page (Page Lifecycle)
    addEventListener("pageshow", (event) => event.persisted && this.#event());
    // Without waiting for the next look: on a new network each half second is silence.
    does.socket.addEventListener("message", ({ detail }) => ANSWERS.includes(detail.type) && this.#soon());
  }

  start() {
    if (this.#running) return;
    this.#running = true;
    this.#lookedAt = performance.now();
    this.#soon();
  }

  stop() {
    clearTimeout(this.#timer);
    this.#running = false;
    this.#askedAt = null;
  }

  /** The last offer went out now; the next one comes a second later at the earliest. */
  offered() {
    this.#offeredAt = performance.now();
  }

  /** The next offer comes so many milliseconds from now at the earliest. */
  patience(milliseconds) {
    this.#offeredAt = performance.now() + milliseconds - BETWEEN_OFFERS;
  }

  #soon() {
    if (this.#running) this.#next(0);
  }

  #next(wait) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#look(), wait);
  }

  #event() {
    if (!this.#running) return;
    this.#askedAt = performance.now();
    this.#does.socket.hurry();
  }

  async #look() {
    const now = performance.now();
    // Should this look never end (getStats), the next one comes all the same.
    this.#next(LOOK_EVERY);
    if (now - this.#lookedAt > ASLEEP) this.#event();
    const before = this.#lookedAt;
    this.#lookedAt = now;
    const call = this.#does.call();
    if (call?.peerConnection !== this.#peer) this.#begin(call, now);
    if (!call) {
      this.#askedAt = null;
      // Words have no packets by which a dead network shows.
      if (this.#does.wordsOnly() && now - this.#does.socket.answeredAt > QUIET) this.#does.socket.probe();
      return;
    }
    const ago = await this.#inbound(call);
    if (!this.#running || call !== this.#does.call()) return;
    if (ago !== null) {
      this.#inboundAt = Math.max(performance.now() - ago, before, this.#inboundAt);
      this.#flowed = true;
    }
    this.#judge(call, performance.now());
    // Looked for exactly when the silence is long enough: half a second later is half a second more of it.
    const until = this.#inboundAt + this.#patience - performance.now();
    if (until > 0) this.#next(Math.min(until + 1, LOOK_EVERY));
  }

  get #patience() {
    return this.#flowed ? SILENCE : FIRST_SILENCE;
  }

  #begin(call, now) {
    this.#peer = call?.peerConnection ?? null;
    this.#received.clear();
    this.#inboundAt = now;
    this.#flowed = false;
  }

  // How long ago, in ms, the last packet came on any candidate pair, if one came since last time; else null.
  async #inbound(call) {
    if (call.failed) return null;
    const report = await call.peerConnection.getStats().catch(() => null);
    let ago = null;
    for (const stats of report?.values() ?? []) {
      if (stats.type !== "candidate-pair") continue;
      const count = stats.packetsReceived ?? stats.bytesReceived ?? 0;
      if (count > (this.#received.get(stats.id) ?? 0)) {
        const age = stats.timestamp - stats.lastPacketReceivedTimestamp; // not every browser says
        ago = Math.min(ago ?? Infinity, age >= 0 ? age : 0);
      }
      this.#received.set(stats.id, count);
    }
    return ago;
  }

  #judge(call, now) {
    const { socket } = this.#does;
    if (call.pending && now - call.pending.at > UNANSWERED && socket.up) return this.#does.renew();
    const silent = now - this.#inboundAt >= this.#patience;
    this.#does.silent(silent && this.#flowed);
    const wanted = call.failed || silent || this.#askedAt !== null;
    if (!wanted) return;
    // Nothing is offered to a server that hasn't answered since the trouble began.
    const since = this.#askedAt ?? this.#inboundAt;
    const answered = socket.up && socket.answeredAt > Math.max(since, now - 2500);
    if (!answered) return socket.probe();
    if (call.pending || !this.#does.mayOffer() || now - this.#offeredAt < BETWEEN_OFFERS) return;
    this.#askedAt = null;
    if (call.failed || !call.answered) this.#does.renew();
    else this.#does.restart();
  }
}
