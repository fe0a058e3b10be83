// One RTCPeerConnection by the contract (Media): microphone, camera and screen to send, then the slots; one offer, and
// nothing but ICE restarts after it. When ICE has failed a call is thrown away and another one made.

import { editAnswer } from "./answer.js";

// Ids of offers grow over all calls of a page, and over its reloads.
let offers = Date.now();

export class Call extends EventTarget {
  #pc;
  #send; // welcome.send with every `send` since merged in
  #senders = {};
  #camera; // its transceiver
  #lines = { audio: [], video: [] }; // transceivers of the slots
  #pending = null; // {id, restart, at} of the offer that isn't answered
  #answer = null; // as the server said it
  #chain = Promise.resolve(); // one change of descriptions at a time
  #closed = false;
  #ready = null; // a promise of an offer that was made before it was wanted

  /** Where media may be relayed, as in `admitted`; each offer uses what is newest then. */
  iceServers = [];
  #relayedBy = "[]"; // as the browser was told last

  /**
   * @param slots {audio, video}: how many, @param send as in `welcome`
   * Events: "state" when the connection's state changes, "lines" when they have their mids.
   */
  constructor({ slots, send }) {
    super();
    this.#send = structuredClone(send);
    this.#pc = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
    const local = new MediaStream();
    const line = (kind, encodings) => {
      const options = { direction: "sendonly", streams: [local] };
      return addSending(this.#pc, kind, options, encodings);
    };
    this.#senders.microphone = line("audio").sender;
    this.#camera = line("video", send.camera?.encodings);
    this.#senders.camera = this.#camera.sender;
    this.#senders.screen = line("video", send.screen?.encodings).sender;
    for (const kind of ["audio", "video"]) {
      for (let index = 0; index < slots[kind]; index++) {
        this.#lines[kind].push(this.#pc.addTransceiver(kind, { direction: "recvonly" }));
      }
    }
    this.#pc.addEventListener("connectionstatechange", () => this.dispatchEvent(new Event("state")));
    this.#pc.addEventListener("iceconnectionstatechange", () => this.dispatchEvent(new Event("state")));
  }

  /** The RTCPeerConnection, for statistics and tests. */
  get peerConnection() {
    return this.#pc;
  }

  /** Browsers never check again once ICE has failed, and a failed DTLS can't be tried again either. */
  get failed() {
    return this.#closed || ["failed", "closed"].includes(this.#pc.connectionState) || this.#pc.iceConnectionState === "failed";
  }

  get connected() {
    return this.#pc.connectionState === "connected";
  }

  /** Whether the server ever answered: only then does a restart make sense. */
  get answered() {
    return this.#answer !== null;
  }

  /** The offer without an answer, as {id, restart, at}, or null. */
  get pending() {
    return this.#pending;
  }

  /** The slots' transceivers by kind, in order; their `mid` is null until the browser has used the first offer. */
  get lines() {
    return this.#lines;
  }

  /** Makes the first offer now, for later. Nothing is gathered for it yet: the network may be another one by then. */
  prepare() {
    this.#ready = this.#pc.createOffer().catch(() => null);
  }

  /**
   * What an `offer` message needs: {id, sdp, restart}. Candidates aren't waited for: a lite server needs none. Nor is
   * the browser's own use of it, which on a slow phone takes as long as the way to the server.
   */
  offer(restart) {
    const id = ++offers;
    this.#pending = { id, restart, at: performance.now() };
    return new Promise((resolve, reject) => {
      this.#next(async () => {
        const ready = await this.#ready;
        this.#ready = null;
        this.#relay();
        const offer = ready ?? (await this.#pc.createOffer({ iceRestart: restart }));
        resolve({ id, sdp: offer.sdp, restart });
        await this.#pc.setLocalDescription(offer);
        this.dispatchEvent(new Event("lines"));
      }).catch(reject);
    });
  }

  /** The server's answer; false when it belongs to no offer that waits for one. */
  async accept(id, sdp) {
    if (this.#pending?.id !== id) return false;
    await this.#next(async () => {
      if (this.#pending?.id !== id) return;
      await this.#pc.setRemoteDescription({ type: "answer", sdp: editAnswer(sdp, this.#send.microphone) });
      this.#answer = sdp;
      this.#pending = null;
    });
    await this.apply({ microphone: this.#send.microphone });
    // A codec that was asked for before the answer: only now there is a list to look it up in.
    for (const source of ["camera", "screen"]) {
      const codec = this.#send[source]?.codec;
      if (codec) await this.#encode(source, { codec });
    }
    return true;
  }

  /** The offer with this id was refused, or its websocket is gone: no answer will come. */
  forget(id = this.#pending?.id) {
    if (this.#pending && this.#pending.id === id) this.#pending = null;
  }

  /** Puts a track on a line, or takes it away with null; needs no offer. */
  async setTrack(source, track) {
    const sender = this.#senders[source];
    if (this.#closed || sender.track === track) return;
    await sender.replaceTrack(track).catch(() => undefined);
  }

  /** A `send` message: only what changes. */
  async apply(change) {
    for (const source of ["microphone", "camera", "screen"]) {
      if (change[source]) this.#send[source] = { ...this.#send[source], ...change[source] };
    }
    if (change.camera?.encodings || change.camera?.codec) await this.#encode("camera", change.camera);
    if (change.screen?.encodings || change.screen?.codec) await this.#encode("screen", change.screen);
    if (change.microphone?.max_bitrate) {
      await this.#encode("microphone", { encodings: [{ maxBitrate: change.microphone.max_bitrate }] });
    }
    const sound = change.microphone;
    if (sound && ("ptime" in sound || "red" in sound)) await this.#answerAgain();
  }

  /** The mid of one's own camera, null before the first offer. */
  get cameraMid() {
    return this.#camera.mid;
  }

  /** How large pictures should be captured: {width, height, frameRate}. */
  picture(source) {
    return pictureOf(this.#send[source]);
  }

  close() {
    this.#closed = true;
    this.#pc.close();
  }

  // A fresh local offer and the stored answer, edited: the server needn't know (CONTRACT, Sending).
  async #answerAgain() {
    if (!this.#answer || this.#pending) return; // the answer that comes will be edited anyway
    const edited = editAnswer(this.#answer, this.#send.microphone);
    if (edited === this.#pc.remoteDescription?.sdp || edited === this.#editedNow) return;
    await this.#next(async () => {
      if (this.#pending || this.#pc.signalingState !== "stable") return;
      await this.#pc.setLocalDescription(await this.#pc.createOffer());
      await this.#pc.setRemoteDescription({ type: "answer", sdp: edited });
      this.#editedNow = edited;
    }).catch(() => undefined);
  }

  #editedNow = null;

  async #encode(source, { encodings, codec }) {
    const sender = this.#senders[source];
    const attempt = async (withMode) => {
      const parameters = sender.getParameters();
      if (!parameters.encodings?.length) return;
      const mime = codec?.toLowerCase();
      const found = mime && parameters.codecs?.find((one) => one.mimeType.toLowerCase() === mime);
      for (const encoding of parameters.encodings) {
        const wanted = encodings?.find((one) => (one.rid ?? "") === (encoding.rid ?? ""))
          ?? (parameters.encodings.length === 1 && encodings?.length === 1 ? encodings[0] : null);
        if (wanted) {
          const { rid: _, scalabilityMode, ...rest } = wanted;
          Object.assign(encoding, rest, withMode && scalabilityMode ? { scalabilityMode } : {});
        }
        if (found) encoding.codec = found;
      }
      await sender.setParameters(parameters);
    };
    // "if the browser refuses, again without"
    await attempt(true).catch(() => attempt(false)).catch(() => undefined);
  }

  // Only beside an offer that the server hears of: once these have changed, the next offer restarts ICE (RFC 9429, section
  // 4.1.18), and that may not be one that stays on this side (#answerAgain).
  #relay() {
    const wanted = JSON.stringify(this.iceServers);
    if (wanted === this.#relayedBy) return;
    this.#relayedBy = wanted;
    try {
      this.#pc.setConfiguration({ ...this.#pc.getConfiguration(), iceServers: this.iceServers });
    } catch {
      // Addresses that this browser doesn't take: without a relay most people are reached all the same.
    }
  }

  #next(work) {
    const done = this.#chain.then(() => {
      if (this.#closed) throw new DOMException("the call is closed", "InvalidStateError");
      return work();
    });
    this.#chain = done.catch(() => undefined);
    return done;
  }
}

/** How large to capture, as `getUserMedia` says it. @param camera of `send` */
export function pictureOf(camera) {
  return { width: camera?.width, height: camera?.height, frameRate: camera?.frame_rate };
}

/** A sending line; without scalabilityMode where the browser refuses it, and with one encoding where it knows no rids. */
function addSending(pc, kind, options, encodings) {
  if (!encodings) return pc.addTransceiver(kind, options);
  const plain = encodings.map(({ scalabilityMode: _, ...rest }) => rest);
  const { rid: _, scaleResolutionDownBy: __, ...one } = plain[plain.length - 1];
  for (const sendEncodings of [encodings, plain, [one]]) {
    try {
      return pc.addTransceiver(kind, { ...options, sendEncodings });
    } catch {
      // the next is plainer
    }
  }
  return pc.addTransceiver(kind, options);
}
