// A server that ends is back in some seconds, and pages say so; when it isn't, they say no more than of a lost network.

const A_MOMENT = 30000;

export class Restart {
  on = false; // the server has said that it ends, and should be back in a moment
  #timer = 0;
  #changed;

  /** @param changed called when `on` has become another */
  constructor(changed) {
    this.#changed = changed;
  }

  /** The server has closed, or refuses newcomers, since it ends. It may say so many times before it is `over`. */
  begin() {
    if (this.#timer) return;
    this.#timer = setTimeout(() => this.#to(false), A_MOMENT);
    this.#to(true);
  }

  /** A server has said welcome. */
  over() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#to(false);
  }

  #to(on) {
    if (on === this.on) return;
    this.on = on;
    this.#changed();
  }
}
