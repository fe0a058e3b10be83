// <vardrum-visit token="…">: a video visit inside a portal's page.
//
//   <script type="module" src="https://video.region.example/embed.js"></script>
//   <vardrum-visit token="vre_…" lang="sv"></vardrum-visit>
//
// Attributes: `token`, an embed_token that the portal's server got for whom it has logged in (good once, for 60 s; a new
// one starts over), and `lang`: "sv", "en", "fi" or "ar". `leave()` leaves the visit; `state` is the last event's name. Taken out of
// the page it is as when a tab is closed: the place is kept for five minutes. Events (`vardrum:…`) go up through shadow
// roots and say where the person is, never who: see EVENTS. `detail` is {code} for an error and {} otherwise.
//
// The visit runs in a frame of the server that this module came from. What it needs of the portal's page is ALLOW.

const SERVER = new URL(import.meta.url).origin;
const TOKEN = /^vre_[\w-]+\.([a-z0-9][a-z0-9-]{0,62})\.part_[0-9a-f-]{36}$/u;
const LOADS_WITHIN = 20000;
// What the frame is called for those who hear the portal's page read out.
const TITLES = { sv: "Videobesök", en: "Video visit", fi: "Videokäynti", ar: "زيارة عبر الفيديو" };

export const ALLOW = [
  "camera", "microphone", "display-capture", "autoplay", "fullscreen", "screen-wake-lock", "speaker-selection",
  "clipboard-write",
];

export const EVENTS = [
  "ready", // the frame has loaded; the person checks camera and microphone
  "waiting", "identifying", "held", "admitted", // where they are in the visit
  "denied", "removed", "ended", "left", // how it went out
  "elsewhere", "replaced", // this person is in the visit in another tab, or in another browser
  "error", // {code}: the name of a problem, such as "token-not-accepted"; or "unreachable" or "not-loaded"
];

const layout = new CSSStyleSheet();
layout.replaceSync(`
  :host { display: block; block-size: 40rem; max-block-size: 100vh; }
  :host([hidden]) { display: none; }
  iframe { display: block; inline-size: 100%; block-size: 100%; border: 0; }
`);

export class VardrumVisit extends HTMLElement {
  static observedAttributes = ["token", "lang"];
  #root = this.attachShadow({ mode: "open" });
  #frame = null;
  #state = "";
  #timer = 0;
  #heard = (event) => this.#hear(event);

  constructor() {
    super();
    this.#root.adoptedStyleSheets = [layout];
  }

  get token() {
    return this.getAttribute("token") ?? "";
  }

  set token(token) {
    this.setAttribute("token", token);
  }

  get state() {
    return this.#state;
  }

  /** Leaves the visit, as by its own button; one can come back. False where there is no visit to leave. */
  leave() {
    return this.#say({ type: "leave" });
  }

  connectedCallback() {
    addEventListener("message", this.#heard);
    this.#open();
  }

  /** Moved by `moveBefore`, which keeps the frame. */
  connectedMoveCallback() {}

  disconnectedCallback() {
    removeEventListener("message", this.#heard);
    this.#close();
  }

  attributeChangedCallback(name, former, value) {
    if (!this.isConnected || former === value) return;
    if (name === "token") this.#open();
    else if (this.#frame) {
      this.#frame.title = this.#title();
      this.#say({ type: "lang", lang: value ?? "" });
    }
  }

  #open() {
    this.#close();
    if (!this.token) return; // it may come later
    const tenant = TOKEN.exec(this.token)?.[1];
    if (!tenant) {
      // Not before whoever made the element has had a chance to listen.
      queueMicrotask(() => this.#tell("error", { code: "token-not-accepted" }));
      return;
    }
    const frame = document.createElement("iframe");
    frame.allow = ALLOW.join("; ");
    frame.referrerPolicy = "no-referrer";
    frame.title = this.#title();
    // A fragment is never sent: the token stands in nobody's log.
    const said = new URLSearchParams({ embed_token: this.token, portal: location.origin, lang: this.lang });
    frame.src = `${SERVER}/j/${tenant}#${said}`;
    this.#frame = frame;
    this.#timer = setTimeout(() => this.#tell("error", { code: "not-loaded" }), LOADS_WITHIN);
    this.#root.replaceChildren(frame);
  }

  #close() {
    clearTimeout(this.#timer);
    this.#frame?.remove();
    this.#frame = null;
    this.#state = "";
  }

  #title() {
    return TITLES[this.lang.split("-")[0].toLowerCase()] ?? TITLES.sv;
  }

  #say(command) {
    const frame = this.#frame?.contentWindow;
    if (!frame || !this.#state) return false; // nobody is listening there yet
    frame.postMessage({ vardrum: command }, SERVER);
    return true;
  }

  #hear({ source, origin, data }) {
    if (!this.#frame || source !== this.#frame.contentWindow || origin !== SERVER) return;
    const { type, code } = data?.vardrum ?? {};
    if (!EVENTS.includes(type)) return;
    clearTimeout(this.#timer);
    this.#tell(type, type === "error" ? { code: String(code) } : {});
  }

  #tell(type, detail = {}) {
    this.#state = type;
    this.dispatchEvent(new CustomEvent(`vardrum:${type}`, { detail, bubbles: true, composed: true }));
  }
}

// A page may load this module twice, by two addresses.
if (!customElements.get("vardrum-visit")) customElements.define("vardrum-visit", VardrumVisit);
