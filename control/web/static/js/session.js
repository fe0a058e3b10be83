// A person's session: the link's secret for a token, and the secret with which this browser comes back.
//
// The invite stands in the URL's fragment, which browsers never send. It goes to POST /v1/sessions and nowhere else, and
// leaves the address bar as soon as it has been accepted. What stays is a resume secret in this browser's storage, under
// a hash of the invite: another link in the same browser is another person.

const STORE = "vardrum:session:";

/** A refused call. `name` is the last part of the problem's type, such as "not-open-yet"; `status` 0: no answer. */
export class Refusal extends Error {
  constructor(status, problem = {}) {
    super(problem.detail || problem.title || `HTTP ${status}`);
    this.status = status;
    this.problem = problem;
    this.name = String(problem.type ?? "").split("/").pop() || (status ? `http-${status}` : "unreachable");
  }
}

/** Calls the server; answers the JSON body, or throws Refusal. Only logins have a cookie, which binds them to this browser. */
export async function call(method, path, { body, token, cookies = false, timeout = 15000, signal } = {}) {
  let response;
  try {
    response = await fetch(path, {
      method,
      headers: {
        ...(body === undefined ? {} : { "Content-Type": "application/json" }),
        ...(token ? { Authorization: `Bearer ${token}` } : {}),
      },
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: cookies ? "same-origin" : "omit",
      cache: "no-store",
      referrerPolicy: "no-referrer",
      signal: signal ?? AbortSignal.timeout(timeout),
    });
  } catch {
    throw new Refusal(0);
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Refusal(response.status, answer);
  return answer;
}

/**
 * What the address says: which tenant, and with which link. `key` names this person in the browser's storage; it comes
 * from the history entry when the secret has already left the address bar. An embed_token names its participant, so that
 * a new one finds what the former has left. `portal` (an origin) and `lang` are said by <vardrum-visit>.
 */
export async function readAddress() {
  const tenant = decodeURIComponent(location.pathname.split("/")[2] ?? "");
  const fragment = location.hash.slice(1);
  if (fragment.startsWith("embed_token=")) {
    const said = new URLSearchParams(fragment);
    const embedToken = said.get("embed_token");
    return { tenant, key: embedToken.split(".")[2], embedToken, portal: said.get("portal"), lang: said.get("lang") };
  }
  if (fragment) return { tenant, key: await nameOf(tenant, fragment), invite: fragment };
  return { tenant, key: history.state?.vardrum ?? last(tenant), portal: history.state?.portal };
}

function last(tenant) {
  try {
    return sessionStorage.getItem(STORE + tenant);
  } catch {
    return null; // a frame may be denied storage altogether
  }
}

async function nameOf(tenant, secret) {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(`${tenant}\n${secret}`));
  return [...new Uint8Array(digest).slice(0, 16)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** One person's sessions in this browser. */
export class Doorway {
  #address;
  #kept; // where storage is forbidden, this page remembers by itself

  /** @param address what readAddress() gave */
  constructor(address) {
    this.#address = address;
    this.#kept = this.#read();
  }

  /** Whether this browser has pressed "join" before and not left since: then it goes straight back in. */
  get joined() {
    return this.#kept.joined === true;
  }

  set joined(joined) {
    this.#write({ ...this.#kept, joined });
  }

  /** {microphone, camera}: what was off last; a reload must not turn a microphone on. */
  get muted() {
    return { microphone: false, camera: false, ...this.#kept.muted };
  }

  set muted(muted) {
    this.#write({ ...this.#kept, muted: { ...muted } });
  }

  /** Whether this person has said what they thought of the visit. */
  get rated() {
    return this.#kept.rated === true;
  }

  set rated(rated) {
    this.#write({ ...this.#kept, rated });
  }

  /** Whether there is anything to come in with. */
  get possible() {
    return Boolean(this.#kept.resume || this.#address.invite || this.#address.embedToken);
  }

  /**
   * A session: {id, token, resume, websocket_url, room, participant, expires_at}. With the resume secret where there is
   * one; where that isn't accepted any more, with the link. An embed_token goes first, with the resume secret beside it:
   * the portal may know more of the person now. Throws Refusal.
   */
  async open() {
    const { resume } = this.#kept;
    const { invite, embedToken } = this.#address;
    if (embedToken) {
      try {
        const session = await call("POST", "/v1/sessions", { body: { embed_token: embedToken, ...(resume && { resume }) } });
        this.#address.embedToken = undefined; // it works once
        return this.#accepted(session);
      } catch (refusal) {
        if (refusal.status !== 401 || !resume) throw refusal;
        this.#address.embedToken = undefined; // a page that was loaded again has the former one
      }
    }
    if (resume) {
      try {
        return this.#accepted(await call("POST", "/v1/sessions", { body: { resume } }));
      } catch (refusal) {
        const forgotten = [401, 403, 404, 422].includes(refusal.status) || refusal.name === "session-replaced";
        if (!forgotten || !invite) throw refusal;
        this.#write({});
      }
    }
    if (!invite) throw new Refusal(404, { type: "/no-link" });
    return this.#accepted(await call("POST", "/v1/sessions", { body: { invite } }));
  }

  #accepted(session) {
    this.#address.key ??= `p-${session.id}`;
    this.#write({ ...this.#kept, resume: session.resume });
    const { key, portal } = this.#address;
    history.replaceState({ ...history.state, vardrum: key, portal }, "", location.pathname);
    return session;
  }

  /** Forgets this person: the visit is over. */
  forget() {
    this.#write({});
  }

  #name() {
    return `${STORE}${this.#address.tenant}:${this.#address.key}`;
  }

  #read() {
    try {
      return (this.#address.key && JSON.parse(localStorage.getItem(this.#name()))) || {};
    } catch {
      return {};
    }
  }

  #write(kept) {
    this.#kept = kept;
    try {
      if (kept.resume || kept.joined) localStorage.setItem(this.#name(), JSON.stringify(kept));
      else localStorage.removeItem(this.#name());
      sessionStorage.setItem(STORE + this.#address.tenant, this.#address.key);
    } catch {
      // Private windows may refuse: a reload then needs the link again.
    }
  }
}
