// What this device says of itself in `hello`.

// As in the contract's answer; names are MIME types, as RTCRtpCodec has them.
const CODECS = ["video/VP8", "video/H264", "video/VP9", "video/AV1"];
const SOON = 300; // ms from the page's beginning: a hello never waits longer than that
const TYPICAL = { width: 640, height: 360, bitrate: 500_000, framerate: 20 };

let efficient = []; // what is decoded without much power, as far as the browser has said by now

/** Resolves when describeDevice() knows what it can know; soon, whatever the browser does. */
export const deviceKnown = Promise.race([
  Promise.all(CODECS.map(ask)),
  new Promise((resolve) => setTimeout(resolve, SOON)),
]);

async function ask(codec) {
  try {
    const video = { contentType: codec, ...TYPICAL };
    const info = await navigator.mediaCapabilities.decodingInfo({ type: "webrtc", video });
    if (info.supported && info.powerEfficient) efficient = [...efficient, codec];
  } catch {
    // Not every browser can be asked; the server then goes by what it sees.
  }
}

/** {memory?, cores?, mobile?, network?, save_data?, efficient?}: only what the browser tells anybody. */
export function describeDevice() {
  const { deviceMemory, hardwareConcurrency, userAgentData, connection } = navigator;
  const said = {
    memory: deviceMemory,
    cores: hardwareConcurrency,
    mobile: userAgentData?.mobile ?? /Mobi|Android|iPhone|iPad/u.test(navigator.userAgent),
    network: connection?.effectiveType,
    save_data: connection?.saveData,
    efficient: efficient.length > 0 ? efficient : undefined,
  };
  return Object.fromEntries(Object.entries(said).filter(([, value]) => value !== undefined && value !== null));
}
