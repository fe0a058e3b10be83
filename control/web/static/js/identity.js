// How somebody was identified, as a host records it.

import { openDialog } from "./dialog.js";
import { el, show } from "./dom.js";
import { button } from "./shell.js";

const DOCUMENTS = ["passport", "identity_card", "driving_licence", "other"];

/** @param entry of the queue, @param options {thenAdmit}: admits once it is recorded */
export function askIdentity(visit, entry, { thenAdmit = false } = {}) {
  const choice = (method) => {
    const input = el("input", { type: "radio", name: "method", value: method, testid: `method-${method}` });
    return el("label", { class: "option" }, input, el("span", { t: `identity.choose.${method}` }));
  };
  const methods = el("fieldset", {}, el("legend", { t: "identity.how" }), choice("document"), choice("known_in_person"));
  const select = el(
    "select",
    { id: "document-type", testid: "document-type" },
    DOCUMENTS.map((type) => el("option", { value: type, t: `document.${type}` })),
  );
  const which = el("div", { class: "field" }, el("label", { for: "document-type", t: "identity.which" }), select);
  const update = () => show(which, methods.querySelector("input:checked")?.value === "document");
  methods.querySelector("input").checked = true;
  methods.addEventListener("change", update);
  update();
  const { participant, session } = entry;
  const dialog = openDialog({
    title: ["identity.title", { name: entry.display_name }],
    testid: "identity",
    body: [el("p", { t: thenAdmit ? "identity.needed" : "identity.text" }), methods, which],
    actions: [
      button("cancel", { click: () => dialog.close() }),
      button(thenAdmit ? "identity.save-admit" : "identity.save", {
        kind: "primary", testid: "save-identity",
        click: () => {
          const method = methods.querySelector("input:checked").value;
          const said = { type: "identity", participant, session, method };
          visit.say(method === "document" ? { ...said, document_type: select.value } : said);
          if (thenAdmit) visit.say({ type: "admit", participant, session });
          dialog.close();
        },
      }),
    ],
  });
}
