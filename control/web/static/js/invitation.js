// Inviting somebody in mid-visit: a name, a role, and a link that is shown once.

import { openDialog } from "./dialog.js";
import { el, setText, show } from "./dom.js";
import { bind, t } from "./i18n.js";
import { call } from "./session.js";
import { button } from "./shell.js";

const ROLES = ["relative", "interpreter", "caregiver", "other"];

export function askInvitation(visit) {
  const name = el("input", { id: "invite-name", testid: "invite-name", maxlength: "200", dir: "auto", autocomplete: "off", required: true });
  const role = el(
    "select",
    { id: "invite-role", testid: "invite-role" },
    ROLES.map((one) => el("option", { value: one, t: `role.${one}` })),
  );
  const wrong = el("p", { class: "wrong", role: "alert", hidden: true });
  const link = el("input", { id: "invite-link", testid: "invite-link", dir: "ltr", readonly: true });
  const copy = button("invite.copy", { kind: "primary", symbol: "copy", testid: "copy-link", click: () => void copied() });
  const done = el(
    "div",
    { class: "invited", hidden: true, "aria-live": "polite" },
    el("p", { t: "invite.done" }),
    el("div", { class: "field" }, el("label", { for: "invite-link", t: "invite.link" }), link),
    copy,
  );
  const make = button("invite.make", { kind: "primary", testid: "make-link", type: "submit" });
  const form = el(
    "form",
    { class: "invite", on: { submit: (event) => (event.preventDefault(), void submit()) } },
    el("p", { t: "invite.text" }),
    el("div", { class: "field" }, el("label", { for: "invite-name", t: "invite.name" }), name),
    el("div", { class: "field" }, el("label", { for: "invite-role", t: "invite.role" }), role),
    wrong,
    el("div", { class: "actions" }, make),
  );
  openDialog({ title: "invite.title", testid: "invite", body: [form, done] });
  name.focus();

  async function submit() {
    if (!name.value.trim()) return name.focus();
    make.disabled = true;
    show(wrong, false);
    try {
      const body = { role: role.value, display_name: name.value.trim() };
      const path = `/v1/rooms/${encodeURIComponent(visit.roomId)}/participants`;
      const participant = await call("POST", path, { body, token: visit.token });
      link.value = participant.join_url;
      show(form, false);
      show(done, true);
      copy.focus();
      link.select();
    } catch (refusal) {
      const key = `refusal.${refusal.name}`;
      setText(wrong, t(key) === key ? t("refusal.other") : t(key));
      show(wrong, true);
    } finally {
      make.disabled = false;
    }
  }

  async function copied() {
    try {
      await navigator.clipboard.writeText(link.value);
    } catch {
      link.select(); // then Ctrl+C does it
      return;
    }
    bind(copy.querySelector("span"), "invite.copied");
  }
}
