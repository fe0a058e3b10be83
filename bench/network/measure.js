// Put into every page of the lab before its own scripts: samples what the browser itself knows of its media, and lets
// people speak in turn. All times are in ms since the epoch, so that pages and the link can be set beside each other.
(() => {
  if (window.measure) return;
  const now = () => performance.timeOrigin + performance.now();
  const connections = [];
  const tracks = new Set();
  const measure = {
    samples: [], // {at, connection, slots, in, out, taken: frames that the camera gave}
    messages: [], // {at, …message} of what the server said about media
    firstPicture: null,
  };
  window.measure = measure;
  const KEPT = ["admitted", "slots", "send", "quality", "speaking"];

  const Connection = window.RTCPeerConnection;
  window.RTCPeerConnection = class extends Connection {
    constructor(...options) {
      super(...options);
      connections.push(this);
    }
  };

  const Socket = window.WebSocket;
  window.WebSocket = class extends Socket {
    constructor(...options) {
      super(...options);
      this.addEventListener("message", (event) => {
        const message = JSON.parse(event.data);
        if (KEPT.includes(message.type)) measure.messages.push({ at: now(), ...message });
      });
    }
  };

  // The first picture of somebody else that is drawn; how often one may ask for statistics would be its error.
  const source = Object.getOwnPropertyDescriptor(HTMLMediaElement.prototype, "srcObject");
  Object.defineProperty(HTMLMediaElement.prototype, "srcObject", {
    ...source,
    set(stream) {
      source.set.call(this, stream);
      if (!stream || !this.id.startsWith("video-camera-")) return;
      this.requestVideoFrameCallback?.(() => (measure.firstPicture ??= now()));
    },
  });

  // What the lab says of this page: {speaks, memory, cores, drawn}. Browsers tell of the machine that the lab runs on, which is
  // no phone.
  const { speaks, memory, cores, drawn } = window.inLab;
  const told = (name, value) => Object.defineProperty(Navigator.prototype, name, { get: () => value });
  told("deviceMemory", memory);
  told("hardwareConcurrency", cores);

  // Who isn't looked at draws nothing: all is received and decoded, but the lab's one machine, which has no GPU, would
  // spend a fifth of itself on putting pictures together that nobody sees.
  if (!drawn) {
    const unseen = new CSSStyleSheet();
    unseen.replaceSync("video { opacity: 0 !important; }");
    document.adoptedStyleSheets = [...document.adoptedStyleSheets, unseen];
  }

  // `speaks`: {turn, of, seconds}: in which of `of` turns one speaks; false: never, true: always.
  const gate = () => {
    const mine = speaks?.of ? Math.floor(now() / 1000 / speaks.seconds) % speaks.of === speaks.turn : speaks;
    for (const track of tracks) track.enabled = mine;
  };
  const ask = MediaDevices.prototype.getUserMedia;
  MediaDevices.prototype.getUserMedia = async function (...constraints) {
    const stream = await ask.apply(this, constraints);
    for (const track of stream.getAudioTracks()) tracks.add(track);
    gate();
    return stream;
  };
  setInterval(gate, 100);

  const inbound = (entry) => entry.kind === "audio"
    ? {
      kind: "audio", packets: entry.packetsReceived ?? 0, lost: entry.packetsLost ?? 0, bytes: entry.bytesReceived ?? 0,
      samples: entry.totalSamplesReceived ?? 0, concealed: entry.concealedSamples ?? 0,
      silent: entry.silentConcealedSamples ?? 0, energy: entry.totalAudioEnergy ?? 0, nacks: entry.nackCount ?? 0,
      delay: entry.jitterBufferDelay ?? 0, emitted: entry.jitterBufferEmittedCount ?? 0,
    }
    : {
      kind: "video", packets: entry.packetsReceived ?? 0, lost: entry.packetsLost ?? 0, bytes: entry.bytesReceived ?? 0,
      received: entry.framesReceived ?? 0, frames: entry.framesDecoded ?? 0, dropped: entry.framesDropped ?? 0,
      height: Math.min(entry.frameHeight ?? 0, entry.frameWidth ?? 0), keys: entry.keyFramesDecoded ?? 0,
      nacks: entry.nackCount ?? 0, plis: entry.pliCount ?? 0, decoding: entry.totalDecodeTime ?? 0,
    };
  const outbound = (entry) => ({
    kind: entry.kind, bytes: entry.bytesSent ?? 0, frames: entry.framesEncoded ?? 0, height: entry.frameHeight ?? 0,
    target: entry.targetBitrate ?? 0, limited: entry.qualityLimitationReason ?? "",
  });

  measure.sample = async () => {
    const connection = connections.filter((one) => one.connectionState !== "closed").at(-1);
    const sample = { at: now(), connection: connections.indexOf(connection), slots: [], in: {}, out: {}, taken: 0 };
    if (!connection) return sample;
    for (const entry of (await connection.getStats()).values()) {
      if (entry.type === "inbound-rtp") sample.in[entry.mid] = inbound(entry);
      else if (entry.type === "media-source" && entry.kind === "video") sample.taken = entry.frames ?? 0;
      else if (entry.type === "outbound-rtp") sample.out[`${entry.mid}/${entry.rid ?? ""}`] = outbound(entry);
    }
    sample.at = now();
    sample.slots = window.vardrum.slots.map(({ mid, participant, source, paused }) => ({ mid, participant, source, paused }));
    return sample;
  };

  let timer = null;
  measure.start = (every) => {
    clearInterval(timer);
    measure.samples = [];
    timer = setInterval(async () => measure.samples.push(await measure.sample()), every);
  };
  measure.take = () => {
    clearInterval(timer);
    return { samples: measure.samples, messages: measure.messages, firstPicture: measure.firstPicture };
  };
})();
