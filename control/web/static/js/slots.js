// Which slot shows whom. The server's `slots` list is the only truth; a slot that changes hands is blank until the first
// frame of the one it is named after, so that no face ever stands under another's name.

// Where frames don't say when they were received, leftovers of somebody who has gone are played out within this.
const LEFTOVERS = 1000;

export class Slots extends EventTarget {
  #list = [];
  #call = null;
  #pictures = new Map(); // participant + source -> Picture
  #history = new Map(); // mid -> {participant, source, freedAt, since}
  #sounds = new Map(); // mid -> <audio>
  #off = new Set(); // participants whose camera is off, as `participants` says
  #telling = false;
  #room; // where <audio> elements live
  #hushed = false;
  blocked = false; // the browser wants a tap before it plays sound

  /** @param room element that holds the <audio> elements. Events: "change", "blocked". */
  constructor(room) {
    super();
    this.#room = room;
  }

  /** The server's list, as it is. */
  get list() {
    return this.#list;
  }

  /** A call begins or (null) ends: its slots have never shown anybody. */
  attach(call) {
    this.#call = call;
    this.#history.clear();
    this.#list = [];
    for (const sound of this.#sounds.values()) {
      sound.srcObject = null;
      sound.remove();
    }
    this.#sounds.clear();
    // The server may name a slot before the browser has.
    call?.addEventListener("lines", () => call === this.#call && this.#place());
    this.#place();
  }

  /** A `slots` message. */
  update(list) {
    const now = performance.now();
    const mids = new Set(list.map((slot) => slot.mid));
    for (const [mid, past] of this.#history) if (!mids.has(mid) && past.freedAt === null) past.freedAt = now;
    for (const slot of list) {
      const past = this.#history.get(slot.mid);
      const same = past && past.freedAt === null && past.participant === slot.participant
        && past.source === slot.source;
      if (same) continue;
      this.#history.set(slot.mid, {
        participant: slot.participant,
        source: slot.source,
        // Nobody's leftovers can be in a slot that nobody had; in others only frames received from now on count.
        since: past ? now : -Infinity,
        leftUntil: past ? now + LEFTOVERS : -Infinity,
        freedAt: null,
      });
    }
    this.#list = list;
    this.#place();
  }

  /** Whose camera is off: their tile stays blank until the first frame after it is on again. */
  cameraOff(participants) {
    this.#off = new Set(participants);
    this.#place();
  }

  /** What a tile shows: a Picture, made at the first call and kept until forgotten. */
  picture(participant, source) {
    const key = `${source} ${participant}`;
    let picture = this.#pictures.get(key);
    if (!picture) {
      picture = new Picture(`video-${source}-${participant}`, () => this.#changed());
      this.#pictures.set(key, picture);
      this.#place();
    }
    return picture;
  }

  forget(participant, source) {
    const key = `${source} ${participant}`;
    this.#pictures.get(key)?.close();
    this.#pictures.delete(key);
  }

  /** Whether someone's picture can come at all: a slot names them, and it isn't paused. */
  slotOf(participant, source) {
    return this.#list.find((slot) => slot.participant === participant && slot.source === source);
  }

  /** Within a tap: plays what the browser wouldn't play by itself. */
  async unblock() {
    this.blocked = false;
    await Promise.all([...this.#sounds.values()].map((sound) => this.#play(sound)));
    this.dispatchEvent(new Event("blocked"));
  }

  /** Whether nobody is to be heard. */
  hush(hushed) {
    this.#hushed = hushed;
    for (const sound of this.#sounds.values()) sound.muted = hushed;
  }

  // Gives every picture and loudspeaker the track of its slot.
  #place() {
    const lines = new Map();
    for (const line of [...(this.#call?.lines.audio ?? []), ...(this.#call?.lines.video ?? [])]) {
      if (line.mid !== null) lines.set(line.mid, line);
    }
    const shown = new Set();
    for (const slot of this.#list) {
      const track = lines.get(slot.mid)?.receiver.track;
      if (!track) continue;
      if (slot.source === "microphone") {
        this.#sound(slot.mid, track);
        continue;
      }
      const key = `${slot.source} ${slot.participant}`;
      shown.add(key);
      const off = slot.source === "camera" && this.#off.has(slot.participant);
      this.#pictures.get(key)?.show(track, { paused: slot.paused, off }, this.#history.get(slot.mid));
    }
    for (const [key, picture] of this.#pictures) if (!shown.has(key)) picture.blank();
    this.#changed();
  }

  // Told once for all that changes together, and never from within: the stage asks for pictures while it draws.
  #changed() {
    if (this.#telling) return;
    this.#telling = true;
    queueMicrotask(() => {
      this.#telling = false;
      this.dispatchEvent(new Event("change"));
    });
  }

  // A slot's loudspeaker plays for as long as the call lasts: whoever speaks there is heard at once.
  #sound(mid, track) {
    if (this.#sounds.has(mid)) return;
    const sound = document.createElement("audio");
    sound.id = `audio-${mid}`;
    sound.autoplay = true;
    sound.muted = this.#hushed;
    sound.srcObject = new MediaStream([track]);
    this.#sounds.set(mid, sound);
    this.#room.append(sound);
    void this.#play(sound);
  }

  async #play(sound) {
    try {
      await sound.play();
    } catch (error) {
      if (error?.name !== "NotAllowedError" || this.blocked) return;
      this.blocked = true;
      this.dispatchEvent(new Event("blocked"));
    }
  }
}

/**
 * One person's camera or screen in one <video>. `state`: "live" (what stands there is theirs, and moves), "still" (the
 * last that was seen of them, while the server sends no picture), "blank".
 */
export class Picture {
  video;
  still; // a <canvas> over the video: what a <video> without frames shows is each browser's own affair
  state = "blank";
  #changed;
  #track = null;
  #rest = "off"; // why no frames are to be waited for: "paused", "off" or "" (they are)
  #round = 0;

  constructor(id, changed) {
    this.#changed = changed;
    this.video = document.createElement("video");
    Object.assign(this.video, { id, autoplay: true, muted: true, playsInline: true, disablePictureInPicture: true });
    this.video.setAttribute("aria-hidden", "true");
    this.video.tabIndex = -1;
    this.still = document.createElement("canvas");
    this.still.setAttribute("aria-hidden", "true");
    this.still.hidden = true;
  }

  /**
   * A slot shows this from now on. @param rest {paused: the server sends no picture, off: they have turned it off, and
   * want nothing of it to stand there}, @param history {since, leftUntil} of the slot
   */
  show(track, { paused, off }, { since, leftUntil }) {
    const rest = off ? "off" : paused ? "paused" : "";
    if (track === this.#track && rest === this.#rest) return;
    const resumed = track === this.#track;
    if (!resumed) {
      this.#track = track;
      this.video.srcObject = new MediaStream([track]);
      void this.video.play().catch(() => undefined);
    }
    const kept = resumed && !off && (this.state === "still" || (rest === "paused" && this.#keep()));
    this.#rest = rest;
    this.#to(kept ? "still" : "blank");
    if (!rest) this.#await(resumed ? performance.now() : since, resumed ? 0 : leftUntil);
  }

  /** No slot names them. */
  blank() {
    if (this.#track === null) return;
    this.#track = null;
    this.#rest = "off";
    this.video.srcObject = null;
    this.#to("blank");
  }

  close() {
    this.blank();
    this.video.remove();
  }

  #to(state) {
    this.#round++;
    this.still.hidden = state !== "still";
    if (state !== "still") this.still.width = 0; // gives its memory back
    if (state === this.state) return;
    this.state = state;
    this.#changed();
  }

  // The frame that is on screen now; false where there is none that is surely theirs.
  #keep() {
    const { videoWidth: width, videoHeight: height } = this.video;
    if (this.state !== "live" || !width || !height) return false;
    Object.assign(this.still, { width, height });
    this.still.getContext("2d").drawImage(this.video, 0, 0);
    return true;
  }

  // The first frame that was received after `since`; frames that don't say when, only after `leftUntil`.
  #await(since, leftUntil) {
    const round = ++this.#round;
    const { video } = this;
    const settle = () => this.#to("live");
    if (!video.requestVideoFrameCallback) {
      const frames = () => video.getVideoPlaybackQuality?.().totalVideoFrames ?? video.currentTime;
      const before = frames();
      const look = () => {
        if (round !== this.#round) return;
        if (frames() !== before && performance.now() > leftUntil) settle();
        else setTimeout(look, 50);
      };
      return look();
    }
    const frame = (now, metadata) => {
      if (round !== this.#round) return;
      const fresh = metadata.receiveTime === undefined ? now > leftUntil : metadata.receiveTime >= since;
      if (fresh) settle();
      else video.requestVideoFrameCallback(frame);
    };
    video.requestVideoFrameCallback(frame);
  }
}
