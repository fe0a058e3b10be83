// Logging in by a provider from the waiting page: in this tab, or, inside somebody else's page, in a window of its own.

import { el, show } from "./dom.js";
import { bind, language } from "./i18n.js";
import { call } from "./session.js";
import { button } from "./shell.js";

export const MESSAGE = "vardrum-login";
export const POPUP = "vardrum:login-popup";
export const BEGAN_AT = "vardrum:login-from";
export const OUTCOME = "vardrum:login";

const REASONS = ["expired", "browser", "cancelled", "level", "failed", "unavailable"];
const LOOKS = 1000; // ms between looks at whether the window is still open

/** What a login in this tab has come to, once: {code, error}, or null. */
export function takeOutcome() {
  try {
    const kept = sessionStorage.getItem(OUTCOME);
    sessionStorage.removeItem(OUTCOME);
    sessionStorage.removeItem(BEGAN_AT);
    return kept ? JSON.parse(kept) : null;
  } catch {
    return null;
  }
}

/**
 * One person's logins. Event "change". `state`: "idle", "starting", "elsewhere" (in the other window), "finishing",
 * "done", "other" (another person than expected), "low" (recorded, but not enough), or "failed" with `reason`.
 */
export class Eid extends EventTarget {
  state = "idle";
  reason = null;
  providers;
  #token;
  #provider = null;
  #window = null;
  #timer = 0;
  #onMessage = (event) => this.#heard(event);

  /** @param providers [{provider, label}] that the session may log in by, @param token () => the session's token */
  constructor(providers, token) {
    super();
    this.providers = providers;
    this.#token = token;
    const outcome = takeOutcome();
    if (outcome) void this.#came(outcome);
    // Who presses "back" at the provider finds this page as they left it.
    addEventListener("pageshow", ({ persisted }) => persisted && this.state === "starting" && this.#to("idle"));
  }

  /** Whether there is anything to say of it. */
  get offered() {
    return this.providers.length > 0 || this.state !== "idle";
  }

  start(provider) {
    this.#provider = provider;
    if (window.top !== window) return this.#startInWindow();
    this.#to("starting");
    const body = { language: language() };
    call("POST", `/v1/oidc/${encodeURIComponent(provider)}/start`, { token: this.#token(), body, cookies: true }).then(
      (started) => {
        sessionStorage.setItem(BEGAN_AT, location.pathname);
        location.assign(started.location);
      },
      ({ status }) => this.#fail(status === 0 || status >= 500 ? "unavailable" : "failed"),
    );
  }

  // Cookies of a page inside another's aren't those of a window of its own, so that one begins by itself.
  #startInWindow() {
    this.#close();
    this.#window = open("/login", "vardrum-login", "popup,width=480,height=760");
    if (!this.#window) return this.#fail("window");
    addEventListener("message", this.#onMessage);
    this.#timer = setInterval(() => this.#window?.closed && this.state === "elsewhere" && this.#fail("cancelled"), LOOKS);
    this.#to("elsewhere");
  }

  #heard({ origin, source, data }) {
    if (origin !== location.origin || source !== this.#window || data?.type !== MESSAGE) return;
    if (data.ready) {
      const start = { provider: this.#provider, token: this.#token(), language: language() };
      source.postMessage({ type: MESSAGE, start }, location.origin);
    } else if (data.outcome) {
      this.#close();
      void this.#came(data.outcome);
    }
  }

  async #came({ code, error }) {
    if (typeof code !== "string") return this.#fail(REASONS.includes(error) ? error : "failed");
    this.#to("finishing");
    try {
      // Whose provider it was doesn't matter to the code.
      const provider = this.#provider ?? this.providers[0]?.provider ?? "eid";
      const path = `/v1/oidc/${encodeURIComponent(provider)}/finish`;
      const done = await call("POST", path, { token: this.#token(), body: { code } });
      if (done.counts) this.providers = [];
      this.#to(done.counts ? "done" : done.expected ? "low" : "other");
    } catch ({ status }) {
      this.#fail(status === 0 || status >= 500 ? "unavailable" : "expired");
    }
  }

  #close() {
    clearInterval(this.#timer);
    removeEventListener("message", this.#onMessage);
    this.#window?.close();
    this.#window = null;
  }

  #fail(reason) {
    clearInterval(this.#timer);
    this.reason = reason;
    this.#to("failed");
  }

  #to(state) {
    this.state = state;
    this.dispatchEvent(new Event("change"));
  }
}

/** The part of the waiting page about it. @returns {element, close} */
export function eidCard(eid) {
  const lead = el("p", {});
  const said = el("p", { class: "eid-said", role: "status", testid: "eid-state" });
  const buttons = el(
    "div",
    { class: "actions" },
    eid.providers.map(({ provider, label }) =>
      button(["eid.button", { label }], {
        kind: "primary", symbol: "id", testid: `log-in-${provider}`, click: () => eid.start(provider),
      })),
  );
  const element = el("section", { class: "card eid", testid: "eid" }, el("h2", { t: "eid.title" }), lead, said, buttons);
  const update = () => {
    const { state } = eid;
    element.dataset.state = state;
    const busy = ["starting", "elsewhere", "finishing"].includes(state);
    show(element, eid.offered);
    show(buttons, eid.providers.length > 0 && state !== "done");
    for (const one of buttons.children) one.disabled = busy && state !== "elsewhere";
    bind(lead, state === "done" ? "nothing" : "eid.lead");
    show(lead, state !== "done");
    show(said, state !== "idle");
    bind(said, state === "failed" ? `eid.failed.${eid.reason}` : state === "idle" ? "nothing" : `eid.${state}`);
  };
  eid.addEventListener("change", update);
  update();
  return { element, close: () => eid.removeEventListener("change", update) };
}
