// What is written in a visit: lines, each counted once, and what others are writing just now.

const TYPING_EVERY = 200; // the contract wants the line out within 300 ms of the key
const TYPING_FADES = 8000;

/** Events: "lines" (a line was added), "typing". */
export class Chat extends EventTarget {
  lines = []; // {seq, id, participant, text, at, to?, mine}; seq null until the server has it
  typing = new Map(); // participant -> {text, at}
  unread = 0;
  #say;
  #seen = new Set();
  #timer = 0;
  #line = "";
  #told = "";
  #toldAt = 0;

  /** @param say sends a message, false when it couldn't */
  constructor(say) {
    super();
    this.#say = say;
  }

  /** The highest `seq` heard, for `hello`; null before the first. */
  get last() {
    return this.lines.reduce((last, line) => (line.seq === null ? last : Math.max(last ?? 0, line.seq)), null);
  }

  /** Writes a line; it stands there at once, and goes out again after a lost network. @param to one who waits */
  write(text, to) {
    const id = crypto.randomUUID();
    const line = { seq: null, id, text, at: new Date().toISOString(), to, mine: true };
    this.lines.push(line);
    this.#send(line);
    this.line("");
    this.dispatchEvent(new Event("lines"));
  }

  /** What the server may not have got is said again; the same id counts once. */
  again() {
    for (const line of this.lines) if (line.seq === null) this.#send(line);
    this.#told = "";
    this.#tell();
  }

  /** A `chat` message. @param me one's own id */
  heard(message, me) {
    if (this.#seen.has(message.seq)) return;
    this.#seen.add(message.seq);
    const own = message.participant === me && this.lines.find((line) => line.id === message.id);
    if (own) Object.assign(own, message);
    else {
      this.lines.push({ ...message, mine: message.participant === me });
      this.unread += 1;
    }
    this.lines.sort((a, b) => (a.seq ?? Infinity) - (b.seq ?? Infinity));
    this.typing.delete(message.participant);
    this.dispatchEvent(new Event("lines"));
  }

  /** A line that was refused can't be said again. */
  refused(id) {
    const line = this.lines.find((one) => one.id === id && one.seq === null);
    if (!line) return false;
    this.lines.splice(this.lines.indexOf(line), 1);
    this.dispatchEvent(new Event("lines"));
    return true;
  }

  read() {
    if (this.unread === 0) return;
    this.unread = 0;
    this.dispatchEvent(new Event("lines"));
  }

  /** Somebody else's line as it is now. */
  types(participant, text) {
    if (text === "") this.typing.delete(participant);
    else this.typing.set(participant, { text, at: Date.now() });
    this.dispatchEvent(new Event("typing"));
    setTimeout(() => this.#fade(participant), TYPING_FADES + 50);
  }

  /** One's own line as it is now; goes out at once, and then each 200 ms at most. */
  line(text) {
    this.#line = text;
    if (this.#timer) return;
    const wait = Math.max(0, this.#toldAt + TYPING_EVERY - performance.now());
    this.#timer = setTimeout(() => this.#tell(), wait);
  }

  #tell() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    if (this.#line === this.#told) return;
    if (this.#say({ type: "typing", text: this.#line })) {
      this.#told = this.#line;
      this.#toldAt = performance.now();
    }
  }

  #send({ id, text, to }) {
    this.#say(to ? { type: "chat", id, text, to } : { type: "chat", id, text });
  }

  #fade(participant) {
    const typed = this.typing.get(participant);
    if (!typed || Date.now() - typed.at < TYPING_FADES) return;
    this.typing.delete(participant);
    this.dispatchEvent(new Event("typing"));
  }
}
