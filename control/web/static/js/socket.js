// The websocket: hello, ping, and coming back (CONTRACT, Websocket and "A lost network").
//
// Events: "message" (detail: the message), "up" (welcome came), "down" (gone, being tried again),
// "away" (the server has said that it ends; before "down"), "over" (detail: {code}; one doesn't come back by oneself).

const PONG_WITHIN = 1000;
const RETRY_EVERY = 2000;
const WELCOME_WITHIN = 10000;
// A try that hangs, as in a tunnel, is given up for a fresh one: TCP repeats its first packet ever more seldom.
// Chromium keeps websockets waiting for seconds after some 14 that failed within two to four minutes: there mustn't be
// many.
const PATIENCE = [4000, 4000, 4000, 4000, 8000];
// Where websockets are kept waiting, the server is asked for by fetch, which isn't, and a websocket is opened when that
// is answered. So after one that was refused at once: the network is there, the server isn't. And always in Firefox,
// where a websocket that was given up goes on connecting, and the next one waits for it. Not so in Chromium's tunnels:
// there a fetch takes over the connection that an aborted one began, which after two minutes tries once a minute.
const REACHABLE = "/healthz";
const ASK_FOR = [2000, 2000, 2000, 6000]; // on a slow network 2 s may never be enough
// A browser keeps as many connections to one server, and on another network each of them is dead: whoever asks once
// would wait for one after the other.
const KEPT = 6;
const ALWAYS_ASKS = /\bFirefox\//u.test(navigator.userAgent);

const GOING_AWAY = 1001; // RFC 6455, section 7.4.1
const ELSEWHERE = 4001;
const OVER = 4002;
const TOKEN = 4003;
const HOSTILE = 4004;

export class Socket extends EventTarget {
  #url;
  #hello;
  #renew;
  #current = null; // has been welcomed
  #attempt = null; // is being opened, or waits for its welcome
  #seeking = false; // nothing has answered since the trouble began
  #tries = 0;
  #asks = false; // the next try asks by fetch first
  #asking = null; // AbortController of a fetch
  #startedAt = 0;
  #timer = 0;
  #ping = null; // {id, at, timer}
  #pings = 0;
  #stopped = true;
  #upAt = -Infinity;
  #pongAt = -Infinity;

  /**
   * @param url () => websocket address, @param hello async () => the hello message,
   * @param renew async () => void: gets a new token; throws {code} when that is refused for good
   */
  constructor({ url, hello, renew }) {
    super();
    this.#url = url;
    this.#hello = hello;
    this.#renew = renew;
  }

  /** Whether the server has said welcome and nothing since says that it is gone. */
  get up() {
    return this.#current !== null && !this.#seeking;
  }

  /** When the server last answered a ping or a hello, performance.now(). */
  get answeredAt() {
    return Math.max(this.#upAt, this.#pongAt);
  }

  start() {
    if (!this.#stopped) return;
    this.#stopped = false;
    this.#seek(false); // the page has just come from there
  }

  /** Closes for good; start() begins again. */
  stop() {
    this.#stopped = true;
    this.#clear();
    this.#drop(this.#attempt);
    this.#drop(this.#current);
    this.#attempt = this.#current = null;
    this.#seeking = false;
  }

  /** Says something; false when there is nobody to say it to. */
  send(message) {
    const socket = this.#current;
    if (socket?.readyState !== WebSocket.OPEN) return false;
    socket.send(JSON.stringify(message));
    return true;
  }

  /** Asks whether the server is there: without a pong in 1 s a new websocket is opened. */
  probe() {
    if (this.#stopped || this.#ping || this.#seeking || !this.#current) return;
    const id = ++this.#pings;
    if (!this.send({ type: "ping", id })) return this.#again();
    this.#ping = { id, timer: setTimeout(() => this.#again(), PONG_WITHIN) };
  }

  /** The network is back: no waiting for the next try. */
  hurry() {
    if (this.#stopped) return;
    if (this.#attempt?.readyState === WebSocket.OPEN) return; // waits for its welcome
    if (this.#seeking || !this.#current) this.#seek();
    else this.probe();
  }

  #again() {
    this.#forgetPing();
    if (this.#seeking) return;
    this.dispatchEvent(new Event("down"));
    this.#seek();
  }

  #seek(ask = ALWAYS_ASKS) {
    this.#seeking = true;
    this.#tries = 0;
    this.#asks = ask;
    void this.#try();
  }

  async #try() {
    this.#clear();
    this.#startedAt = performance.now();
    if (!this.#asks) return this.#open();
    const asking = (this.#asking = new AbortController());
    const asks = Array(this.#tries === 0 ? KEPT : 1).fill(REACHABLE);
    this.#timer = setTimeout(() => asking.abort(), ASK_FOR[this.#tries++ % ASK_FOR.length]);
    const options = { cache: "no-store", signal: asking.signal };
    const answer = await Promise.any(asks.map((path) => fetch(path, options))).catch(() => null);
    if (asking !== this.#asking) return;
    this.#asking = null;
    this.#asks = ALWAYS_ASKS || !asking.signal.aborted;
    asking.abort(); // the others
    // A proxy may say that the server isn't there yet.
    if (answer && answer.status < 500) this.#open();
    else this.#retry(false);
  }

  #found() {
    this.#clear();
    this.#seeking = false;
    this.dispatchEvent(new Event("up"));
  }

  #open() {
    this.#clear();
    this.#drop(this.#attempt);
    let socket;
    try {
      socket = new WebSocket(this.#url());
    } catch {
      return this.#finish(0);
    }
    this.#attempt = socket;
    const patience = PATIENCE[Math.min(this.#tries++, PATIENCE.length - 1)];
    this.#timer = setTimeout(() => this.#lost(socket), patience);
    socket.onopen = async () => {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#lost(socket), WELCOME_WITHIN);
      const hello = await this.#hello();
      if (socket === this.#attempt && socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(hello));
    };
    socket.onmessage = (event) => this.#heard(socket, event.data);
    socket.onclose = (event) => this.#closed(socket, event.code);
  }

  #heard(socket, text) {
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      return;
    }
    if (socket === this.#attempt && message.type === "welcome") {
      this.#drop(this.#current);
      this.#current = socket;
      this.#attempt = null;
      this.#upAt = performance.now();
      this.#found();
    }
    if (message.type === "pong" && socket === this.#current) {
      // A late pong: whichever answers is good enough, unless the new one has already said hello.
      this.#pongAt = performance.now();
      this.#forgetPing();
      if (this.#seeking && this.#attempt?.readyState !== WebSocket.OPEN) {
        this.#drop(this.#attempt);
        this.#attempt = null;
        this.#found();
      }
    }
    this.dispatchEvent(new CustomEvent("message", { detail: message }));
  }

  #closed(socket, code) {
    const wasCurrent = socket === this.#current;
    if (wasCurrent) this.#current = null;
    else if (socket === this.#attempt) this.#attempt = null;
    else return;
    this.#asks = ALWAYS_ASKS || !wasCurrent; // refused, rather than given up
    if (wasCurrent) this.#forgetPing();
    // The former one, closed by the server because the new one has said hello.
    if (wasCurrent && this.#attempt && code === ELSEWHERE) return;
    if ([ELSEWHERE, OVER, HOSTILE].includes(code)) return this.#finish(code);
    if (code === TOKEN) return void this.#getToken();
    if (wasCurrent && code === GOING_AWAY) this.dispatchEvent(new Event("away"));
    if (wasCurrent && this.#seeking) return;
    if (wasCurrent) this.dispatchEvent(new Event("down"));
    this.#retry(wasCurrent);
  }

  async #getToken() {
    this.#clear();
    if (this.#attempt) {
      this.#drop(this.#attempt);
      this.#attempt = null;
    }
    try {
      await this.#renew();
    } catch (refusal) {
      if (refusal.status && refusal.status < 500 && refusal.status !== 429) return this.#finish(TOKEN, refusal);
    }
    if (!this.#stopped) this.#retry(false);
  }

  #lost(socket) {
    if (socket !== this.#attempt) return;
    this.#drop(socket);
    this.#attempt = null;
    this.#asks = ALWAYS_ASKS;
    this.#retry(false);
  }

  #retry(atOnce) {
    if (this.#stopped) return;
    this.#clear();
    if (!this.#seeking) this.#tries = 0;
    this.#seeking = true;
    const passed = performance.now() - this.#startedAt;
    // Not all pages in the same millisecond when a server comes back.
    const wait = atOnce && passed > RETRY_EVERY ? Math.random() * 250 : Math.max(0, RETRY_EVERY - passed);
    this.#timer = setTimeout(() => void this.#try(), wait);
  }

  #finish(code, refusal) {
    this.stop();
    this.dispatchEvent(new CustomEvent("over", { detail: { code, refusal } }));
  }

  #forgetPing() {
    if (this.#ping) clearTimeout(this.#ping.timer);
    this.#ping = null;
  }

  #clear() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#asking?.abort();
    this.#asking = null;
  }

  #drop(socket) {
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    if (socket === this.#current) this.#forgetPing();
    socket.close();
  }
}
