// What is on screen and how large, for the server to send just that.

const SETTLE = 120; // a window that is being dragged
const HIDDEN_FOR = 10000; // somebody who looks into another tab for a moment wants the pictures back at once
// Heights that cameras send layers of. A picture may be drawn a fifth larger than it is before a larger one is worth it.
const STEPS = [90, 180, 240, 360, 480, 540, 720, 1080];
const STRETCH = 1.2;

/**
 * The wish for a picture in a tile: pixels of its shorter side, as drawn on this screen.
 * @param tile {width, height} in CSS pixels, @param picture {width, height} as the video is, @param ratio device pixels
 * per CSS pixel, @param cover whether the picture fills the tile (else it fits into it), @param sharp for letters on a
 * screen, which bear no stretching
 */
export function wishedHeight(tile, picture, ratio, cover, sharp = false) {
  const width = picture.width || 16;
  const height = picture.height || 9;
  const scales = [tile.width / width, tile.height / height];
  const scale = cover ? Math.max(...scales) : Math.min(...scales);
  const drawn = Math.min(width, height) * scale * ratio;
  return STEPS.find((step) => drawn <= step * (sharp ? 1 : STRETCH)) ?? Math.min(2160, Math.ceil(drawn));
}

export class Wishes {
  #say;
  #read;
  #timer = 0;
  #hiddenTimer = 0;
  #hidden = false;
  #told = null;
  last = { show: [] };

  /** @param say sends a message, @param read () => {show, pin?} as it is on screen now */
  constructor(say, read) {
    this.#say = say;
    this.#read = read;
    document.addEventListener("visibilitychange", () => this.#seen());
  }

  /** Something has changed on screen. `urgent`: somebody waits to be shown. */
  changed(urgent = false) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#tell(), urgent ? 0 : SETTLE);
  }

  /** The server may have forgotten: says all of it again. */
  again() {
    this.#told = null;
    this.changed(true);
  }

  #tell() {
    const wishes = this.#hidden ? { show: [] } : this.#read();
    const text = JSON.stringify(wishes);
    if (text === this.#told) return;
    if (!this.#say({ type: "wishes", ...wishes })) return;
    this.#told = text;
    this.last = wishes;
  }

  #seen() {
    clearTimeout(this.#hiddenTimer);
    if (document.hidden) this.#hiddenTimer = setTimeout(() => this.#hide(true), HIDDEN_FOR);
    else this.#hide(false);
  }

  #hide(hidden) {
    this.#hidden = hidden;
    this.changed(true);
  }
}
