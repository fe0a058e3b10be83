// The connection that carries a visit's media: made, offered, answered, given up. It is made ready while one waits, so
// that being let in costs no more than the way to the server and back.

import { Call } from "./call.js";

export class Calling {
  current = null;
  offers = []; // {id, restart, at, answered}, performance.now()
  #ready = null; // {call, key}: hasn't been offered yet
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
    if ((this.current && !this.current.failed) || this.#ready?.key === key) return;
    this.#ready?.call.close();
    this.#ready = { call: new Call({ slots, send }), key };
    this.#ready.call.prepare();
  }

  /** As in `admitted`: for the next offer, whether it restarts ICE or is a new connection's. */
  relayBy(iceServers) {
    this.#iceServers = iceServers;
    if (this.current) this.current.iceServers = iceServers;
  }

  /** A new connection, and its offer. */
  begin({ slots, send }) {
    const ready = this.#ready;
    this.#ready = null;
    this.drop();
    const fits = ready?.key === JSON.stringify([slots, send]);
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
    void this.offer(false);
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
      this.offers.push({ id: offer.id, restart, at: performance.now(), answered: null });
      if (this.offers.length > 100) this.offers.shift();
    } catch {
      call.forget();
    }
  }

  /** The server's answer; whether it was taken. */
  async answered(id, sdp) {
    const call = this.current;
    const offer = this.offers.find((one) => one.id === id);
    if (offer) offer.answered = performance.now();
    try {
      return (await call?.accept(id, sdp)) === true;
    } catch {
      // An answer that this browser can't take: another connection may do better, after the usual second.
      if (call === this.current) call.close();
      return false;
    }
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
}
