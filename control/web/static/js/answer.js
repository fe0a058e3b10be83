// The answer's few words that a page may change for itself (CONTRACT, Sending): how long a packet of sound is, and
// whether RED stands first among the microphone's payload types, which is what makes a browser send it.

/**
 * @param sdp the server's answer, @param microphone {ptime?, red?} of `send`
 * @returns the answer to set: only the first m-section, the microphone's, differs
 */
export function editAnswer(sdp, { ptime, red } = {}) {
  if (ptime === undefined && red === undefined) return sdp;
  const [session, first, ...rest] = sdp.split(/(?=^m=)/mu);
  if (!first?.startsWith("m=audio")) return sdp;
  let lines = first.split("\r\n").filter((line) => line !== "");
  if (ptime !== undefined) {
    lines = lines.filter((line) => !line.startsWith("a=ptime:"));
    if (ptime !== 20) lines.push(`a=ptime:${Number(ptime)}`);
  }
  if (red !== undefined) lines[0] = orderRed(lines, red);
  return [session, `${lines.join("\r\n")}\r\n`, ...rest].join("");
}

function orderRed(lines, wanted) {
  const types = lines
    .map((line) => /^a=rtpmap:(\d+) red\//iu.exec(line)?.[1])
    .filter((type) => type !== undefined);
  const [m, port, profile, ...formats] = lines[0].split(" ");
  const red = formats.filter((format) => types.includes(format));
  const others = formats.filter((format) => !types.includes(format));
  return [m, port, profile, ...(wanted ? [...red, ...others] : [...others, ...red])].join(" ");
}
