// Camera and microphone of this device. A visit works without either: what is wrong is said, never thrown.

const CHOICE = "vardrum:devices";
const SOURCES = { camera: "videoinput", microphone: "audioinput" };

/**
 * Events: "change" (tracks, choices, problems), "level" isn't here (see meter.js).
 * `problems.camera`/`.microphone`: null, "denied", "missing", "busy", "insecure", "lost" or "other".
 */
export class Devices extends EventTarget {
  tracks = { camera: null, microphone: null };
  problems = { camera: null, microphone: null };
  wanted = { camera: true, microphone: true }; // what the person switched on
  list = { camera: [], microphone: [] };
  #chosen = read();
  #picture = { width: 640, height: 360, frameRate: 20 };
  #asking = Promise.resolve();
  #never = false;

  constructor() {
    super();
    navigator.mediaDevices?.addEventListener?.("devicechange", () => void this.#changed());
  }

  /** From now on nothing is asked for: the visit is by phone or chat. */
  never() {
    this.#never = true;
    this.wanted = { camera: false, microphone: false };
    this.stop();
  }

  /** Asks for both at once (one question to the person); where that fails, for each alone. */
  start() {
    if (this.#never) return Promise.resolve();
    return this.#one(async () => {
      const missing = ["camera", "microphone"].filter((source) => this.wanted[source] && !this.tracks[source]);
      if (missing.length === 2) {
        const stream = await this.#ask(missing).catch(() => null);
        if (stream) this.#take(stream);
        else for (const source of missing) await this.#get(source);
      } else for (const source of missing) await this.#get(source);
      await this.#enumerate();
    });
  }

  /** On or off by the person's wish; off lets go of the device, so that its light goes out. */
  turn(source, on) {
    this.wanted[source] = on;
    if (!on) this.#release(source);
    this.#say();
    return on ? this.#one(() => (this.wanted[source] && !this.tracks[source] ? this.#get(source) : undefined)) : null;
  }

  /** Another camera or microphone; kept in this browser. */
  choose(source, deviceId) {
    this.#chosen = { ...this.#chosen, [source]: deviceId };
    write(this.#chosen);
    if (!this.wanted[source]) return this.#say();
    return this.#one(async () => {
      this.#release(source);
      await this.#get(source);
    });
  }

  /** Which device is in use, or chosen. */
  current(source) {
    return this.tracks[source]?.getSettings().deviceId ?? this.#chosen[source] ?? "";
  }

  /** How large and fast to capture: {width, height, frameRate}. */
  capture(picture) {
    this.#picture = { ...this.#picture, ...Object.fromEntries(Object.entries(picture).filter(([, value]) => value)) };
    void this.tracks.camera?.applyConstraints(this.#video()).catch(() => undefined);
  }

  stop() {
    this.#release("camera");
    this.#release("microphone");
    this.#say();
  }

  async #get(source) {
    try {
      this.#take(await this.#ask([source]));
    } catch (error) {
      this.problems[source] = reason(error);
      this.#say();
    }
  }

  #ask(sources) {
    if (!navigator.mediaDevices?.getUserMedia) throw new DOMException("", "InsecureError");
    const audio = this.#chosen.microphone ? { deviceId: { ideal: this.#chosen.microphone } } : {};
    return navigator.mediaDevices.getUserMedia({
      video: sources.includes("camera") && { ...this.#video(), ...this.#which() },
      audio: sources.includes("microphone") && {
        ...audio,
        echoCancellation: true,
        noiseSuppression: true,
        autoGainControl: true,
      },
    });
  }

  #video() {
    const { width, height, frameRate } = this.#picture;
    return { width: { ideal: width }, height: { ideal: height }, frameRate: { ideal: frameRate, max: frameRate } };
  }

  #which() {
    return this.#chosen.camera ? { deviceId: { ideal: this.#chosen.camera } } : { facingMode: { ideal: "user" } };
  }

  #take(stream) {
    for (const track of stream.getTracks()) {
      const source = track.kind === "video" ? "camera" : "microphone";
      if (!this.wanted[source]) {
        track.stop(); // switched off while the browser was asking
        continue;
      }
      this.#release(source);
      this.tracks[source] = track;
      this.problems[source] = null;
      track.addEventListener("ended", () => this.#ended(source, track));
    }
    this.#say();
  }

  // Unplugged, or permission taken back in mid-visit: another device may do.
  #ended(source, track) {
    if (this.tracks[source] !== track) return;
    this.tracks[source] = null;
    this.problems[source] = "lost";
    this.#say();
    void this.#one(() => (this.wanted[source] && !this.tracks[source] ? this.#get(source) : undefined));
  }

  async #changed() {
    await this.#enumerate();
    const lacking = Object.keys(SOURCES).some((source) => {
      return this.wanted[source] && !this.tracks[source] && ["missing", "lost"].includes(this.problems[source]);
    });
    if (lacking) await this.start();
  }

  async #enumerate() {
    const all = (await navigator.mediaDevices?.enumerateDevices?.().catch(() => [])) ?? [];
    for (const [source, kind] of Object.entries(SOURCES)) {
      this.list[source] = all
        .filter((device) => device.kind === kind && device.deviceId)
        .map(({ deviceId, label }) => ({ id: deviceId, label }));
    }
    this.#say();
  }

  #release(source) {
    const track = this.tracks[source];
    this.tracks[source] = null;
    track?.stop();
  }

  #one(work) {
    const done = this.#asking.then(work);
    this.#asking = done.catch(() => undefined);
    return done;
  }

  #say() {
    this.dispatchEvent(new Event("change"));
  }
}

/**
 * The screen, a window or a tab, as the person picks it; null where they changed their mind.
 * @param picture {width, height, frameRate} at most
 */
export async function captureScreen({ width = 1920, height = 1080, frameRate = 15 } = {}) {
  const video = { width: { max: width }, height: { max: height }, frameRate: { max: frameRate } };
  const stream = await navigator.mediaDevices.getDisplayMedia({ video, audio: false }).catch(() => null);
  const track = stream?.getVideoTracks()[0] ?? null;
  if (track) track.contentHint = "detail"; // small letters matter more than motion
  return track;
}

function reason(error) {
  const names = {
    NotAllowedError: "denied",
    SecurityError: "denied",
    NotFoundError: "missing",
    OverconstrainedError: "missing",
    NotReadableError: "busy",
    AbortError: "busy",
    InsecureError: "insecure",
  };
  return names[error?.name] ?? "other";
}

function read() {
  try {
    return JSON.parse(localStorage.getItem(CHOICE)) ?? {};
  } catch {
    return {};
  }
}

function write(choice) {
  try {
    localStorage.setItem(CHOICE, JSON.stringify(choice));
  } catch {
    // Then it is chosen again next time.
  }
}
