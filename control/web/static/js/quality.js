// How well each is seen and heard, as the server says (`quality`), and in which words people are told.

const WELL = { level: "good", reason: "" };

/** The last word on everybody, oneself too. */
export class Quality {
  #known = new Map(); // participant -> {level, reason}
  #stale = new Set(); // said on a former websocket, and not again yet

  of(participant) {
    return this.#known.get(participant) ?? WELL;
  }

  heard({ participant, level, reason }) {
    this.#known.set(participant, { level, reason });
    this.#stale.delete(participant);
  }

  /** A new websocket: whatever still holds is said again, before the list of participants comes. */
  again() {
    this.#stale = new Set(this.#known.keys());
  }

  /** The list is here. @param there (participant) => whether they are still in it */
  settle(there) {
    for (const one of this.#known.keys()) if (this.#stale.has(one) || !there(one)) this.#known.delete(one);
    this.#stale.clear();
  }
}

/** Whose network or phone makes it worse: a key, or null where all is well. */
export function whoseFault({ level, reason }) {
  if (level === "good") return null;
  return reason ? `weak.${reason}` : "weak.network";
}

/**
 * Why somebody's picture doesn't move: a key, or null where nothing says that it shouldn't.
 * @param person of `participants`, @param source "camera" or "screen", @param paused whether the server sends none,
 * @param quality {level, reason}
 */
export function whyStill(person, source, paused, { level, reason }) {
  if (person.connection === "lost" || level === "lost") return "stage.lost";
  if (!paused && !(source === "camera" && level === "sound_only")) return null;
  return reason.endsWith("phone") ? "stage.paused" : "stage.sound-only";
}

/** What oneself is told, or null: the name of a banner. */
export function ownWeakness({ level, reason }) {
  if (level !== "poor" && level !== "sound_only") return null;
  return reason.endsWith("phone") ? "weak-phone" : "weak-network";
}
