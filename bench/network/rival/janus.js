// One participant of Janus's videoroom, as its own demonstration page has it: one connection that publishes camera (three
// simulcast layers) and microphone, one that receives everybody else. Said in the address: #socket=ws://…&room=1&me=host
const { socket: address, room, me } = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
const LAYERS = [
  { rid: "h", maxBitrate: 900_000 },
  { rid: "m", maxBitrate: 225_000, scaleResolutionDownBy: 2 },
  { rid: "l", maxBitrate: 100_000, scaleResolutionDownBy: 4 },
];
// What the lab's `measure.js` asks a page for.
const page = { state: "", slots: [], join };
window.vardrum = page;

const answers = new Map(); // by transaction
const heard = new Map(); // by handle: what is done with what the plugin says unasked
let session = null;
let socket = null;

function connect() {
  socket = new WebSocket(address, "janus-protocol");
  socket.onmessage = ({ data }) => {
    const said = JSON.parse(data);
    if (said.janus === "ack") return;
    const answer = answers.get(said.transaction);
    if (!answer) return void heard.get(said.sender)?.(said.plugindata?.data ?? {}, said.jsep);
    answers.delete(said.transaction);
    const refused = said.janus === "error" || said.plugindata?.data?.error;
    if (refused) answer.reject(new Error(JSON.stringify(said)));
    else answer.resolve(said);
  };
  return new Promise((resolve, reject) => Object.assign(socket, { onopen: resolve, onerror: reject }));
}

function ask(message) {
  const transaction = crypto.randomUUID();
  socket.send(JSON.stringify({ ...message, transaction, ...(session && { session_id: session }) }));
  return new Promise((resolve, reject) => answers.set(transaction, { resolve, reject }));
}

const attach = async () => (await ask({ janus: "attach", plugin: "janus.plugin.videoroom" })).data.id;
const say = (handle, body, jsep) => ask({ janus: "message", handle_id: handle, body, jsep });

async function gathered(connection) {
  if (connection.iceGatheringState !== "complete") {
    await new Promise((resolve) => {
      connection.onicegatheringstatechange = () => connection.iceGatheringState === "complete" && resolve();
    });
  }
  const { type, sdp } = connection.localDescription;
  return { type, sdp };
}

async function publish(handle) {
  const media = await navigator.mediaDevices.getUserMedia({
    audio: true, video: { width: 640, height: 360, frameRate: 20 },
  });
  const connection = new RTCPeerConnection();
  const streams = [media];
  connection.addTransceiver(media.getAudioTracks()[0], { direction: "sendonly", streams });
  connection.addTransceiver(media.getVideoTracks()[0], { direction: "sendonly", streams, sendEncodings: LAYERS });
  await connection.setLocalDescription();
  const answer = await say(handle, { request: "publish" }, await gathered(connection));
  await connection.setRemoteDescription(answer.jsep);
}

const receiver = { handle: null, connection: null, feeds: new Set(), turn: Promise.resolve() };

// Renegotiations of the one connection that receives, one after the other.
function subscribe(publishers) {
  const streams = publishers.filter(({ id }) => !receiver.feeds.has(id)).map(({ id }) => ({ feed: id }));
  for (const { feed } of streams) receiver.feeds.add(feed);
  if (streams.length) receiver.turn = receiver.turn.then(() => receive(streams));
}

async function receive(streams) {
  let offered = null;
  if (!receiver.handle) {
    receiver.handle = await attach();
    receiver.connection = new RTCPeerConnection();
    receiver.connection.ontrack = ({ track, transceiver }) => show(track, transceiver);
    heard.set(receiver.handle, ({ streams: now }) => now && tell(now));
    offered = await say(receiver.handle, { request: "join", ptype: "subscriber", room: Number(room), streams });
  } else {
    offered = await say(receiver.handle, { request: "subscribe", streams });
  }
  tell(offered.plugindata.data.streams);
  if (!offered.jsep) return;
  await receiver.connection.setRemoteDescription(offered.jsep);
  await receiver.connection.setLocalDescription();
  await say(receiver.handle, { request: "start", room: Number(room) }, await gathered(receiver.connection));
}

function tell(streams) {
  page.slots = streams.filter(({ active, feed_id }) => active !== false && feed_id).map((one) => ({
    mid: one.mid, participant: one.feed_display, source: one.type === "video" ? "camera" : "microphone", paused: false,
  }));
}

function show(track, { mid }) {
  const element = document.createElement(track.kind);
  element.id = `${track.kind === "video" ? "video-camera" : "sound"}-${mid}`;
  element.autoplay = true;
  element.playsInline = true;
  document.body.append(element);
  element.srcObject = new MediaStream([track]);
}

async function join() {
  await connect();
  session = (await ask({ janus: "create" })).data.id;
  setInterval(() => ask({ janus: "keepalive" }), 20_000);
  const handle = await attach();
  heard.set(handle, ({ publishers }) => publishers && subscribe(publishers));
  const joined = await say(handle, { request: "join", ptype: "publisher", room: Number(room), display: me });
  await publish(handle);
  subscribe(joined.plugindata.data.publishers ?? []);
  page.state = "admitted";
}
