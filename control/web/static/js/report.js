// What this device manages, told to the server every 2 s: from it follows what it is sent and asked to send. One look at
// the connection's statistics each time, and a few sums: a slow phone must not be slowed down by being measured.

const EVERY = 2000;
const LONGEST = 60; // seconds; a page that slept longer has nothing to say of that time
const CODECS = 4;

export class Report {
  #say;
  #call = null;
  #timer = 0;
  #former = null; // {at, streams} of the last look
  #battery = null;

  /** @param say (figures) => void: what `stats` has */
  constructor(say) {
    this.#say = say;
    navigator.getBattery?.().then((battery) => (this.#battery = battery), () => undefined);
  }

  /** A call begins, or (null) ends. */
  attach(call) {
    clearInterval(this.#timer);
    this.#former = null;
    this.#call = call;
    if (call) this.#timer = setInterval(() => void this.#look(call), EVERY);
  }

  async #look(call) {
    if (!call.connected) return;
    const stats = await call.peerConnection.getStats().catch(() => null);
    if (!stats || call !== this.#call) return;
    const at = performance.now();
    const { figures, streams } = measure(stats, this.#former?.streams, call.cameraMid);
    const seconds = this.#former ? (at - this.#former.at) / 1000 : 0;
    this.#former = { at, streams };
    if (seconds === 0 || seconds > LONGEST) return;
    const { charging, level } = this.#battery ?? { charging: true };
    this.#say({ seconds: round(seconds), ...figures, battery: charging ? null : round(level) });
  }
}

/**
 * The sums of one look.
 * @param stats RTCStatsReport, or a Map of what it holds, @param former `streams` of the last look,
 * @param cameraMid of one's own camera's line
 * @returns {figures: {decoded, dropped, decode_ms, limitation, pictures, height, codecs}, streams}
 */
export function measure(stats, former = new Map(), cameraMid = null) {
  const streams = new Map();
  const codecs = new Set();
  let [decoded, dropped, seconds, pictures, height] = [0, 0, 0, 0, 0];
  let sent = null; // the tallest layer of the camera that is being sent
  for (const one of stats.values()) {
    if (one.kind !== "video") continue;
    if (one.type === "inbound-rtp") {
      const { framesDecoded: frames = 0, framesDropped: drops = 0, totalDecodeTime: time = 0 } = one;
      streams.set(one.id, { frames, drops, time });
      const past = former.get(one.id) ?? { frames: 0, drops: 0, time: 0 };
      if (frames <= past.frames && drops <= past.drops) continue;
      decoded += Math.max(0, frames - past.frames);
      dropped += Math.max(0, drops - past.drops);
      seconds += Math.max(0, time - past.time);
      if (frames <= past.frames) continue;
      pictures += 1;
      height = Math.max(height, Math.min(one.frameWidth ?? 0, one.frameHeight ?? 0));
      const codec = stats.get(one.codecId)?.mimeType;
      if (codec && codecs.size < CODECS) codecs.add(codec);
    } else if (one.type === "outbound-rtp" && (cameraMid === null || one.mid === undefined || one.mid === cameraMid)) {
      const frames = one.framesEncoded ?? 0;
      streams.set(one.id, { frames });
      const busy = one.active !== false && frames > (former.get(one.id)?.frames ?? 0);
      if (busy && (one.frameHeight ?? 0) >= (sent?.frameHeight ?? 0)) sent = one;
    }
  }
  const figures = {
    decoded,
    dropped,
    decode_ms: decoded > 0 ? round((1000 * seconds) / decoded) : null,
    limitation: sent?.qualityLimitationReason ?? null,
    pictures,
    height,
    codecs: [...codecs],
  };
  return { figures, streams };
}

function round(value) {
  return Math.round(value * 100) / 100;
}
