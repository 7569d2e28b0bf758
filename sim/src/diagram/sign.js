// What things look like: the colours of the theme, the sign of each kind, how much it weighs.

/** The colours of the theme by name, those of the kinds among them. */
const kindColor = DATA.kinds.map((name) => name.toLowerCase());
let C = {}, hatch = {}, mapPicture = null;

function readTheme() {
  const style = getComputedStyle(document.documentElement);
  const names = ["bg", "panel", "ink", "soft", "line", "grid", "accent", "gold", "match", "hover",
    "client", "pause", "stall", "cut", "down", "leader", "follower", "candidate", "mono", "sans",
    ...kindColor];
  C = Object.fromEntries(names.map((name) => [name, style.getPropertyValue("--" + name).trim()]));
  const stripes = (color, alpha, rising, step = 7) => {
    const tile = new OffscreenCanvas(step * 2, step * 2), p = tile.getContext("2d");
    p.strokeStyle = color;
    p.globalAlpha = alpha;
    p.lineWidth = 1.6;
    for (let n = -2; n <= 4; n++) {
      p.moveTo(n * step, rising ? step * 2 : 0);
      p.lineTo(n * step + step * 2, rising ? 0 : step * 2);
    }
    p.stroke();
    return pen.createPattern(tile, "repeat");
  };
  hatch = {
    down: stripes(C.down, 0.4, true),
    pause: stripes(C.pause, 0.55, false),
    cut: stripes(C.cut, 0.75, true, 4),
    stall: C.stall,
  };
  mapPicture = null;
}

/** What catches the eye first: at any distance 3, close by 2, in a row of its own 1. */
const WEIGHT = DATA.kinds.map((name) =>
  ({ Violation: 5, Crash: 4, Role: 4, Fault: 3, Heal: 3, Start: 3, Commit: 2 })[name] ?? 1);

function ring(x, y, color) {
  pen.globalAlpha = 1;
  pen.strokeStyle = color;
  pen.lineWidth = 2;
  pen.beginPath();
  pen.arc(x, y, 9, 0, 7);
  pen.stroke();
}

/** The sign of a kind. */
function mark(p, of, x, y, r, color) {
  p.fillStyle = p.strokeStyle = color;
  p.lineWidth = Math.max(1.4, r / 3);
  p.beginPath();
  const polygon = (points) => points.forEach(([dx, dy], k) =>
    (k ? p.lineTo(x + dx * r, y + dy * r) : p.moveTo(x + dx * r, y + dy * r)));
  const cross = (s) => {
    p.moveTo(x - s, y - s);
    p.lineTo(x + s, y + s);
    p.moveTo(x + s, y - s);
    p.lineTo(x - s, y + s);
    p.stroke();
  };
  switch (DATA.kinds[of]) {
    case "Start": polygon([[0, -1], [0.9, 0.8], [-0.9, 0.8]]); p.fill(); break;
    case "Crash": p.lineWidth = r / 2; cross(r * 0.85); break;
    case "Fault": polygon([[0.3, -1.2], [-0.8, 0.2], [-0.1, 0.2], [-0.3, 1.2], [0.8, -0.2],
      [0.1, -0.2]]); p.fill(); break;
    case "Heal": p.lineWidth = r / 2; p.moveTo(x - r, y); p.lineTo(x + r, y); p.moveTo(x, y - r);
      p.lineTo(x, y + r); p.stroke(); break;
    case "Role": polygon([[0, -1.1], [1.1, 0], [0, 1.1], [-1.1, 0]]); p.fill(); break;
    case "Commit": p.arc(x, y, r, 0, 7); p.fill(); break;
    case "Apply": hollow(p, () => p.arc(x, y, r * 0.8, 0, 7)); break;
    case "Persist": hollow(p, () => p.rect(x - r * 0.8, y - r * 0.8, r * 1.6, r * 1.6)); break;
    case "Persisted": p.rect(x - r * 0.9, y - r * 0.9, r * 1.8, r * 1.8); p.fill(); break;
    case "Send": p.arc(x, y, r * 0.55, 0, 7); p.fill(); break;
    case "Receive": polygon([[-0.8, -0.7], [0.8, -0.7], [0, 0.8]]); p.fill(); break;
    case "Lose": cross(r * 0.8); break;
    case "Violation": polygon(Array.from({ length: 16 }, (_, k) => {
      const [angle, far] = [k * Math.PI / 8, k % 2 ? 0.75 : 1.7];
      return [Math.sin(angle) * far, -Math.cos(angle) * far];
    })); p.fill(); break;
    default: p.arc(x, y, r * 0.45, 0, 7); p.fill();
  }
}

function hollow(p, shape) {
  const color = p.fillStyle;
  shape();
  p.fillStyle = C.bg;
  p.fill();
  p.stroke();
  p.fillStyle = color;
}

