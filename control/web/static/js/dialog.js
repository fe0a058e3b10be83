// Questions that stop for an answer, on the browser's own <dialog>: it keeps the focus inside, and Escape closes it.

import { el } from "./dom.js";
import { icon } from "./icons.js";
import { button } from "./shell.js";

/**
 * Opens a dialog. @param title key, @param body nodes, @param actions nodes, @param closed called once it is gone
 * @returns the <dialog>
 */
export function openDialog({ title, body = [], actions = [], testid, closed }) {
  const close = el(
    "button",
    { class: "round small", type: "button", label: "close", on: { click: () => dialog.close() } },
    icon("close"),
  );
  const heading = el("h2", { t: title, id: `dialog-${testid}` });
  const dialog = el(
    "dialog",
    { class: "dialog", testid: `dialog-${testid}`, "aria-labelledby": heading.id },
    el("header", {}, heading, close),
    el("div", { class: "dialog-body" }, body),
    actions.length > 0 && el("footer", { class: "actions" }, actions),
  );
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("close", () => {
    dialog.remove();
    closed?.();
  });
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/** Asks before something that can't be taken back lightly. */
export function confirm({ title, text, yes, kind = "danger", testid, act }) {
  const dialog = openDialog({
    title,
    testid,
    body: [el("p", { t: text })],
    actions: [
      button("cancel", { kind: "secondary", testid: "cancel", click: () => dialog.close() }),
      button(yes, {
        kind, testid: `confirm-${testid}`,
        click: () => {
          dialog.close();
          act();
        },
      }),
    ],
  });
}
