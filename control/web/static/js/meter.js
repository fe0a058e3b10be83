// How loud a microphone is, for a bar that moves: the proof that it works.

let context = null;

/** The page's one AudioContext; null where there is none. Browsers keep it asleep until the first tap. */
export function audioContext() {
  const Context = globalThis.AudioContext ?? globalThis.webkitAudioContext;
  if (!context && Context) {
    context = new Context({ latencyHint: "interactive" });
    const wake = () => void context.resume().catch(() => undefined);
    for (const type of ["pointerdown", "keydown"]) addEventListener(type, wake, { passive: true });
  }
  return context;
}

/** Level of one track, 0 to 1 on a scale that speech fills. */
export class Meter {
  #source = null;
  #analyser = null;
  #samples = new Float32Array(1024);
  #level = 0;

  /** @param track a microphone's MediaStreamTrack or null */
  listen(track) {
    this.stop();
    const audio = track && audioContext();
    if (!audio) return;
    this.#source = audio.createMediaStreamSource(new MediaStream([track]));
    this.#analyser = new AnalyserNode(audio, { fftSize: 1024 });
    this.#source.connect(this.#analyser);
  }

  /** Falls slowly, rises at once. */
  read() {
    if (!this.#analyser) return 0;
    this.#analyser.getFloatTimeDomainData(this.#samples);
    let sum = 0;
    for (const sample of this.#samples) sum += sample * sample;
    const decibels = 10 * Math.log10(sum / this.#samples.length + 1e-10);
    const now = Math.min(1, Math.max(0, (decibels + 60) / 50));
    this.#level = Math.max(now, this.#level * 0.85);
    return this.#level;
  }

  stop() {
    this.#source?.disconnect();
    this.#source = this.#analyser = null;
    this.#level = 0;
  }
}

/** Whether a page may sound now. Without a tap browsers let it wait for one, however long. */
export async function mayChime() {
  const audio = audioContext();
  if (!audio) return false;
  await Promise.race([audio.resume(), new Promise((resolve) => setTimeout(resolve, 300))]);
  return audio.state === "running";
}

/** A short, soft chime, so that somebody hears that the loudspeaker works; resolves when it is over. */
export async function chime() {
  if (!(await mayChime())) return; // a chime minutes later would only frighten
  const audio = audioContext();
  const start = audio.currentTime + 0.05;
  for (const [index, frequency] of [523.25, 659.25, 783.99].entries()) {
    const tone = new OscillatorNode(audio, { frequency });
    const gain = new GainNode(audio, { gain: 0 });
    const at = start + index * 0.22;
    gain.gain.setValueAtTime(0, at);
    gain.gain.linearRampToValueAtTime(0.18, at + 0.03);
    gain.gain.exponentialRampToValueAtTime(0.001, at + 0.6);
    tone.connect(gain).connect(audio.destination);
    tone.start(at);
    tone.stop(at + 0.65);
  }
  await new Promise((resolve) => setTimeout(resolve, 1200));
}
