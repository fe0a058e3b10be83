// The contract's one RTCPeerConnection, built as a page builds it; without a server, so that only SDP is tried.
window.vardrumOffer = async ({ audio, video, layers, tracks }) => {
  const pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
  window.pc = pc;
  window.streams = {};
  pc.ontrack = ({ transceiver, streams }) => { window.streams[transceiver.mid] = streams.map((s) => s.id); };
  const stream = tracks
    ? await navigator.mediaDevices.getUserMedia({ audio: true, video: { width: 640, height: 360 } })
    : null;
  const encodings = () => (layers
    ? [{ rid: 'l', scaleResolutionDownBy: 2, maxBitrate: 150000, scalabilityMode: 'L1T2' },
      { rid: 'h', maxBitrate: 600000, scalabilityMode: 'L1T2' }]
    : [{}]);
  const add = (source, init) => {
    try {
      pc.addTransceiver(source, init);
    } catch {
      for (const one of init.sendEncodings) delete one.scalabilityMode;
      pc.addTransceiver(source, init);
    }
  };
  pc.addTransceiver(stream?.getAudioTracks()[0] ?? 'audio', { direction: 'sendonly' });
  add(stream?.getVideoTracks()[0] ?? 'video', { direction: 'sendonly', sendEncodings: encodings() });
  add('video', { direction: 'sendonly', sendEncodings: encodings() });
  for (let i = 0; i < audio; i += 1) pc.addTransceiver('audio', { direction: 'recvonly' });
  for (let i = 0; i < video; i += 1) pc.addTransceiver('video', { direction: 'recvonly' });
  await pc.setLocalDescription(await pc.createOffer());
  return pc.localDescription.sdp;
};

window.vardrumRestart = async () => {
  await window.pc.setLocalDescription(await window.pc.createOffer({ iceRestart: true }));
  return window.pc.localDescription.sdp;
};

window.vardrumAnswer = async (sdp) => {
  await window.pc.setRemoteDescription({ type: 'answer', sdp });
  return {
    directions: window.pc.getTransceivers().map((one) => [one.mid, one.currentDirection]),
    streams: window.streams,
    encodings: window.pc.getTransceivers().slice(1, 3).map(
      (one) => one.sender.getParameters().encodings.map(({ rid }) => rid ?? null),
    ),
    codecs: window.pc.getTransceivers().slice(0, 2).map(
      (one) => one.sender.getParameters().codecs.map(({ mimeType }) => mimeType),
    ),
  };
};
