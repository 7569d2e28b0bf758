// The trace: its events in columns, who follows whom, and where each event stands on the axis.

const DATA = JSON.parse(document.getElementById("trace").textContent);
const $ = (id) => document.getElementById(id);
const KIND = Object.fromEntries(DATA.kinds.map((name, n) => [name, n]));
/** What a reader wants to see at any distance. */
const WEIGHTY = new Set(["Start", "Crash", "Fault", "Heal", "Role", "Commit", "Violation"]);
const isWeighty = DATA.kinds.map((name) => WEIGHTY.has(name));

const N = DATA.events.length;
const time = new Float64Array(N);
const lane = new Uint16Array(N);
const kind = new Uint8Array(N);
/** What made an event happen, and what came before it in its lane; -1 is nothing. */
const cause = new Int32Array(N).fill(-1);
const before = new Int32Array(N).fill(-1);
const text = new Array(N);
DATA.events.forEach((row, i) => {
  [time[i], lane[i], kind[i], , text[i]] = row;
  cause[i] = row[3] - 1;
});
DATA.events = null;

const LANES = DATA.lanes.map((it, n) => {
  const [what, id] = it === "World" ? ["World", 0] : Object.entries(it)[0];
  const name = what === "World" ? "World" : what[0] + id;
  return { n, what, id, name, on: true, count: 0, tenures: [], spans: [] };
});
/** What servers were, from one event to another. */
DATA.tenures.forEach(([at, standing, from, until]) =>
  LANES[at].tenures.push({ standing, from: from - 1, until: until - 1 }));

/** Messages: where they were sent and where they ended. */
const messages = [];
/** Writes to disks: where they were asked for and where they were done. */
const writes = [];
/** The message that an event is the end of; -1 if of none. */
const arrival = new Int32Array(N).fill(-1);
/** What each event has caused, elsewhere or later. */
const effects = new Map();
const counts = new Array(DATA.kinds.length).fill(0);
(() => {
  const newest = new Int32Array(LANES.length).fill(-1);
  for (let i = 0; i < N; i++) {
    before[i] = newest[lane[i]];
    newest[lane[i]] = i;
    LANES[lane[i]].count++;
    counts[kind[i]]++;
    const from = cause[i];
    if (from < 0) continue;
    if (!effects.has(from)) effects.set(from, []);
    effects.get(from).push(i);
    const ends = kind[i] === KIND.Receive || kind[i] === KIND.Lose;
    if (ends && kind[from] === KIND.Send) {
      arrival[i] = messages.length;
      messages.push({ from, to: i, lost: kind[i] === KIND.Lose });
    }
    if (kind[i] === KIND.Persisted && lane[from] === lane[i]) writes.push({ from, to: i });
  }
})();

const FIRST = N ? time[0] : 0;
const LAST = N ? time[N - 1] : 1;
DATA.spans.forEach(([what, at, other, from, until]) => {
  const span = { what, from, until: Math.min(until, LAST) };
  LANES[at].spans.push({ ...span, side: other === null ? 0 : 1, other });
  if (other !== null) LANES[other].spans.push({ ...span, side: -1, other: at });
});

const violation = kind.lastIndexOf(KIND.Violation);

/** The first position in a sorted array whose value is at least `value`. */
function lowerBound(array, value, high = array.length) {
  let low = 0;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (array[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The events that an event depends on, itself among them: 1 for each. */
function pastOf(event) {
  const past = new Uint8Array(N);
  if (event >= 0) past[event] = 1;
  for (let i = event; i >= 0; i--) {
    if (!past[i]) continue;
    if (cause[i] >= 0) past[cause[i]] = 1;
    if (before[i] >= 0) past[before[i]] = 1;
  }
  return past;
}

/** One line through the past: each event's own cause, or else what came before it in its lane. */
function threadOf(event) {
  const thread = [];
  for (let i = event; i >= 0; i = cause[i] >= 0 ? cause[i] : before[i]) thread.push(i);
  return thread;
}

/** What the reader has chosen. */
const choice = {
  kinds: DATA.kinds.map(() => true),
  show: "all",
  scale: "rows",
  selected: violation,
  past: pastOf(violation),
  thread: threadOf(violation),
  onThread: new Uint8Array(N),
  matches: [],
  isMatch: new Uint8Array(N),
};
choice.thread.forEach((i) => { choice.onThread[i] = 1; });

/** Which events are shown, and where all of them stand on the axis, in rows. */
const axis = {
  shown: new Uint8Array(N),
  /** Never falls; an event that is not shown stands with the next one that is. */
  pos: new Float64Array(N),
  /** How many shown events come before each. */
  rank: new Int32Array(N + 1),
  length: 1,
  /** For each lane, the positions of its shown events. */
  byLane: [],
};

function isShown(i) {
  if (!choice.kinds[kind[i]] || !LANES[lane[i]].on) return false;
  if (choice.selected < 0) return true;
  if (choice.show === "past") return choice.past[i] === 1;
  if (choice.show === "thread") return choice.onThread[i] === 1;
  return true;
}

function layOut() {
  const lists = LANES.map(() => []);
  let at = 0, shown = 0, last = -1;
  for (let i = 0; i < N; i++) {
    axis.shown[i] = isShown(i) ? 1 : 0;
    axis.rank[i] = shown;
    if (!axis.shown[i]) continue;
    shown++;
  }
  axis.rank[N] = shown;
  const rowsPerMicro = Math.max(shown, 20) / Math.max(LAST - FIRST, 1);
  for (let i = 0; i < N; i++) {
    if (choice.scale === "time") {
      axis.pos[i] = (time[i] - FIRST) * rowsPerMicro;
    } else {
      axis.pos[i] = at;
      if (axis.shown[i]) {
        // A pause takes some room, so that what happened at once stays together.
        const gap = last < 0 ? 0 : time[i] - time[last];
        if (last >= 0) at += 1 + (gap > 1000 ? Math.min(3, Math.log10(gap / 1000)) : 0);
        for (let k = last + 1; k <= i; k++) axis.pos[k] = at;
        last = i;
      }
    }
    if (axis.shown[i]) lists[lane[i]].push(axis.pos[i]);
  }
  axis.length = (N ? axis.pos[N - 1] : 0) + 1;
  axis.byLane = lists.map((list) => Float64Array.from(list));
}

/** Where an event stands on the axis; the beginning and the end are events, too. */
function posOfEvent(i) {
  return i < 0 ? 0 : i >= N ? axis.length : axis.pos[i];
}

/** Where a time stands on the axis. */
function posOf(micros) {
  if (N === 0) return 0;
  const i = lowerBound(time, micros);
  if (i === 0) return axis.pos[0] - (time[0] > micros ? 1 : 0);
  if (i === N || micros >= LAST) return axis.pos[N - 1] + 1;
  const part = (micros - time[i - 1]) / (time[i] - time[i - 1]);
  return axis.pos[i - 1] + part * (axis.pos[i] - axis.pos[i - 1]);
}

/** Which time a place on the axis has. */
function timeAt(pos) {
  if (N === 0) return 0;
  const i = lowerBound(axis.pos, pos);
  if (i === 0) return time[0];
  if (i === N) return time[N - 1];
  const width = axis.pos[i] - axis.pos[i - 1];
  const part = width > 0 ? (pos - axis.pos[i - 1]) / width : 1;
  return time[i - 1] + part * (time[i] - time[i - 1]);
}

const seconds = (micros, digits = 6) => (micros / 1e6).toFixed(digits);

function duration(micros) {
  if (micros < 1000) return micros.toFixed(0) + " µs";
  if (micros < 1e6) return (micros / 1e3).toPrecision(3) + " ms";
  return (micros / 1e6).toPrecision(3) + " s";
}

/** What a server was at an event. */
function standingAt(of, i) {
  const found = of.tenures.findLast((tenure) => tenure.from <= i);
  return found ? found.standing : "";
}

/** What was out of order in a lane at a time, in words. */
function troublesAt(of, micros) {
  const now = of.spans.filter((span) => span.from <= micros && micros < span.until);
  const peers = (side) => [...new Set(now.filter((s) => s.what === "cut" && s.side === side)
    .map((s) => LANES[s.other].name))].sort().join(", ");
  const words = [];
  if (now.some((span) => span.what === "pause")) words.push("paused");
  if (now.some((span) => span.what === "stall")) words.push("disk stalled");
  const [to, from] = [peers(1), peers(-1)];
  if (to && to === from) words.push("cut off from " + to);
  else {
    if (to) words.push("cannot reach " + to);
    if (from) words.push("cannot hear " + from);
  }
  return words;
}
