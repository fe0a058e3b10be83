// Put into every page before its own scripts: notes what the browser itself knows of media and messages, so that tests
// need not believe what the page says of itself. All times are in ms on performance.now().
(() => {
  if (window.recorder) return;
  const connections = [];
  const recorder = {
    connections,
    sent: [], // {at, type} of each websocket message the page sends
    received: [], // {at, type}
    last: {}, // type -> newest message of that type
    offeredAt: null,
    firstFrameAt: null,
    errors: [],
    samples: [], // {t, sampled: {mid: figures}, connection: index, state}
    timer: null,
  };
  window.recorder = recorder;
  window.addEventListener("error", (event) => recorder.errors.push(String(event.message)));
  window.addEventListener("unhandledrejection", (event) => recorder.errors.push(String(event.reason)));
  document.addEventListener("securitypolicyviolation", (event) =>
    recorder.errors.push(`policy ${event.violatedDirective}: ${event.blockedURI}`));

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
      recorder.socket = this;
      this.addEventListener("message", (event) => {
        try {
          const message = JSON.parse(event.data);
          recorder.received.push({ at: performance.now(), type: message.type });
          recorder.last[message.type] = message;
        } catch { /* not JSON: not for us */ }
      });
    }
    send(data) {
      try {
        const message = JSON.parse(data);
        recorder.sent.push({ at: performance.now(), type: message.type });
        if (message.type === "offer") {
          recorder.offeredAt = performance.now();
          recorder.firstFrameAt = null;
          recorder.watchFirstFrame();
        }
        recorder.last[`> ${message.type}`] = message;
      } catch { /* not JSON: not for us */ }
      return super.send(data);
    }
  };

  const current = () => connections.filter((connection) => connection.connectionState !== "closed").at(-1);

  async function figures(connection) {
    const inbound = {};
    const outbound = {};
    for (const entry of (await connection.getStats()).values()) {
      if (entry.type === "inbound-rtp") {
        inbound[entry.mid] = {
          kind: entry.kind,
          packets: entry.packetsReceived ?? 0,
          bytes: entry.bytesReceived ?? 0,
          lost: entry.packetsLost ?? 0,
          frames: entry.framesDecoded ?? 0,
          height: Math.min(entry.frameHeight ?? 0, entry.frameWidth ?? 0),
          samples: entry.totalSamplesReceived ?? 0,
          concealed: (entry.concealedSamples ?? 0) - (entry.silentConcealedSamples ?? 0),
          energy: entry.totalAudioEnergy ?? 0,
          keyFrames: entry.keyFramesDecoded ?? 0,
          plis: entry.pliCount ?? 0,
          nacks: entry.nackCount ?? 0,
        };
      } else if (entry.type === "outbound-rtp") {
        outbound[`${entry.mid}/${entry.rid ?? ""}`] = {
          kind: entry.kind, packets: entry.packetsSent ?? 0, frames: entry.framesEncoded ?? 0,
          height: entry.frameHeight ?? 0, rate: entry.framesPerSecond ?? 0,
        };
      }
    }
    return { inbound, outbound };
  }

  // Asks often, but only between an offer and its first picture.
  recorder.watchFirstFrame = async () => {
    const offer = recorder.offeredAt;
    while (recorder.firstFrameAt === null && recorder.offeredAt === offer && performance.now() - offer < 20000) {
      const connection = current();
      if (connection) {
        const { inbound } = await figures(connection);
        if (Object.values(inbound).some((entry) => entry.frames > 0)) recorder.firstFrameAt = performance.now();
      }
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  };

  recorder.sample = async () => {
    const connection = current();
    if (!connection) return null;
    const found = await figures(connection);
    return { t: performance.now(), connection: connections.indexOf(connection), state: connection.connectionState, ...found };
  };

  // Media packets over all connections there ever were: what someone who waits must not have.
  recorder.mediaPackets = async () => {
    let packets = 0;
    for (const connection of connections) {
      for (const entry of (await connection.getStats()).values()) {
        if (entry.type === "inbound-rtp") packets += entry.packetsReceived ?? 0;
      }
    }
    return packets;
  };

  recorder.start = (every = 250) => {
    recorder.stop();
    recorder.samples = [];
    recorder.timer = setInterval(async () => {
      const sample = await recorder.sample();
      if (sample) recorder.samples.push(sample);
    }, every);
  };

  recorder.stop = () => {
    clearInterval(recorder.timer);
    recorder.timer = null;
  };
})();
