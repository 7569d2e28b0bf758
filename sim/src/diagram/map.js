// The map: the whole run at the right edge, with the window in it.

function drawMap() {
  const ratio = devicePixelRatio || 1;
  if (!mapPicture) mapPicture = pictureMap(ratio);
  mapPen.setTransform(1, 0, 0, 1, 0, 0);
  mapPen.drawImage(mapPicture, 0, 0);
  mapPen.setTransform(ratio, 0, 0, ratio, 0, 0);
  const toY = (pos) => (pos / axis.length) * view.height;
  const y1 = toY(view.top), y2 = toY(posAtY(view.height));
  mapPen.fillStyle = C.hover;
  mapPen.fillRect(1, y1, MAP - 1, y2 - y1);
  mapPen.strokeStyle = C.accent;
  mapPen.lineWidth = 1.5;
  mapPen.strokeRect(1.5, Math.max(y1, 1), MAP - 3, Math.max(y2 - y1, 3));
}

function pictureMap(ratio) {
  const picture = new OffscreenCanvas(map.width || 1, map.height || 1);
  const p = picture.getContext("2d");
  p.scale(ratio, ratio);
  p.fillStyle = C.panel;
  p.fillRect(0, 0, MAP, view.height);
  p.fillStyle = C.line;
  p.fillRect(0, 0, 1, view.height);
  const bins = Math.max(1, Math.floor(view.height / 2));
  const n = new Uint32Array(bins);
  const binOf = (i) => Math.min(bins - 1, Math.floor((axis.pos[i] / axis.length) * bins));
  for (let i = 0; i < N; i++) n[binOf(i)] += axis.shown[i];
  const most = n.reduce((a, b) => Math.max(a, b), 1);
  p.fillStyle = C.follower;
  n.forEach((count, bin) => {
    if (count) p.fillRect(6, bin * 2, 2 + (MAP - 30) * Math.sqrt(count / most), 1.6);
  });
  for (const i of grave) {
    if (!axis.shown[i]) continue;
    const column = { Fault: 0, Heal: 0, Crash: 1, Start: 1, Role: 2 }[DATA.kinds[kind[i]]];
    p.fillStyle = colorOf(i);
    if (column !== undefined) p.fillRect(MAP - 20 + column * 6, binOf(i) * 2, 5, 2);
  }
  p.fillStyle = C.match;
  for (const i of choice.matches) if (axis.shown[i]) p.fillRect(2, binOf(i) * 2, 10, 2);
  if (violation >= 0) {
    p.fillStyle = C.violation;
    p.fillRect(0, binOf(violation) * 2 - 1, MAP, 3);
  }
  return picture;
}

