// How long sound waits in the browser for its repair. A browser's jitter buffer learns from packets that come late, but
// gives up on the one in a hundred that needs two rounds of asking; here it is told to wait for that one, while sound
// is being made up, and no longer than that: each tenth of a second is one that people talk over each other.

const LOOK_EVERY = 2000;
const STEPS = [null, 150, 250]; // ms (W3C WebRTC Extensions, jitterBufferTarget); null: as the browser likes
const POOR = 0.01; // concealed share of an interval
const GOOD = 0.002;
const TWICE = 10_000; // one poor interval may be somebody who was muted in mid-word; two within this are the network
const PATIENCE = 60_000; // good for so long before one waits less again
const ENOUGH = 24_000; // samples of an interval that says anything: half a second of 48 kHz

export class Cushion {
  #call = null;
  #timer = 0;
  #receivers = new Map(); // mid -> {concealed, total, step, warnedAt, faultAt}

  /** A call begins, or (null) ends. */
  attach(call) {
    clearInterval(this.#timer);
    this.#receivers.clear();
    this.#call = call;
    if (call) this.#timer = setInterval(() => void this.#look(call), LOOK_EVERY);
  }

  async #look(call) {
    const lines = call.lines.audio.filter((line) => line.mid !== null);
    const reports = await Promise.all(lines.map((line) => line.receiver.getStats().catch(() => null)));
    if (call !== this.#call) return;
    lines.forEach((line, i) => {
      for (const stats of reports[i]?.values() ?? []) {
        if (stats.type === "inbound-rtp" && stats.kind === "audio") this.#judge(line, stats);
      }
    });
  }

  #judge(line, stats) {
    const now = performance.now();
    // Silence that is made up is heard by nobody: the other's pause.
    const concealed = (stats.concealedSamples ?? 0) - (stats.silentConcealedSamples ?? 0);
    const total = stats.totalSamplesReceived ?? 0;
    const known = this.#receivers.get(line.mid) ?? { concealed, total, step: 0, warnedAt: -Infinity, faultAt: now };
    const samples = total - known.total;
    const share = samples >= ENOUGH ? (concealed - known.concealed) / samples : 0;
    let { step, warnedAt, faultAt } = known;
    if (share > GOOD) faultAt = now;
    if (share > POOR && now - warnedAt <= TWICE) {
      step = Math.min(step + 1, STEPS.length - 1);
      warnedAt = -Infinity;
    } else if (share > POOR) {
      warnedAt = now;
    } else if (step > 0 && now - faultAt > PATIENCE) {
      step -= 1;
      faultAt = now;
    }
    this.#receivers.set(line.mid, { concealed, total, step, warnedAt, faultAt });
    // Its picture follows: both are of one stream, and the browser keeps lips in step.
    if (step !== known.step && "jitterBufferTarget" in line.receiver) line.receiver.jitterBufferTarget = STEPS[step];
  }
}
