// The drawing: what is in the window, and no more of it than the eye can tell apart.

const HEAD = 38, GUTTER = 92, MAP = 64;
const chart = $("chart"), map = $("map");
const pen = chart.getContext("2d"), mapPen = map.getContext("2d");
const view = { top: 0, scale: 17, width: 0, height: 0, share: 0.56, lanes: [], laneWidth: 60 };
/** What the pointer is at: an event, a message or a place. */
const hover = { event: -1, message: -1, x: -1, y: -1 };
/** What the last drawing put where, for the pointer. */
const drawn = { marks: [], messages: [], dense: false };

let asked = false;

const colorOf = (i) => C[kindColor[kind[i]]];
const yOf = (pos) => HEAD + (pos - view.top) * view.scale;
const posAtY = (y) => view.top + (y - HEAD) / view.scale;
const xOf = (n) => LANES[n].x;
const isDim = (i) => choice.show === "dim" && choice.selected >= 0 && !choice.past[i];

/** The first and the last event of the window, a little beyond the edges. */
function windowOf() {
  const low = lowerBound(axis.pos, view.top - 12 / view.scale);
  const high = lowerBound(axis.pos, posAtY(view.height) + 12 / view.scale);
  return [low, high];
}

function resize() {
  const stage = $("stage"), ratio = devicePixelRatio || 1;
  view.width = stage.clientWidth;
  view.height = stage.clientHeight;
  for (const [canvas, width] of [[chart, view.width], [map, MAP]]) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(view.height * ratio);
    canvas.style.width = width + "px";
    canvas.style.height = view.height + "px";
  }
  placeLanes();
}

function placeLanes() {
  view.lanes = LANES.filter((it) => it.on);
  const room = (view.width - GUTTER - MAP) * view.share;
  view.laneWidth = Math.min(120, Math.max(26, room / Math.max(view.lanes.length, 1)));
  view.lanes.forEach((it, n) => { it.x = GUTTER + view.laneWidth * (n + 0.5); });
  view.right = GUTTER + view.laneWidth * view.lanes.length;
  mapPicture = null;
  ask();
}

/** Draws once before the next picture of the screen, however often it is asked. */
function ask() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => { asked = false; draw(); });
}

function draw() {
  const ratio = devicePixelRatio || 1;
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.fillStyle = C.bg;
  pen.fillRect(0, 0, view.width, view.height);
  const [low, high] = windowOf();
  const n = axis.rank[Math.min(high, N)] - axis.rank[Math.min(low, N)];
  drawn.marks = [];
  drawn.messages = [];
  drawn.dense = n > 5000;
  drawn.n = n;
  drawRows(low, high);
  drawGutter(low, high);
  drawTroubles();
  drawLanes();
  if (drawn.dense) drawDensity();
  else drawWays(low, high, n);
  drawThread(low, high);
  drawMarks(low, high, n);
  drawTexts(low, high);
  drawPointer();
  drawHead();
  drawMap();
}

/** The bands behind the rows of what is selected, found or violated. */
function drawRows(low, high) {
  const band = (i, color, alpha) => {
    const height = Math.max(2, Math.min(view.scale, 18));
    pen.globalAlpha = alpha;
    pen.fillStyle = color;
    pen.fillRect(0, yOf(axis.pos[i]) - height / 2, view.width - MAP, height);
    pen.globalAlpha = 1;
  };
  for (let k = lowerBound(choice.matches, low); choice.matches[k] < high; k++) {
    if (axis.shown[choice.matches[k]]) band(choice.matches[k], C.match, 0.14);
  }
  const inWindow = (i) => i >= low && i < high && axis.shown[i];
  if (inWindow(violation)) band(violation, C.violation, 0.2);
  const { selected } = choice;
  if (inWindow(selected) && selected !== violation) band(selected, C.gold, 0.22);
}

function drawGutter(low, high) {
  pen.font = "11px " + C.mono;
  pen.textAlign = "right";
  pen.textBaseline = "middle";
  pen.fillStyle = C.soft;
  pen.strokeStyle = C.grid;
  pen.lineWidth = 1;
  const tick = (y, label) => {
    pen.beginPath();
    pen.moveTo(GUTTER - 4, Math.round(y) + 0.5);
    pen.lineTo(view.width - MAP, Math.round(y) + 0.5);
    pen.stroke();
    pen.fillText(label, GUTTER - 10, y);
  };
  if (choice.scale === "rows" && view.scale >= 12) {
    let said = -1;
    for (let i = low; i < high; i++) {
      if (!axis.shown[i] || time[i] === said) continue;
      if (said !== time[i]) tick(yOf(axis.pos[i]) - view.scale / 2, "");
      said = time[i];
      pen.fillText(seconds(time[i]), GUTTER - 10, yOf(axis.pos[i]));
    }
    return;
  }
  if (choice.scale === "rows") {
    const step = Math.ceil(44 / view.scale);
    const first = Math.max(0, Math.ceil(view.top / step) * step);
    for (let pos = first; yOf(pos) < view.height && pos < axis.length; pos += step) {
      tick(yOf(pos), seconds(timeAt(pos)));
    }
    return;
  }
  const [from, until] = [timeAt(view.top), timeAt(posAtY(view.height))];
  const rough = (until - from) / Math.max(view.height / 56, 1);
  const power = 10 ** Math.floor(Math.log10(Math.max(rough, 1)));
  const step = [1, 2, 5, 10].map((k) => k * power).find((it) => it >= rough);
  const digits = Math.max(0, 6 - Math.floor(Math.log10(step)));
  for (let at = Math.ceil(from / step) * step; at <= until; at += step) {
    tick(yOf(posOf(at)), seconds(at, Math.min(digits, 6)));
  }
}

/** What is out of order: over the whole lane for a process, beside it for a disk or a link. */
function drawTroubles() {
  const half = view.laneWidth / 2 - 2;
  // The stripes move with the run.
  const shift = new DOMMatrix().translate(0, yOf(0) % 56);
  for (const of of ["down", "pause", "cut"]) hatch[of].setTransform(shift);
  for (const it of view.lanes) {
    for (const span of it.spans) {
      const [y1, y2] = [posOf(span.from), posOf(span.until)].map(yOf);
      if (y2 < 0 || y1 > view.height) continue;
      const height = Math.max(y2 - y1, 1);
      pen.fillStyle = hatch[span.what];
      if (span.what === "pause") pen.fillRect(it.x - half, y1, half * 2, height);
      else if (span.what === "stall") {
        pen.globalAlpha = 0.22;
        pen.fillRect(it.x + 3, y1, Math.min(12, half), height);
        pen.globalAlpha = 1;
      } else {
        // Cut off from one it is pale, cut off from many it is not.
        const width = Math.min(7, half / 2);
        pen.globalAlpha = 0.35;
        pen.fillRect(span.side > 0 ? it.x + half - width : it.x - half, y1, width, height);
        pen.globalAlpha = 1;
      }
    }
  }
}

/** A line for each lane: thick where it leads, none where it is down. */
function drawLanes() {
  const half = view.laneWidth / 2 - 2;
  for (const it of view.lanes) {
    if (it.what !== "Server") {
      pen.fillStyle = C.line;
      pen.fillRect(it.x - 0.5, HEAD, 1, yOf(axis.length) - HEAD);
      continue;
    }
    for (const tenure of it.tenures) {
      const y1 = Math.max(yOf(posOfEvent(tenure.from)), HEAD);
      const y2 = Math.min(yOf(posOfEvent(tenure.until)), view.height);
      if (y2 <= y1) continue;
      if (tenure.standing === "down") {
        pen.fillStyle = hatch.down;
        pen.fillRect(it.x - half, y1, half * 2, y2 - y1);
        continue;
      }
      pen.fillStyle = C[tenure.standing];
      if (tenure.standing === "leader") {
        pen.globalAlpha = 0.1;
        pen.fillRect(it.x - half, y1, half * 2, y2 - y1);
        pen.globalAlpha = 1;
      }
      const width = { leader: 6, candidate: 4, follower: 2 }[tenure.standing];
      pen.fillRect(it.x - width / 2, y1, width, y2 - y1);
    }
  }
}

/** How many events there are, where they are too many to be told apart. */
function drawDensity() {
  const bin = 3, half = view.laneWidth / 2 - 4;
  const most = Math.max(bin / view.scale, 1);
  for (const it of view.lanes) {
    const list = axis.byLane[it.n];
    pen.fillStyle = it.what === "Client" ? C.client : C.send;
    pen.globalAlpha = 0.55;
    let k = lowerBound(list, posAtY(HEAD));
    for (let y = HEAD; y < view.height && k < list.length; y += bin) {
      const next = lowerBound(list, posAtY(y + bin));
      if (next > k) {
        const width = Math.max(1.5, half * Math.min(1, Math.sqrt((next - k) / most)));
        pen.fillRect(it.x - width, y, width * 2, bin - 0.5);
      }
      k = next;
    }
    pen.globalAlpha = 1;
  }
}

/** The ways of messages, and of writes to their disks. */
function drawWays(low, high, n) {
  const near = n < 1500, alpha = near ? 0.8 : Math.max(0.15, 0.6 - n / 10000);
  const groups = new Map();
  const group = (color, alpha, width, dash) => {
    const key = color + alpha + dash;
    if (!groups.has(key)) groups.set(key, { path: new Path2D(), color, alpha, width, dash });
    return groups.get(key).path;
  };
  const inWindow = ({ from, to }) =>
    to >= low && from < high && axis.shown[from] && axis.shown[to];
  messages.forEach((message, k) => {
    if (!inWindow(message)) return;
    const { from, to, lost } = message, line = lineOf(message, k);
    const inside = LANES[lane[from]].what === "Server" && LANES[lane[to]].what === "Server";
    const color = lost ? C.lose : inside ? C.send : C.client;
    const faint = isDim(from) || isDim(to) ? 0.1 : alpha;
    const path = group(color, faint, near ? 1.2 : 0.7, lost ? "4 3" : "");
    path.moveTo(line.x1, line.y1);
    path.lineTo(line.x2, line.y2);
    if (near && !lost) arrowHead(path, line);
    drawn.messages.push(line);
  });
  for (const write of near ? writes : []) {
    if (inWindow(write)) bracket(group(C.persist, isDim(write.to) ? 0.1 : 0.7, 1.4, ""), write);
  }
  for (const { path, color, alpha, width, dash } of groups.values()) {
    pen.globalAlpha = alpha;
    pen.strokeStyle = color;
    pen.lineWidth = width;
    pen.setLineDash(dash ? dash.split(" ").map(Number) : []);
    pen.stroke(path);
  }
  pen.globalAlpha = 1;
  pen.setLineDash([]);
}

/** Where a message's arrow is drawn; what is lost in its own lane shows as a stub beside it. */
function lineOf({ from, to, lost }, k) {
  const [x1, y1, y2] = [xOf(lane[from]), yOf(axis.pos[from]), yOf(axis.pos[to])];
  let x2 = xOf(lane[to]);
  if (lost && x1 === x2) x2 += view.laneWidth * 0.4;
  return { x1, y1, x2, y2, k };
}

/** Beside a lane, from the asking for a write to its end. */
function bracket(path, { from, to }) {
  const [x, y1, y2] = [xOf(lane[from]), yOf(axis.pos[from]), yOf(axis.pos[to])];
  const out = x + 9, middle = (y1 + y2) / 2;
  path.moveTo(x, y1);
  path.quadraticCurveTo(out, y1, out, Math.min(y1 + 8, middle));
  path.lineTo(out, Math.max(y2 - 8, middle));
  path.quadraticCurveTo(out, y2, x, y2);
}

/** Two strokes a little before the end of a line, where the mark of the arrival leaves it. */
function arrowHead(path, { x1, y1, x2, y2 }) {
  const length = Math.hypot(x2 - x1, y2 - y1);
  if (length < 14) return;
  const [ux, uy] = [(x2 - x1) / length, (y2 - y1) / length];
  const [x, y] = [x2 - ux * 4, y2 - uy * 4];
  for (const side of [-1, 1]) {
    path.moveTo(x, y);
    path.lineTo(x - ux * 7 + side * uy * 3.2, y - uy * 7 - side * ux * 3.2);
  }
}

/** How many events of the thread, which goes back in time, are at or after `event`. */
function lowerThread(event) {
  let first = 0, end = choice.thread.length;
  while (first < end) {
    const middle = (first + end) >> 1;
    if (choice.thread[middle] >= event) first = middle + 1;
    else end = middle;
  }
  return first;
}

/** The thread of causes that led to the selected event. */
function drawThread(low, high) {
  const { thread } = choice;
  if (choice.selected < 0 || choice.show === "thread") return;
  const first = lowerThread(high);
  const steps = lowerThread(low) - first;
  if (steps > view.height / 3) return; // A surface, not a line.
  pen.beginPath();
  let started = false, y0 = Infinity;
  for (let k = Math.max(first - 1, 0); k < thread.length; k++) {
    const i = thread[k];
    const y = yOf(axis.pos[i]);
    if (!axis.shown[i]) continue;
    if (started && y0 - y < 0.5 && k + 1 < thread.length && lane[thread[k + 1]] === lane[i]) {
      continue;
    }
    if (started) pen.lineTo(xOf(lane[i]), y);
    else pen.moveTo(xOf(lane[i]), y);
    [started, y0] = [true, y];
    if (i < low) break;
  }
  pen.lineJoin = "round";
  for (const [width, alpha] of view.scale < 2 ? [[1.6, 0.8]] : [[7, 0.25], [2.4, 1]]) {
    pen.strokeStyle = C.gold;
    pen.globalAlpha = alpha;
    pen.lineWidth = width;
    pen.stroke();
  }
  pen.globalAlpha = 1;
}

/** The events that are seen at any distance. */
const grave = Array.from({ length: N }, (_, i) => i).filter((i) => WEIGHT[kind[i]] >= 3);

function* visible(low, high) {
  if (drawn.dense) {
    for (let k = lowerBound(grave, low); grave[k] < high; k++) {
      if (axis.shown[grave[k]]) yield grave[k];
    }
  } else {
    for (let i = low; i < high; i++) if (axis.shown[i]) yield i;
  }
}

function drawMarks(low, high, n) {
  const near = n < 1500;
  const lastY = LANES.map(() => -99), shift = LANES.map(() => 0);
  for (const i of visible(low, high)) {
    const at = lane[i], y = yOf(axis.pos[i]);
    const weight = WEIGHT[kind[i]];
    const tight = y - lastY[at] < (weight >= 3 ? 8 : 5);
    if (tight && drawn.dense && weight < 5) continue;
    // What happened at once stands side by side.
    shift[at] = tight && near ? Math.min(shift[at] + 7, view.laneWidth / 2 - 6) : 0;
    lastY[at] = tight && near ? lastY[at] : y;
    const x = xOf(at) + shift[at];
    pen.globalAlpha = isDim(i) ? 0.14 : 1;
    if (near || weight >= 3) {
      if (near && view.scale >= 9) setOff(x, y);
      const size = weight >= 3 ? 6 : Math.max(2, Math.min(4.6, view.scale * 0.42));
      mark(pen, kind[i], x, y, size, colorOf(i));
    } else {
      pen.fillStyle = colorOf(i);
      pen.fillRect(x - 1.2, y - 1, 2.4, 2);
    }
    if (choice.isMatch[i]) ring(x, y, C.match);
    if (i === choice.selected) ring(x, y, i === violation ? C.violation : C.gold);
    drawn.marks.push({ x, y, i });
  }
  pen.globalAlpha = 1;
}

/** Clears a little of the lane's line, so that a mark stands off from it. */
function setOff(x, y) {
  const alpha = pen.globalAlpha;
  pen.globalAlpha = 1;
  pen.fillStyle = C.bg;
  pen.beginPath();
  pen.arc(x, y, 4.8, 0, 7);
  pen.fill();
  pen.globalAlpha = alpha;
}

/** The texts at the right: every row's, or the weightiest that find room. */
function drawTexts(low, high) {
  const x = view.right + 14, room = view.width - MAP - x - 8;
  if (room < 60) return;
  pen.font = "12px " + C.mono;
  pen.textAlign = "left";
  pen.textBaseline = "middle";
  const all = choice.scale === "rows" && view.scale >= 12;
  const chosen = all ? visible(low, high) : placed(low, high);
  const wide = pen.measureText("m").width, letters = Math.floor(room / wide);
  for (const i of chosen) {
    const y = yOf(axis.pos[i]), faint = isDim(i);
    const name = LANES[lane[i]].name.padEnd(5);
    const strong = WEIGHT[kind[i]] >= 2;
    if (i === hover.event || (!all && WEIGHT[kind[i]] >= 3)) {
      leader(xOf(lane[i]) + 10, x - 18, y, colorOf(i), faint);
    }
    pen.globalAlpha = faint ? 0.25 : 1;
    mark(pen, kind[i], x - 8, y, WEIGHT[kind[i]] === 5 ? 4 : 3.4, colorOf(i));
    pen.fillStyle = strong ? colorOf(i) : C.soft;
    pen.fillText(name, x + 4, y);
    pen.fillStyle = strong ? colorOf(i) : C.ink;
    const rest = text[i].replace(/\s+/g, " "), fits = letters - name.length - 2;
    const said = rest.length > fits ? rest.slice(0, Math.max(fits - 1, 0)) + "…" : rest;
    pen.fillText(said, x + 4 + (name.length + 1) * wide, y);
  }
  pen.globalAlpha = 1;
}

function leader(x1, x2, y, color, faint) {
  pen.globalAlpha = faint ? 0.1 : 0.35;
  pen.strokeStyle = color;
  pen.lineWidth = 1;
  pen.setLineDash([1, 3]);
  pen.beginPath();
  pen.moveTo(x1, y);
  pen.lineTo(x2, y);
  pen.stroke();
  pen.setLineDash([]);
}

/** The events that begin a leadership. */
const leads = new Set(LANES.flatMap((it) =>
  it.tenures.filter((tenure) => tenure.standing === "leader").map((tenure) => tenure.from)));

/** The weightiest event of each line of text that finds room. */
function placed(low, high) {
  const weight = (i) => {
    if (isDim(i)) return 0;
    const isNamed = i === choice.selected ? 99 : choice.isMatch[i] * 9;
    return WEIGHT[kind[i]] * 4 + isNamed + (leads.has(i) ? 3 : 0) + choice.onThread[i] * 2;
  };
  const slots = new Map();
  for (const i of visible(low, high)) {
    const slot = Math.floor(yOf(axis.pos[i]) / 15);
    const other = slots.get(slot);
    if (other === undefined || weight(i) > weight(other)) slots.set(slot, i);
  }
  const result = [];
  for (const [, i] of [...slots].sort(([a], [b]) => a - b)) {
    const last = result.at(-1);
    const clear = last === undefined || yOf(axis.pos[i]) - yOf(axis.pos[last]) >= 13;
    if (clear) result.push(i);
    else if (weight(i) > weight(last)) result[result.length - 1] = i;
  }
  return result;
}

/** What the pointer is at, with both ends and the cause. */
function drawPointer() {
  if (hover.event >= 0) {
    const i = hover.event, y = yOf(axis.pos[i]);
    pen.fillStyle = C.hover;
    pen.fillRect(0, y - 9, view.width - MAP, 18);
    if (LANES[lane[i]].on) ring(xOf(lane[i]), y, C.ink);
    const ways = [[cause[i], i], ...(effects.get(i) ?? []).map((to) => [i, to])];
    ways.filter(([from]) => from >= 0).forEach(([from, to]) => strong(from, to));
  }
  if (hover.message >= 0) strong(messages[hover.message].from, messages[hover.message].to);
}

function strong(from, to) {
  if (!LANES[lane[from]].on || !LANES[lane[to]].on) return;
  pen.strokeStyle = C.ink;
  pen.lineWidth = 2;
  pen.beginPath();
  pen.moveTo(xOf(lane[from]), yOf(axis.pos[from]));
  pen.lineTo(xOf(lane[to]), yOf(axis.pos[to]));
  pen.stroke();
}

/** The names of the lanes, and what each server is at the upper edge. */
function drawHead() {
  pen.fillStyle = C.bg;
  pen.fillRect(0, 0, view.width - MAP, HEAD);
  pen.fillStyle = C.line;
  pen.fillRect(0, HEAD - 1, view.width - MAP, 1);
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  const edge = Math.max(view.top + 14 / view.scale, 0);
  const event = lowerBound(axis.pos, edge), at = timeAt(edge);
  for (const it of view.lanes) {
    const standing = standingAt(it, event), troubles = troublesAt(it, at);
    pen.font = "600 13px " + C.sans;
    pen.fillStyle = standing === "leader" ? C.leader : C.ink;
    const roomy = view.laneWidth >= 38;
    pen.fillText(roomy ? it.name : it.name.slice(0, 3), it.x, standing && roomy ? 12 : 19);
    if (!roomy) continue;
    pen.font = "10px " + C.sans;
    pen.fillStyle = troubles.length ? C.cut : standing === "leader" ? C.leader : C.soft;
    const word = troubles.length && standing !== "down" ? brief(troubles[0]) : standing;
    pen.fillText(word, it.x, 27, view.laneWidth - 2);
  }
  pen.font = "11px " + C.sans;
  pen.fillStyle = C.soft;
  pen.textAlign = "right";
  pen.fillText("seconds", GUTTER - 10, 19);
  pen.textAlign = "left";
  const shown = `${drawn.n.toLocaleString()} of ${N.toLocaleString()} events` +
    (drawn.dense ? ", as density: zoom in for each" : "");
  pen.fillText(shown, view.right + 14, 19);
}

const brief = (trouble) => trouble.replace(/ off.*| reach.*| hear.*/, "")
  .replace("cannot", "half cut").replace("disk ", "");

