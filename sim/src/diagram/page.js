// The reader: wheel, pointer, keys, search, filters, and the panel beside the diagram.

function element(tag, className, content = "", title = "") {
  const it = document.createElement(tag);
  it.className = className;
  it.textContent = content;
  if (title) it.title = title;
  return it;
}

// Moving about.

function setView(top, scale = view.scale) {
  const margin = 14, room = view.height - HEAD;
  const least = (room - 2 * margin) / axis.length;
  view.scale = Math.min(60, Math.max(Math.min(least, 17), scale));
  const first = -margin / view.scale;
  const last = axis.length - (room - margin) / view.scale;
  view.top = Math.min(Math.max(top, first), Math.max(last, first));
  hideTip();
  ask();
}

function zoom(factor, y = view.height / 2) {
  const pos = posAtY(y);
  const scale = view.scale;
  setView(view.top, scale * factor);
  setView(pos - (y - HEAD) / view.scale);
}

function fit() {
  setView(-1, 0);
}

/** Brings an event into sight, at a scale at which it can be read. */
function goTo(i, part = 0.5) {
  if (i < 0) return;
  const scale = view.scale < 12 || choice.scale === "time" ? Math.max(view.scale, 17) : view.scale;
  const height = (view.height - HEAD) / scale;
  setView(axis.pos[i] - height * part, scale);
}

/** Lays out anew and keeps what was in the middle there. */
function again(change) {
  const anchor = choice.selected >= 0 && choice.selected < N &&
    Math.abs(yOf(axis.pos[choice.selected]) - view.height / 2) < view.height / 2
    ? time[choice.selected] : timeAt(posAtY(view.height / 2));
  change();
  layOut();
  placeLanes();
  mapPicture = null;
  setView(posOf(anchor) - (view.height - HEAD) / 2 / view.scale);
}

// Choosing.

const former = [];

function select(i, remember = true) {
  if (i === choice.selected) return;
  if (remember) former.push(choice.selected);
  choice.thread.forEach((k) => { choice.onThread[k] = 0; });
  choice.selected = i;
  choice.past = pastOf(i);
  choice.thread = threadOf(i);
  choice.thread.forEach((k) => { choice.onThread[k] = 1; });
  if (choice.show === "past" || choice.show === "thread") again(() => {});
  tellEvent();
  ask();
}

function show(what) {
  if (what !== "all" && choice.selected < 0) return;
  again(() => { choice.show = what; });
  if (choice.selected >= 0) goTo(choice.selected, 0.7);
  tellButtons();
}

function setScale(what) {
  again(() => { choice.scale = what; });
  tellButtons();
}

function tellButtons() {
  for (const button of document.querySelectorAll("[data-show], [data-scale]")) {
    const { show: shows, scale } = button.dataset;
    button.setAttribute("role", "radio");
    button.setAttribute("aria-checked", shows === choice.show || scale === choice.scale);
    button.disabled = shows && shows !== "all" && choice.selected < 0;
  }
}

// The panel.

function link(i) {
  const said = `${LANES[lane[i]].name} ${DATA.kinds[kind[i]]} ${text[i]}`;
  const it = element("a", "", `#${i + 1} ${said}`, said);
  it.addEventListener("click", () => { select(i); goTo(i); });
  return it;
}

function term(list, name, ...values) {
  list.append(element("dt", "", name));
  values.forEach((value, n) => {
    const cell = element("dd", "");
    if (n) cell.style.gridColumn = 2;
    cell.append(value);
    list.append(cell);
  });
}

function tellEvent() {
  const at = $("event"), i = choice.selected;
  at.replaceChildren();
  tellButtons();
  tellThread();
  if (i < 0) {
    at.append(element("p", "", "A click on an event shows what led to it."));
    return;
  }
  const what = element("div", "what", `${DATA.kinds[kind[i]]} #${i + 1}`);
  what.style.color = colorOf(i);
  const list = element("dl", "");
  const of = LANES[lane[i]], standing = standingAt(of, i);
  term(list, "time", seconds(time[i]) + " s");
  term(list, "lane", [of.name, standing, ...troublesAt(of, time[i])].filter(Boolean).join(", "));
  if (cause[i] >= 0) term(list, "cause", link(cause[i]));
  if (before[i] >= 0) term(list, "before it", link(before[i]));
  if (arrival[i] >= 0) term(list, "on its way", duration(time[i] - time[cause[i]]));
  const caused = effects.get(i) ?? [];
  if (caused.length) term(list, "caused", ...caused.slice(0, 8).map(link));
  if (caused.length > 8) term(list, "", `and ${caused.length - 8} more`);
  const size = choice.past.reduce((sum, it) => sum + it, 0);
  term(list, "its past", `${size.toLocaleString()} of ${N.toLocaleString()} events`);
  at.append(what, element("div", "text", text[i]), list);
}

function tellThread() {
  const most = 200;
  const rows = choice.thread.slice(0, most).map((i) => {
    const row = element("li", WEIGHT[kind[i]] >= 2 ? "weighty" : "", "", text[i]);
    const back = time[choice.selected] - time[i];
    row.append(
      element("span", "", back ? "−" + duration(back) : "0"),
      element("span", "", LANES[lane[i]].name),
      element("span", "", text[i]));
    row.style.color = WEIGHT[kind[i]] >= 2 ? colorOf(i) : "";
    row.addEventListener("mouseenter", () => { hover.event = i; ask(); });
    row.addEventListener("mouseleave", () => { hover.event = -1; ask(); });
    row.addEventListener("click", () => goTo(i));
    return row;
  });
  if (!rows.length) rows.push(element("li", "none", "Nothing is selected."));
  const left = choice.thread.length - most;
  if (left > 0) rows.push(element("li", "none", `and ${left.toLocaleString()} before these`));
  $("thread").replaceChildren(...rows);
}

function chip(name, count, paint, pressed, act) {
  const it = element("button", "chip", "", "Hides or shows; a double click leaves it alone");
  const ratio = devicePixelRatio || 1, sign = element("canvas", "");
  sign.width = sign.height = 18 * ratio;
  const p = sign.getContext("2d");
  p.scale(ratio, ratio);
  paint(p);
  it.append(sign, element("span", "", name), element("small", "", count));
  it.setAttribute("aria-pressed", pressed);
  it.addEventListener("click", (event) => act(event.detail === 2));
  return it;
}

function tellKinds() {
  const chips = DATA.kinds.map((name, k) => [name, k]).filter(([, k]) => counts[k] > 0);
  $("kinds").replaceChildren(...chips.map(([name, k]) =>
    chip(name, counts[k].toLocaleString(), (p) => mark(p, k, 9, 9, 5.4, C[kindColor[k]]),
      choice.kinds[k], (alone) => {
        again(() => {
          if (alone) choice.kinds = choice.kinds.map((_, other) => other === k);
          else choice.kinds[k] = !choice.kinds[k];
          if (!choice.kinds.some(Boolean)) choice.kinds.fill(true);
        });
        refresh($("kinds"), chips.map(([, kind]) => choice.kinds[kind]));
      })));
}

/** Presses chips without making them anew, so that a second click meets the same one. */
function refresh(chips, pressed) {
  pressed.forEach((on, n) => chips.children[n].setAttribute("aria-pressed", on));
}

function tellLanes() {
  $("lanes").replaceChildren(...LANES.map((it) => chip(it.name, it.count.toLocaleString(), (p) => {
    p.fillStyle = it.what === "Server" ? C.leader : it.what === "Client" ? C.client : C.fault;
    p.fillRect(7.5, 2, 3, 14);
  }, it.on, (alone) => {
    again(() => {
      if (alone) LANES.forEach((other) => { other.on = other === it; });
      else it.on = !it.on;
      if (!LANES.some((other) => other.on)) LANES.forEach((other) => { other.on = true; });
    });
    refresh($("lanes"), LANES.map((other) => other.on));
  })));
}

function tellShading() {
  const line = (width, color) => (p) => {
    p.fillStyle = color;
    p.fillRect(9 - width / 2, 1, width, 16);
  };
  const area = (fill, x, width, alpha = 1) => (p) => {
    p.globalAlpha = alpha;
    p.fillStyle = fill;
    p.fillRect(x, 1, width, 16);
    p.globalAlpha = 1;
    line(2, C.follower)(p);
  };
  const stroke = (color, dash, lost) => (p) => {
    p.strokeStyle = color;
    p.lineWidth = 1.5;
    p.setLineDash(dash);
    p.moveTo(1, 5);
    p.lineTo(14, 12);
    p.stroke();
    p.setLineDash([]);
    if (lost) mark(p, KIND.Lose, 14, 12, 3.4, color);
  };
  const rows = [
    ["leads", line(6, C.leader)], ["follows", line(2, C.follower)],
    ["asks for votes", line(4, C.candidate)],
    ["down", (p) => { p.fillStyle = hatch.down; p.fillRect(1, 1, 16, 16); }],
    ["paused", area(hatch.pause, 1, 16)], ["disk stalled", area(C.stall, 10, 7, 0.3)],
    ["cannot reach one", area(hatch.cut, 13, 5)], ["cannot hear one", area(hatch.cut, 0, 5)],
    ["message", stroke(C.send, [])], ["lost", stroke(C.lose, [4, 3], true)],
    ["from or to a client", stroke(C.client, [])],
    ["led to the selected", line(6, C.gold)],
  ];
  $("shading").replaceChildren(...rows.map(([name, paint]) => {
    const it = chip(name, "", paint, true, () => {});
    it.classList.add("plain");
    it.title = "";
    it.disabled = true;
    it.style.opacity = 1;
    return it;
  }));
}

// Searching.

function search() {
  const wanted = $("find").value.trim().toLowerCase();
  const number = /^#(\d+)$/.exec(wanted);
  choice.isMatch.fill(0);
  choice.matches = [];
  mapPicture = null;
  if (number) {
    const i = Number(number[1]) - 1;
    if (i >= 0 && i < N) choice.matches = [i];
  } else if (wanted) {
    for (let i = 0; i < N; i++) if (text[i].toLowerCase().includes(wanted)) choice.matches.push(i);
  }
  choice.matches.forEach((i) => { choice.isMatch[i] = 1; });
  $("found").textContent = wanted ? choice.matches.length.toLocaleString() : "";
  if (number && choice.matches.length) { select(choice.matches[0]); goTo(choice.matches[0]); }
  ask();
}

let lastMatch = -1;

/** To the next or the former match, from the last one if it is in sight. */
function step(forward) {
  const shown = choice.matches.filter((i) => axis.shown[i]);
  if (!shown.length) return;
  const inSight = lastMatch >= 0 && Math.abs(yOf(axis.pos[lastMatch]) - view.height / 2) <
    view.height / 2;
  const [low, high] = windowOf();
  let to;
  if (inSight) {
    const at = lowerBound(shown, lastMatch);
    to = shown[at] === lastMatch || !forward ? at + (forward ? 1 : -1) : at;
  } else to = forward ? lowerBound(shown, low) : lowerBound(shown, high) - 1;
  lastMatch = shown[(to + shown.length) % shown.length];
  goTo(lastMatch);
  hover.event = lastMatch;
  $("found").textContent = `${shown.indexOf(lastMatch) + 1} of ${shown.length.toLocaleString()}`;
}

// The pointer.

function hit(x, y) {
  hover.event = hover.message = -1;
  let nearest = 12;
  for (const it of drawn.marks) {
    const far = Math.hypot(it.x - x, it.y - y);
    if (far < nearest) [nearest, hover.event] = [far, it.i];
  }
  if (hover.event >= 0) return;
  if (x > view.right) {
    let close = 9;
    for (const it of drawn.marks) {
      if (Math.abs(it.y - y) < close) [close, hover.event] = [Math.abs(it.y - y), it.i];
    }
    return;
  }
  nearest = 5;
  for (const line of drawn.messages) {
    const [dx, dy] = [line.x2 - line.x1, line.y2 - line.y1];
    const part = ((x - line.x1) * dx + (y - line.y1) * dy) / (dx * dx + dy * dy || 1);
    const t = Math.min(1, Math.max(0, part));
    const far = Math.hypot(line.x1 + t * dx - x, line.y1 + t * dy - y);
    if (far < nearest) [nearest, hover.message] = [far, line.k];
  }
}

function hideTip() {
  $("tip").hidden = true;
  hover.event = hover.message = -1;
}

function eventLines(i, name = DATA.kinds[kind[i]]) {
  const head = element("div", "what",
    `${LANES[lane[i]].name}  ${name}  `);
  head.style.color = colorOf(i);
  head.append(element("span", "soft", `${seconds(time[i])} s  #${i + 1}`));
  return [head, element("div", "text", text[i])];
}

function tipFor(x, y) {
  if (hover.message >= 0) {
    const { from, to, lost } = messages[hover.message];
    const took = duration(time[to] - time[from]);
    return [...eventLines(from), element("div", "soft", lost ? `lost after ${took}` :
      `${took} on its way to`), ...eventLines(to)];
  }
  if (hover.event >= 0) {
    const i = hover.event, lines = eventLines(i);
    if (cause[i] >= 0) {
      const head = element("div", "soft", `caused ${duration(time[i] - time[cause[i]])} before by`);
      lines.push(head, ...eventLines(cause[i]));
    }
    return lines;
  }
  const it = view.lanes.find((one) => Math.abs(one.x - x) < view.laneWidth / 2);
  if (!it || y < HEAD) return [];
  const at = timeAt(posAtY(y)), standing = standingAt(it, lowerBound(axis.pos, posAtY(y)));
  const words = [standing, ...troublesAt(it, at)];
  const said = words.filter(Boolean).join(", ");
  if (drawn.dense) {
    const list = axis.byLane[it.n];
    const n = lowerBound(list, posAtY(y + 6)) - lowerBound(list, posAtY(y - 6));
    if (n) words.push(`${n.toLocaleString()} events hereabouts`);
  } else if (!troublesAt(it, at).length && standing !== "down") return [];
  const lines = [element("div", "what", `${it.name}  ${seconds(at)} s`)];
  if (said) lines.push(element("div", "", said));
  if (words.length > said.split(", ").length) lines.push(element("div", "soft", words.at(-1)));
  return lines;
}

function point(x, y) {
  hover.x = x;
  hover.y = y;
  hit(x, y);
  const lines = tipFor(x, y), tip = $("tip");
  tip.hidden = lines.length === 0;
  tip.replaceChildren(...lines);
  const left = x + 18 + tip.offsetWidth > view.width - MAP ? x - 18 - tip.offsetWidth : x + 18;
  const above = y + 14 + tip.offsetHeight > view.height ? y - 14 - tip.offsetHeight : y + 14;
  tip.style.left = Math.max(4, left) + "px";
  tip.style.top = Math.max(4, above) + "px";
  chart.style.cursor = hover.event >= 0 ? "pointer" : "default";
  ask();
}

let grip = null;

chart.addEventListener("pointerdown", (event) => {
  grip = { y: event.offsetY, top: view.top, moved: false };
  chart.setPointerCapture(event.pointerId);
  chart.focus();
});
chart.addEventListener("pointermove", (event) => {
  if (!grip) { point(event.offsetX, event.offsetY); return; }
  if (Math.abs(event.offsetY - grip.y) > 3) grip.moved = true;
  if (!grip.moved) return;
  chart.classList.add("dragging");
  setView(grip.top - (event.offsetY - grip.y) / view.scale);
});
chart.addEventListener("pointerup", (event) => {
  const clicked = grip && !grip.moved;
  grip = null;
  chart.classList.remove("dragging");
  if (!clicked) return;
  hit(event.offsetX, event.offsetY);
  const i = hover.message >= 0 ? messages[hover.message].to : hover.event;
  if (i >= 0) select(i);
  else if (drawn.dense) zoom(6, event.offsetY);
});
chart.addEventListener("pointerleave", () => { hideTip(); ask(); });
chart.addEventListener("wheel", (event) => {
  event.preventDefault();
  const pixels = event.deltaY * (event.deltaMode === 1 ? 17 : event.deltaMode === 2 ? 600 : 1);
  if (event.ctrlKey || event.metaKey || event.altKey) {
    zoom(Math.exp(-pixels / 250), event.offsetY);
  } else setView(view.top + pixels / view.scale);
}, { passive: false });
chart.addEventListener("dblclick", (event) => {
  if (hover.event < 0 && hover.message < 0) zoom(event.shiftKey ? 1 / 3 : 3, event.offsetY);
});

const moveMap = (event) => {
  const pos = (event.offsetY / view.height) * axis.length;
  setView(pos - (view.height - HEAD) / view.scale / 2);
};
map.addEventListener("pointerdown", (event) => {
  map.setPointerCapture(event.pointerId);
  moveMap(event);
});
map.addEventListener("pointermove", (event) => { if (event.buttons) moveMap(event); });
map.addEventListener("wheel", (event) => {
  event.preventDefault();
  zoom(Math.exp(-event.deltaY / 250));
}, { passive: false });

// The keys.

/** To the next shown event in the lane of the selected one, or out of it to a cause or effect. */
function walk(to) {
  if (to === undefined || to < 0) return;
  select(to);
  const y = yOf(axis.pos[to]);
  if (y < HEAD + 20 || y > view.height - 20) goTo(to);
}

function neighbour(forward) {
  let i = choice.selected + (forward ? 1 : -1);
  while (i >= 0 && i < N && !axis.shown[i]) i += forward ? 1 : -1;
  return i < N ? i : -1;
}

const page = () => (view.height - HEAD) / view.scale;
const KEYS = [
  ["wheel, drag, ↑ ↓", "through time", { ArrowUp: () => setView(view.top - 40 / view.scale),
    ArrowDown: () => setView(view.top + 40 / view.scale) }],
  ["PgUp PgDn Home End", "faster", { PageUp: () => setView(view.top - page() * 0.9),
    PageDown: () => setView(view.top + page() * 0.9), Home: () => setView(-1),
    End: () => setView(axis.length), " ": () => setView(view.top + page() * 0.9) }],
  ["Ctrl + wheel, + −", "zoom", { "+": () => zoom(1.5), "=": () => zoom(1.5),
    "-": () => zoom(1 / 1.5) }],
  ["f", "the whole run", { f: fit }],
  ["v", "the violation", { v: toViolation }],
  ["1 2 3 4", "all, dim the rest, its past, its thread", { 1: () => show("all"),
    2: () => show("dim"), 3: () => show("past"), 4: () => show("thread") }],
  ["t", "rows or time", { t: () => setScale(choice.scale === "rows" ? "time" : "rows") }],
  ["w", "weighty kinds only", { w: weightyOnly }],
  ["click", "select an event", {}],
  ["j k", "select the next, the one before", { j: () => walk(neighbour(true)),
    k: () => walk(neighbour(false)) }],
  ["c e", "select its cause, its effect", { c: () => walk(cause[choice.selected] >= 0
    ? cause[choice.selected] : before[choice.selected]),
  e: () => walk((effects.get(choice.selected) ?? [])[0]) }],
  ["b", "select the former", { b: () => { if (former.length) {
    const i = former.pop();
    select(i, false);
    if (i >= 0) goTo(i);
  } } }],
  ["/  n  N", "search, next, former", { "/": () => $("find").focus(), n: () => step(true),
    N: () => step(false) }],
  ["[ ]", "narrow or widen the lanes", { "[": () => widen(-0.06), "]": () => widen(0.06) }],
  ["Esc", "select nothing, close this", { Escape: () => {
    if ($("help").hidden) select(-1);
    toggleHelp(false);
    if (choice.show !== "all" && choice.selected < 0) show("all");
  } }],
  ["?", "the keys", { "?": () => toggleHelp() }],
];
const acts = Object.assign({}, ...KEYS.map(([, , keys]) => keys));

function widen(part) {
  view.share = Math.min(0.95, Math.max(0.2, view.share + part));
  placeLanes();
}

function weightyOnly() {
  const on = choice.kinds.some((it, k) => it && !isWeighty[k]);
  again(() => { choice.kinds = isWeighty.map((weighty) => !on || weighty); });
  tellKinds();
}

function toViolation() {
  if (violation < 0) { setView(axis.length); return; }
  select(violation);
  goTo(violation, 0.75);
}

function toggleHelp(open = $("help").hidden) {
  $("help").hidden = !open;
  $("keys").setAttribute("aria-expanded", open);
}

document.addEventListener("keydown", (event) => {
  if (event.target === $("find")) {
    if (event.key === "Enter") step(!event.shiftKey);
    if (event.key === "Escape") chart.focus();
    return;
  }
  const act = acts[event.key];
  if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  act();
});

// The beginning.

function begin() {
  document.title = DATA.title || document.title;
  $("title").textContent = DATA.title;
  $("subtitle").textContent = DATA.subtitle;
  $("subtitle").className = violation >= 0 ? "bad" : "";
  $("command").textContent = DATA.command;
  $("violation").disabled = violation < 0;
  for (const [keys, what] of KEYS) {
    $("help").append(element("kbd", "", keys), element("span", "", what));
  }
  document.querySelectorAll("[data-show]").forEach((button) =>
    button.addEventListener("click", () => show(button.dataset.show)));
  document.querySelectorAll("[data-scale]").forEach((button) =>
    button.addEventListener("click", () => setScale(button.dataset.scale)));
  $("violation").addEventListener("click", toViolation);
  $("fit").addEventListener("click", fit);
  $("keys").addEventListener("click", () => toggleHelp());
  $("weighty").addEventListener("click", weightyOnly);
  $("lanesAll").addEventListener("click", () => {
    again(() => LANES.forEach((it) => { it.on = true; }));
    tellLanes();
  });
  let waiting = 0;
  $("find").addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(search, 120);
  });
  const paint = () => { readTheme(); tellKinds(); tellLanes(); tellShading(); tellEvent(); ask(); };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
  layOut();
  resize();
  paint();
  new ResizeObserver(() => { resize(); setView(view.top); }).observe($("stage"));
  const linked = Number(/^#(\d+)$/.exec(location.hash)?.[1] ?? 0) - 1;
  if (linked >= 0 && linked < N) { select(linked); goTo(linked); }
  else if (violation >= 0) goTo(violation, 0.75);
  else setView(axis.length, view.scale);
  chart.focus();
}

begin();
