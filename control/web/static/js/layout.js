// Where tiles stand on the stage: a pure function of its size and of who is there.

const GAP = 8;
const WIDE = 16 / 9;
// A wide camera cut to an upright tile loses more than half: on a phone a face is still large, elsewhere it isn't worth it.
const TALL = 3 / 4;
const SQUARE = 1;

/**
 * @param size {width, height} in CSS pixels, @param count number of tiles,
 * @param options {main: index of the large tile or -1, self: aspect of one's own picture, or 0 without one}
 * @returns {tiles: [{x, y, width, height}], self: {x, y, width, height} | null}
 */
export function arrange(size, count, { main = -1, self = 0 } = {}) {
  if (count === 0) return { tiles: [], self: self ? full(size) : null };
  if (main >= 0 && (count > 1 || self)) return spotlight(size, count, main, self);
  // From three others on, one's own picture stands among theirs, where it hides nobody.
  const among = self && count >= 3;
  const tiles = grid({ x: 0, y: 0, ...size }, count + (among ? 1 : 0));
  if (among) return { self: tiles.pop(), tiles };
  return { tiles, self: self ? corner(size, self) : null };
}

function full({ width, height }) {
  return { x: 0, y: 0, width, height };
}

// Equal tiles, as large as they get, between upright and wide; the last row is centred.
function grid(area, count) {
  let best = null;
  const gap = Math.min(GAP, area.width / 40, area.height / 40);
  const narrow = area.width < area.height ? TALL : SQUARE;
  for (let columns = 1; columns <= count; columns++) {
    const rows = Math.ceil(count / columns);
    let width = (area.width - gap * (columns - 1)) / columns;
    let height = (area.height - gap * (rows - 1)) / rows;
    if (width / height > WIDE) width = height * WIDE;
    if (width / height < narrow) height = width / narrow;
    if (!best || width * height > best.width * best.height) best = { columns, rows, width, height };
  }
  const { columns, rows, width, height } = best;
  const top = area.y + (area.height - rows * height - gap * (rows - 1)) / 2;
  return Array.from({ length: count }, (_, index) => {
    const row = Math.floor(index / columns);
    const inRow = row === rows - 1 ? count - row * columns : columns;
    const left = area.x + (area.width - inRow * width - gap * (inRow - 1)) / 2;
    return { x: left + (index % columns) * (width + gap), y: top + row * (height + gap), width, height };
  });
}

// One large tile; the others and oneself in a strip beside or below it.
function spotlight(size, count, main, self) {
  const inStrip = count - 1 + (self ? 1 : 0);
  const beside = size.width > size.height * 1.1;
  const depth = beside
    ? Math.min(clamp(size.width * 0.18, 112, 240), size.width / 3)
    : Math.min(clamp(size.height * 0.2, 72, 150), size.height / 3);
  const large = beside
    ? { x: 0, y: 0, width: size.width - depth - GAP, height: size.height }
    : { x: 0, y: 0, width: size.width, height: size.height - depth - GAP };
  const length = beside ? size.height : size.width;
  const natural = beside ? depth / WIDE : depth * WIDE;
  const gap = Math.min(GAP, length / inStrip / 4);
  const each = Math.min(natural, (length - gap * (inStrip - 1)) / inStrip);
  const start = (length - each * inStrip - gap * (inStrip - 1)) / 2;
  const strip = Array.from({ length: inStrip }, (_, index) => {
    const along = start + index * (each + gap);
    return beside
      ? { x: size.width - depth, y: along, width: depth, height: each }
      : { x: along, y: size.height - depth, width: each, height: depth };
  });
  const own = self ? strip.pop() : null;
  const tiles = Array.from({ length: count }, (_, index) => (index === main ? large : strip.shift()));
  return { tiles, self: own };
}

function corner({ width, height }, aspect) {
  const across = Math.min(clamp(Math.min(width, height) * 0.26, 92, 220), width / 2, height / 2);
  const own = aspect >= 1 ? { width: across, height: across / aspect } : { width: across * aspect, height: across };
  const edge = clamp(width * 0.015, 8, 16);
  return { x: width - own.width - edge, y: height - own.height - edge, ...own };
}

function clamp(value, low, high) {
  return Math.min(high, Math.max(low, value));
}
