// A page's Visit outside of a browser: node visit_of_a_page.mjs FOLDER-OF-MODULES; prints what it says of itself as JSON.

import { mock } from "node:test";
import { pathToFileURL } from "node:url";

mock.timers.enable({ apis: ["setTimeout", "setInterval"] });

// What these modules ask of a browser before anything is shown: whatever it answers is all the same.
const anything = () =>
  new Proxy(function () {}, {
    get: (_, key) => (key === Symbol.toPrimitive ? () => "" : anything()),
    set: () => true,
    apply: anything,
    construct: anything,
  });
for (const name of ["document", "localStorage", "sessionStorage", "location"]) {
  Object.defineProperty(globalThis, name, { value: anything(), configurable: true });
}
Object.defineProperty(globalThis, "navigator", { value: { userAgent: "", languages: ["sv"] }, configurable: true });
globalThis.addEventListener = () => undefined;
globalThis.fetch = async () => ({ status: 200 });

let server; // the newest websocket, as its other end
let ends = false; // it takes nobody any more
globalThis.WebSocket = class {
  static OPEN = 1;
  readyState = 0;
  constructor() {
    server = this;
    queueMicrotask(() => ((this.readyState = 1), this.onopen?.()));
  }
  send(text) {
    const { type, id } = JSON.parse(text);
    if (type === "hello") queueMicrotask(() => this.answers());
    if (type === "ping") this.says({ type: "pong", id });
  }
  answers() {
    if (ends) {
      this.says({ type: "error", code: "unavailable", detail: "", re: "hello" });
      this.closed(1013);
      return;
    }
    this.says({ type: "welcome", room: { form: "phone" }, participant: { id: "p" }, send: {}, media: "new" });
    this.says({ type: "waiting", since: "2030-01-01T00:00:00Z", staff_present: false });
  }
  says(message) {
    this.onmessage?.({ data: JSON.stringify(message) });
  }
  close() {}
  closed(code) {
    this.readyState = 3;
    this.onclose?.({ code });
  }
};

const { Visit } = await import(pathToFileURL(`${process.argv[2]}/visit.js`));
const devices = Object.assign(new EventTarget(), { start() {}, stop() {}, capture() {}, tracks: {}, wanted: {} });
const visit = new Visit({
  doorway: {},
  session: { token: "vrs_x", websocket_url: "ws://house/" },
  devices,
  slots: { attach() {}, hush() {}, update() {}, cameraOff() {} },
});
const said = [];
let news = 0;
visit.addEventListener("network", () => news++);
const note = (what) => {
  said.push([what, visit.online, visit.restarting, news > 0]);
  news = 0;
};
const settle = () => new Promise((resolve) => setImmediate(resolve));
const pass = async (seconds) => {
  for (let passed = 0; passed < seconds; passed += 0.5) {
    mock.timers.tick(500);
    await settle();
  }
};
const there = async () => {
  while (!visit.online) await pass(0.5);
  note("there");
};
const closed = (code) => {
  server.closed(code);
  note(`closed by ${code}`);
};

visit.join();
await settle();
note("there");
server.says({ type: "stopping", at: "2030-01-01T01:00:00Z" });
note("ends within an hour");
closed(1006);
await there();
ends = true;
closed(1001);
await pass(20);
note("20 s later");
await pass(15);
note("35 s later");
ends = false;
await there();
closed(1001);
visit.leave();
note("left");
process.stdout.write(JSON.stringify(said));
