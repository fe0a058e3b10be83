// Icons, drawn here: one path each on a 24 by 24 grid, in the colour of the text around them.

const PATHS = {
  mic: "M12 3a3 3 0 0 0-3 3v5a3 3 0 0 0 6 0V6a3 3 0 0 0-3-3Z M5.5 11a6.5 6.5 0 0 0 13 0 M12 17.5V21 M8.5 21h7",
  "mic-off": "M9 9v2a3 3 0 0 0 4.8 2.4 M15 10.500V6a3 3 0 0 0-5.7-1.3 M5.5 11a6.5 6.5 0 0 0 10 5.5 M18.5 11a6.5 6.5 0 0 1-.7 2.9 M12 17.500V21 M8.5 21h7 M4 4l16 16",
  camera: "M4.5 6.500h9a2 2 0 0 1 2 2v7a2 2 0 0 1-2 2h-9a2 2 0 0 1-2-2v-7a2 2 0 0 1 2-2Z M15.5 11l6-3.500v9l-6-3.5",
  "camera-off": "M9.5 6.500h4a2 2 0 0 1 2 2v4 M15.5 15.700a2 2 0 0 1-2 1.800h-9a2 2 0 0 1-2-2v-7a2 2 0 0 1 2-2h1 M15.5 11l6-3.500v9l-3.5-2 M4 4l16 16",
  screen: "M4 4.500h16a1.5 1.5 0 0 1 1.5 1.500v9a1.5 1.5 0 0 1-1.5 1.500H4A1.5 1.5 0 0 1 2.5 15V6A1.5 1.5 0 0 1 4 4.500Z M8.5 20h7 M12 16.500V20 M12 13V8.5 M9.5 10.5 12 8l2.5 2.5",
  chat: "M5 4.500h14a2 2 0 0 1 2 2v8a2 2 0 0 1-2 2h-7.500L7 20.500v-4H5a2 2 0 0 1-2-2v-8a2 2 0 0 1 2-2Z M7.5 9h9 M7.5 12.500h6",
  hand: "M8 12V5.700a1.4 1.4 0 0 1 2.8 0V11 M10.8 10.500V4.400a1.4 1.4 0 0 1 2.8 0v6.1 M13.6 10.500V5.700a1.4 1.4 0 0 1 2.8 0V13 M16.4 9.500a1.4 1.4 0 0 1 2.8 0v5.200c0 3.7-2.6 6.3-6.2 6.3-3 0-4.7-1.3-6.1-3.900L4.7 13a1.4 1.4 0 0 1 2.4-1.500L8 13",
  leave: "M3 14.800c-.6-1.5-.4-3 .8-3.900C6 9.3 8.9 8.5 12 8.500s6 .8 8.2 2.400c1.2.9 1.4 2.4.8 3.900l-.3.7-4.3-1.2-.3-2.400a12 12 0 0 0-8.2 0l-.3 2.4-4.3 1.200Z",
  more: "M5 11a1 1 0 1 0 0 2 1 1 0 0 0 0-2Z M12 11a1 1 0 1 0 0 2 1 1 0 0 0 0-2Z M19 11a1 1 0 1 0 0 2 1 1 0 0 0 0-2Z",
  people: "M9 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7Z M2.5 20c0-3.5 2.9-6 6.5-6s6.5 2.5 6.5 6 M15.5 4.300a3.5 3.5 0 0 1 0 6.4 M17.5 14.400c2.4.7 4 2.8 4 5.6",
  pin: "M9 3.500h6l-.7 6 3.2 3.500H6.500l3.2-3.500L9 3.500Z M12 13v7.5",
  close: "M5.5 5.500l13 13 M18.5 5.500l-13 13",
  back: "M15 5l-7 7 7 7",
  lock: "M6.5 10.500h11a1.5 1.5 0 0 1 1.5 1.500v7a1.5 1.5 0 0 1-1.5 1.500h-11A1.5 1.5 0 0 1 5 19v-7a1.5 1.5 0 0 1 1.5-1.500Z M8 10.500V8a4 4 0 0 1 8 0v2.5",
  settings: "M4 7h9 M17 7h3 M15 5v4 M4 12h3 M11 12h9 M9 10v4 M4 17h9 M17 17h3 M15 15v4",
  send: "M4 12 20.5 4.5 14 20.500l-2.5-6.500L4 12Z M11.5 14l4-4.5",
  check: "M5 12.500l4.5 4.500L19.5 7",
  id: "M4.5 5h15A1.5 1.5 0 0 1 21 6.500v11a1.5 1.5 0 0 1-1.5 1.500h-15A1.5 1.5 0 0 1 3 17.500v-11A1.5 1.5 0 0 1 4.5 5Z M8.5 11.500a1.7 1.7 0 1 0 0-3.4 1.7 1.7 0 0 0 0 3.400Z M5.7 15.700c.3-1.5 1.4-2.4 2.8-2.400s2.5.9 2.8 2.4 M14 9.500h4 M14 13h4",
  add: "M12 5v14 M5 12h14",
  copy: "M9 8.500h9a1.5 1.5 0 0 1 1.5 1.500v9a1.5 1.5 0 0 1-1.5 1.500H9A1.5 1.5 0 0 1 7.5 19v-9A1.5 1.5 0 0 1 9 8.500Z M4.5 15.500v-11A1 1 0 0 1 5.5 3.500h10",
  sound: "M4 9.500v5h3.500L12 18.500v-13L7.5 9.500H4Z M15.5 9a4.2 4.2 0 0 1 0 6 M18 6.500a7.8 7.8 0 0 1 0 11",
  phone: "M6 3.500h3l1.5 4.5-2 1.500a12 12 0 0 0 6 6l1.5-2 4.5 1.500v3a2 2 0 0 1-2.2 2A16.5 16.5 0 0 1 4 5.700a2 2 0 0 1 2-2.200Z",
  network: "M3 9.500a13 13 0 0 1 18 0 M6.2 13a8.5 8.5 0 0 1 11.6 0 M9.3 16.500a4 4 0 0 1 5.4 0 M12 20h.01",
  clock: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18Z M12 7v5.200l3.2 2",
  info: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18Z M12 11v5 M12 8h.01",
  shield: "M12 3.5 19 6v5.500c0 4.3-2.8 7.6-7 9-4.2-1.4-7-4.7-7-9V6l7-2.500Z M9 12l2.2 2.200L15.2 10",
  globe: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18Z M3.500 9.500h17 M3.500 14.500h17 M12 3c-2.4 2.500-3.6 5.500-3.6 9s1.2 6.500 3.6 9c2.4-2.500 3.6-5.500 3.6-9S14.400 5.500 12 3Z",
  wave: "M4 10v4 M8 7v10 M12 4v16 M16 7v10 M20 10v4",
};

// They point the way that one reads, and turn with it.
const POINTING = new Set(["back", "send"]);

const SVG = "http://www.w3.org/2000/svg";

/** An icon; decoration, so hidden from screen readers: what it stands beside has the words. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  const path = document.createElementNS(SVG, "path");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", POINTING.has(name) ? "icon pointing" : "icon");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("focusable", "false");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}

/** Shows another icon in the same place. */
export function setIcon(svg, name) {
  const path = svg.firstElementChild;
  if (path.getAttribute("d") !== PATHS[name]) path.setAttribute("d", PATHS[name]);
}
