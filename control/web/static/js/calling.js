// The connection that carries a visit's media: made, offered, answered, given up. While one waits it is made ready and
// connected ahead, without media, so that being let in costs no way to the server and back at all.

import { Call } from "./call.js";

export class Calling {
  current = null;
  offers = []; // {id, restart, at, answered}, performance.now()
  #ready = null; // {call, key, ahead}: for the next `begin`; `ahead` once the server was asked to take it already
  #aheadId = null; // of the last `prepare`
  #alone = false; // being connected ahead didn't work on this websocket
  #iceServers = [];
  #does;

  /**
   * @param does {send: (message) => boolean, began: (call) => void, ended: () => void, offering: () => void,
   *   state: () => void}
   */
  constructor(does) {
    this.#does = does;
  }

  /** Makes one ready that fits `welcome`. It sends nothing and holds no track, and no socket is opened for it yet. */
  prepare({ slots, send }) {
    const key = JSON.stringify([slots, send]);
    if ((this.current && !this.current.failed) || this.#ready?.ahead || this.#ready?.key === key) return;
    this.#ready?.call.close();
    const ready = { call: new Call({ slots, send }), key, ahead: false };
    this.#ready = ready;
    ready.call.addEventListener("state", () => {
      if (!ready.ahead || !ready.call.failed || ready !== this.#ready) return;
      // Perhaps a network that lets it through by a relay only, of which one hears when one is let in.
      this.#giveUp();
      this.prepare({ slots, send });
    });
    ready.call.prepare();
  }

  /** While one waits: connects what is ready. The server holds it without media until it lets one in. */
  async connect() {
    const ready = this.#ready;
    if (!ready || ready.ahead || this.#alone) return;
    ready.ahead = true;
    const { call } = ready;
    const offer = await call.offer(false).catch(() => null);
    const inside = call === this.current; // let in meanwhile: then it is an offer like any other
    if (!inside && ready !== this.#ready) return;
    const message = inside ? { type: "offer", ...offer } : { type: "prepare", id: offer?.id, sdp: offer?.sdp };
    if (!offer || !this.#does.send(message)) return inside ? call.forget() : this.#giveUp();
    if (!inside) this.#aheadId = offer.id;
    this.#note(offer);
  }

  /** Whether one is connected already, and only waits to be let in. */
  get ready() {
    return this.#ready?.ahead === true && this.#ready.call.connected;
  }

  /** A new websocket: what was said on the former one is never answered. */
  again() {
    this.current?.forget();
    if (this.#ready?.ahead && !this.#ready.call.answered) this.#giveUp();
    this.#alone = false;
  }

  /** A `send` message. */
  apply(change) {
    void this.current?.apply(change);
    if (this.#ready?.ahead) void this.#ready.call.apply(change);
  }

  /** As in `admitted`: for the next offer, whether it restarts ICE or is a new connection's. */
  relayBy(iceServers) {
    this.#iceServers = iceServers;
    if (this.current) this.current.iceServers = iceServers;
  }

  /** The visit's connection, and its offer; none where one is connected ahead, or about to be. */
  begin({ slots, send }) {
    const ready = this.#ready;
    this.#ready = null;
    this.drop();
    // One that isn't connected yet goes on, unless a relay of which one hears only now might be what it lacks.
    const goesOn = ready?.ahead && !ready.call.failed && (ready.call.connected || this.#iceServers.length === 0);
    const fits = goesOn || (ready?.ahead === false && ready.key === JSON.stringify([slots, send]));
    if (!fits) ready?.call.close();
    this.current = fits ? ready.call : new Call({ slots, send });
    const call = this.current;
    call.iceServers = this.#iceServers;
    call.addEventListener("state", () => {
      // Nothing brings it back, and the next one will be wanted in the moment in which the network is.
      if (call.failed && call === this.current) this.prepare({ slots, send });
      this.#does.state();
    });
    this.#does.began(call);
    if (!goesOn) void this.offer(false);
  }

  drop() {
    this.#ready?.call.close();
    this.#ready = null;
    this.current?.close();
    this.current = null;
    this.#does.ended();
  }

  async offer(restart) {
    const call = this.current;
    this.#does.offering();
    try {
      const offer = await call.offer(restart);
      if (call !== this.current) return;
      if (!this.#does.send({ type: "offer", ...offer })) return call.forget(offer.id);
      this.#note(offer);
    } catch {
      call.forget();
    }
  }

  /** The server's answer; whether it was taken. */
  async answered(id, sdp) {
    const call = this.#ready?.call.pending?.id === id ? this.#ready.call : this.current;
    const offer = this.offers.find((one) => one.id === id);
    if (offer) offer.answered = performance.now();
    try {
      return (await call?.accept(id, sdp)) === true;
    } catch {
      // An answer that this browser can't take: another connection may do better, after the usual second.
      if (call === this.current) call.close();
      if (call === this.#ready?.call) this.#giveUp();
      return false;
    }
  }

  /** The server refused what has this `re`; whether that was a `prepare`, which one does without. */
  declined(re) {
    // One that has become the visit's own by now is refused like any other.
    if ((re !== this.#aheadId && re !== "prepare") || this.current?.pending?.id === re) return false;
    if (this.#ready?.call.pending) this.#giveUp();
    return true;
  }

  /** The server refused what has this `re`; whether that was the offer. */
  refused(re) {
    const offer = this.current?.pending;
    if (!offer || (re !== offer.id && re !== "offer")) return false;
    // No peer to restart, or a refused offer: the next try is a new connection, a second later at the earliest.
    this.current.forget(offer.id);
    this.current.close();
    return true;
  }

  #giveUp() {
    this.#alone = true;
    this.#ready.call.close();
    this.#ready = null;
  }

  #note({ id, restart }) {
    this.offers.push({ id, restart, at: performance.now(), answered: null });
    if (this.offers.length > 100) this.offers.shift();
  }
}
