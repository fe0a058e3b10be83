// The stage: everybody else's picture, a shared screen, and oneself.

import { el, initials, keyed, setText, show } from "./dom.js";
import { bind, bindAttribute, onLanguage } from "./i18n.js";
import { icon, setIcon } from "./icons.js";
import { arrange } from "./layout.js";
import { whoseFault, whyStill } from "./quality.js";
import { Wishes, wishedHeight } from "./wishes.js";

export class Stage {
  element;
  wishes;
  #visit;
  #slots;
  #devices;
  #tiles;
  #self;
  #empty;
  #said;
  #pinned = null;

  constructor({ visit, slots, devices }) {
    this.#visit = visit;
    this.#slots = slots;
    this.#devices = devices;
    this.#tiles = el("div", { class: "tiles" });
    this.#said = el("span");
    this.#empty = el("p", { class: "stage-empty" }, this.#said);
    this.#self = new SelfView();
    this.element = el("section", { class: "stage", label: "stage.label" }, this.#empty, this.#tiles, this.#self.element);
    this.wishes = new Wishes(
      (message) => visit.video && ["identifying", "admitted"].includes(visit.state) && visit.say(message),
      () => this.#wished(),
    );
    new ResizeObserver(() => this.#arrange()).observe(this.element);
    slots.addEventListener("change", () => this.update());
    visit.addEventListener("people", () => this.update());
    visit.addEventListener("quality", () => this.update());
    visit.addEventListener("state", () => this.wishes.again());
    devices.addEventListener("change", () => this.update());
    onLanguage(() => this.#arrange());
    this.update();
  }

  /** Who is on stage: {participant, source, name, muted, …}, a shared screen first. */
  #shown() {
    const { others, me } = this.#visit;
    const people = new Map(others.map((one) => [one.id, one]));
    for (const slot of this.#slots.list) {
      // While somebody is being identified the two see each other, and nobody is admitted yet.
      if (!people.has(slot.participant) && slot.participant !== me?.id && slot.source !== "screen") {
        const name = this.#visit.nameOf(slot.participant);
        people.set(slot.participant, { id: slot.participant, display_name: name, connection: "connected" });
      }
    }
    const screens = this.#slots.list
      .filter((slot) => slot.source === "screen" && slot.participant !== me?.id)
      .map((slot) => ({ person: people.get(slot.participant) ?? { id: slot.participant }, source: "screen" }));
    return [...screens, ...[...people.values()].map((person) => ({ person, source: "camera" }))];
  }

  update() {
    const shown = this.#shown();
    const keyOf = ({ person, source }) => `${source} ${person.id}`;
    const keys = new Set(shown.map(keyOf));
    for (const child of this.#tiles.children) {
      if (!keys.has(child.dataset.key)) this.#slots.forget(child.dataset.participant, child.dataset.source);
    }
    const before = this.#tiles.childElementCount;
    keyed(this.#tiles, shown, keyOf, (one) => this.#make(one), (tile, one) => this.#refresh(tile, one));
    if (this.#pinned && !keys.has(this.#pinned)) this.#pinned = null;
    show(this.#empty, shown.length === 0);
    bind(this.#said, this.#visit.state === "identifying" ? "stage.connecting" : "stage.alone");
    this.#self.update({
      track: this.#visit.muted.camera ? null : this.#devices.tracks.camera,
      mirrored: this.#visit.state !== "identifying",
      muted: this.#visit.video && (this.#visit.muted.microphone || !this.#devices.tracks.microphone),
      name: this.#visit.me?.display_name ?? "",
      speaking: this.#visit.speaking.includes(this.#visit.me?.id),
    });
    this.#arrange(this.#tiles.childElementCount !== before);
  }

  #make({ person, source }) {
    const picture = this.#slots.picture(person.id, source);
    const face = el("span", { class: "face" });
    const note = el("span", { class: "note" });
    const name = el("span", { class: "name" });
    const off = el("span", { class: "tag-icon" }, icon("mic-off"));
    const rest = el("p", { class: "rest", testid: "rest" });
    const weak = el("span", { class: "tag-icon weak", role: "img", testid: "weak" }, icon("network"));
    const hand = el("span", { class: "tag-icon raised" }, icon("hand"));
    const pin = el(
      "button",
      {
        class: "pin", type: "button", testid: "pin", "aria-pressed": "false",
        on: { click: () => this.#pin(`${source} ${person.id}`) },
      },
      icon("pin"),
    );
    const tile = el(
      "article",
      { class: `tile ${source}`, testid: "tile", "data-participant": person.id, "data-source": source },
      picture.video,
      picture.still,
      el("div", { class: "cover" }, face, note),
      rest,
      el("div", { class: "tag" }, off, hand, weak, name),
      pin,
    );
    tile.parts = { picture, face, note, rest, name, off, hand, weak, pin };
    return tile;
  }

  #refresh(tile, { person, source }) {
    const { picture, face, note, rest, name, off, hand, weak, pin } = tile.parts;
    const who = person.display_name || "";
    const screen = source === "screen";
    const quality = this.#visit.quality.of(person.id);
    const fault = screen ? null : whoseFault(quality);
    const { video } = this.#visit;
    const still = video ? whyStill(person, source, picture.state === "still", quality) : null;
    tile.dataset.picture = picture.state;
    tile.toggleAttribute("data-resting", still !== null);
    tile.dataset.speaking = String(!screen && this.#visit.speaking.includes(person.id));
    tile.dataset.connection = person.connection ?? "connected";
    if (screen) bind(name, "stage.screen-of", { name: who });
    else if (who) bind(name, "plain", { text: who });
    else bind(name, "stage.staff");
    setText(face, initials(who || name.textContent));
    show(face, !screen);
    bind(note, this.#noteOf(person, source, quality));
    show(rest, still !== null && picture.state !== "blank");
    if (still) bind(rest, still);
    show(off, video && !screen && person.muted?.microphone === true);
    show(pin, video);
    show(hand, !screen && person.hand === true);
    show(weak, fault !== null);
    if (fault) {
      setIcon(weak.firstElementChild, fault.endsWith("phone") ? "info" : "network");
      for (const attribute of ["aria-label", "title"]) bindAttribute(weak, attribute, fault);
    }
    const pinned = this.#pinned === tile.dataset.key;
    pin.setAttribute("aria-pressed", String(pinned));
    bindAttribute(pin, "aria-label", pinned ? "stage.unpin" : "stage.pin", { name: name.textContent });
    tile.classList.toggle("whole", this.#whole(tile));
  }

  // Why there is no picture at all.
  #noteOf(person, source, quality) {
    if (!this.#visit.video) return person.connection === "lost" ? "stage.lost" : "nothing";
    const still = whyStill(person, source, this.#slots.slotOf(person.id, source)?.paused, quality);
    if (still === "stage.lost") return still;
    if (source === "camera" && person.muted?.camera) return "stage.camera-off";
    return still ?? "stage.connecting";
  }

  // A document that is held up, and a screen, are shown whole; faces fill their tile.
  #whole(tile) {
    return tile.dataset.source === "screen" || this.#pinned === tile.dataset.key || this.#identifying(tile);
  }

  #identifying(tile) {
    if (this.#visit.state === "identifying") return true;
    const queued = this.#visit.queue.find((one) => one.participant === tile.dataset.participant);
    return queued?.state === "identifying";
  }

  #pin(key) {
    this.#pinned = this.#pinned === key ? null : key;
    this.update();
  }

  #main(tiles) {
    const pinned = tiles.findIndex((tile) => tile.dataset.key === this.#pinned);
    if (pinned >= 0) return pinned;
    const screen = tiles.findIndex((tile) => tile.dataset.source === "screen");
    if (screen >= 0) return screen;
    return tiles.length > 1 ? tiles.findIndex((tile) => this.#identifying(tile)) : -1;
  }

  #arrange(urgent = false) {
    const { clientWidth, clientHeight } = this.#tiles;
    if (!clientWidth || !clientHeight) return;
    const tiles = [...this.#tiles.children];
    const size = { width: clientWidth, height: clientHeight };
    const rects = arrange(size, tiles.length, { main: this.#main(tiles), self: this.#self.aspect });
    // Where one reads from the right, places are changed over and pictures are not.
    const over = document.documentElement.dir === "rtl" ? clientWidth : null;
    for (const [index, tile] of tiles.entries()) place(tile, rects.tiles[index], over);
    place(this.#self.element, rects.self, over);
    this.#self.element.classList.toggle("alone", tiles.length === 0);
    this.wishes.changed(urgent);
  }

  #wished() {
    const show = [...this.#tiles.children].map((tile) => {
      const { video } = tile.parts.picture;
      const rect = { width: tile.clientWidth, height: tile.clientHeight };
      const picture = { width: video.videoWidth, height: video.videoHeight };
      const cover = !tile.classList.contains("whole");
      const { participant, source } = tile.dataset;
      const sharp = source === "screen";
      return { participant, source, max_height: wishedHeight(rect, picture, devicePixelRatio || 1, cover, sharp) };
    });
    const pinned = [...this.#tiles.children].find((tile) => tile.dataset.key === this.#pinned);
    return pinned ? { show, pin: pinned.dataset.participant } : { show };
  }

  /** Plays every picture: the stage has been put on the page. */
  play() {
    for (const video of this.element.querySelectorAll("video")) void video.play().catch(() => undefined);
  }
}

function place(element, rect, over) {
  show(element, Boolean(rect));
  if (!rect) return;
  const x = over === null ? rect.x : over - rect.x - rect.width;
  element.style.transform = `translate(${Math.round(x)}px, ${Math.round(rect.y)}px)`;
  element.style.width = `${Math.round(rect.width)}px`;
  element.style.height = `${Math.round(rect.height)}px`;
}

/** One's own picture. */
export class SelfView {
  element;
  aspect = 16 / 9;
  #video;
  #face;
  #off;

  constructor() {
    this.#video = el("video", { autoplay: true, playsinline: true, "aria-hidden": "true", tabindex: "-1" });
    this.#video.muted = true;
    this.#video.addEventListener("resize", () => {
      const { videoWidth, videoHeight } = this.#video;
      if (videoWidth && videoHeight) this.aspect = Math.max(0.6, videoWidth / videoHeight);
    });
    this.#face = el("span", { class: "face" });
    this.#off = el("span", { class: "tag-icon" }, icon("mic-off"));
    this.element = el(
      "article",
      { class: "tile self", testid: "self-view", label: "stage.self" },
      this.#video,
      el("div", { class: "cover" }, this.#face),
      el("div", { class: "tag" }, this.#off, el("span", { class: "name", t: "stage.you" })),
    );
  }

  update({ track, mirrored, muted, name, speaking }) {
    const shown = this.#video.srcObject?.getVideoTracks()[0] ?? null;
    if (shown !== track) {
      this.#video.srcObject = track ? new MediaStream([track]) : null;
      if (track) void this.#video.play().catch(() => undefined);
    }
    setText(this.#face, initials(name));
    this.element.dataset.picture = track ? "live" : "blank";
    this.element.dataset.speaking = String(speaking);
    this.element.classList.toggle("mirrored", mirrored);
    show(this.#off, muted);
  }
}

