// The portal's page around this one, where the visit is in a frame: it is told where the person is, never who they are,
// and may say a little. The server lets nobody frame the page but the tenant's portals (frame-ancestors); on top of that
// each side names the other's origin exactly.

export class Portal {
  #origin;

  /** @param origin of the page around this one, as that page said; nothing where there is none */
  constructor(origin) {
    this.#origin = window.parent !== window && origin ? origin : null;
  }

  /** Whether this page is in a portal's frame. */
  get around() {
    return this.#origin !== null;
  }

  /** Tells `type`, one of embed.js's EVENTS; `more` is {code} of an error. To another origin the browser won't give it. */
  say(type, more = {}) {
    if (this.around) window.parent.postMessage({ vardrum: { type, ...more } }, this.#origin);
  }

  /** Hears the element's commands. @param commands {leave: () => void, lang: ({lang}) => void} */
  listen(commands) {
    addEventListener("message", ({ source, origin, data }) => {
      if (!this.around || source !== window.parent || origin !== this.#origin) return;
      const { type, ...rest } = data?.vardrum ?? {};
      if (Object.hasOwn(commands, type)) commands[type](rest);
    });
  }
}
