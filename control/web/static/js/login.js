// The page on both sides of a login by a provider. Nothing here identifies anybody: what comes back is a one-time code,
// good only for the session that began, and it goes to that session's page: in the window that opened this one, or in
// this very tab.

import { onLanguage, prefer, t } from "./i18n.js";
import { BEGAN_AT, MESSAGE, OUTCOME, POPUP } from "./eid.js";
import { call } from "./session.js";
import { button, card, Shell } from "./shell.js";

const shell = new Shell();
document.getElementById("page").replaceChildren(shell.element);
onLanguage(title);

const told = new URLSearchParams(location.hash.slice(1));
history.replaceState(null, "", location.pathname);
if (told.has("code") || told.has("error")) back({ code: told.get("code"), error: told.get("error") });
else begin();

function title() {
  document.title = t("eid.page");
}

function say(tone, heading, lines, actions = []) {
  shell.put(card({ symbol: tone === "good" ? "check" : "info", tone, title: heading, lines, actions, testid: "login" }));
}

// A window of its own, opened by a page inside somebody else's: it asks its opener for what it needs to begin.
function begin() {
  if (!opener) return say("warn", "eid.lost", ["eid.lost-1"]);
  keep(POPUP, "1");
  say("calm", "eid.page", ["open.text"]);
  addEventListener("message", ({ origin, source, data }) => {
    if (origin !== location.origin || source !== opener || data?.type !== MESSAGE || !data.start) return;
    const { provider, token, language } = data.start;
    void prefer(language);
    call("POST", `/v1/oidc/${encodeURIComponent(provider)}/start`, { token, body: { language }, cookies: true }).then(
      (started) => location.assign(started.location),
      ({ status }) => back({ code: null, error: status === 0 || status >= 500 ? "unavailable" : "failed" }),
    );
  });
  opener.postMessage({ type: MESSAGE, ready: true }, location.origin);
}

function back(outcome) {
  if (read(POPUP)) {
    if (!opener) return say("warn", "eid.lost", ["eid.lost-1"]);
    opener.postMessage({ type: MESSAGE, outcome }, location.origin);
    say(outcome.code ? "good" : "calm", "eid.back", ["eid.close"], [button("close", { click: () => close() })]);
    close();
    return;
  }
  const from = read(BEGAN_AT);
  // Only a path of ours: whatever else stands there nobody wrote who began a login.
  if (!from || !/^\/j\/[a-z0-9-]+$/u.test(from)) {
    return say("warn", `eid.failed.${outcome.error ?? "browser"}`, ["eid.elsewhere-1"]);
  }
  keep(OUTCOME, JSON.stringify(outcome));
  location.replace(from);
}

function keep(name, value) {
  try {
    sessionStorage.setItem(name, value);
  } catch {
    // Without storage this tab can't find back by itself; the card says what to do then.
  }
}

function read(name) {
  try {
    return sessionStorage.getItem(name);
  } catch {
    return null;
  }
}

