// One drawing pad: a canvas, its strokes, Undo and Clear. Strokes are lists of [x, y] in the unit square.

const MAX_STROKES = 30;
const MAX_POINTS = 200;
const TOLERANCE = 0.003; // of the pad's side: a simplified stroke cannot be told from what was drawn
const PEN = 0.05; // of the pad's side
const round = (value) => Math.round(value * 1000) / 1000;

function distanceToLine([x, y], [ax, ay], [bx, by]) {
  const [dx, dy] = [bx - ax, by - ay];
  const length = dx * dx + dy * dy;
  const share = length ? Math.min(Math.max(((x - ax) * dx + (y - ay) * dy) / length, 0), 1) : 0;
  return Math.hypot(x - ax - share * dx, y - ay - share * dy);
}

/** Ramer, Douglas and Peucker: drop the points that lie within `tolerance` of the line through those kept. */
function thinned(points, tolerance) {
  const keep = new Set([0, points.length - 1]);
  const spans = [[0, points.length - 1]];
  while (spans.length) {
    const [from, to] = spans.pop();
    let [worst, at] = [tolerance, -1];
    for (let n = from + 1; n < to; n += 1) {
      const away = distanceToLine(points[n], points[from], points[to]);
      if (away > worst) [worst, at] = [away, n];
    }
    if (at < 0) continue;
    keep.add(at);
    spans.push([from, at], [at, to]);
  }
  return points.filter((_point, n) => keep.has(n));
}

function simplified(points) {
  let tolerance = TOLERANCE;
  let out = thinned(points, tolerance);
  while (out.length > MAX_POINTS) out = thinned(points, (tolerance *= 2));
  return out.map(([x, y]) => [round(x), round(y)]);
}

/** Paint an {size, bytes} image in the given colour; only where something changed. */
function paintImage(canvas, image, colour) {
  const wanted = image.bytes + colour;
  if (canvas.painted === wanted) return;
  canvas.painted = wanted;
  canvas.width = canvas.height = image.size;
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(image.size, image.size);
  const bytes = atob(image.bytes);
  for (let n = 0; n < bytes.length; n += 1) pixels.data[4 * n + 3] = bytes.charCodeAt(n);
  context.putImageData(pixels, 0, 0);
  context.globalCompositeOperation = "source-in";
  context.fillStyle = colour;
  context.fillRect(0, 0, image.size, image.size);
}

/** Draw strokes on a canvas that shows `side` CSS pixels. */
function paintStrokes(canvas, strokes, colour) {
  const side = canvas.clientWidth;
  const scale = window.devicePixelRatio || 1;
  const pixels = Math.round(side * scale);
  if (canvas.width !== pixels) canvas.width = canvas.height = pixels;
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, pixels, pixels);
  context.lineCap = context.lineJoin = "round";
  context.lineWidth = Math.max(PEN * pixels, 2 * scale);
  context.strokeStyle = colour;
  for (const stroke of strokes) {
    context.beginPath();
    stroke.forEach(([x, y], n) => (n ? context.lineTo(x * pixels, y * pixels) : context.moveTo(x * pixels, y * pixels)));
    if (stroke.length === 1) context.lineTo(stroke[0][0] * pixels, stroke[0][1] * pixels);
    context.stroke();
  }
}

class Pad {
  /** `changed(live)`: live while a stroke is being drawn. `refused()`: the pad is full. */
  constructor({ strokes, text, withWords, changed, refused }) {
    Object.assign(this, { strokes, changed, refused, past: [], stroke: null });
    this.canvas = make("canvas", { class: "ink", role: "img" });
    this.sheet = make("div", { class: "sheet" }, this.canvas);
    this.preview = make("canvas", { class: "preview", role: "img", "aria-label": text.seen, title: text.seen });
    this.undoButton = button("undo", text.undo, withWords ? text.undo : "", () => this.undo());
    this.clearButton = button("clear", text.clear, withWords ? text.clear : "", () => this.clear());
    this.canvas.addEventListener("pointerdown", (event) => this.down(event));
    this.canvas.addEventListener("pointermove", (event) => this.move(event));
    this.canvas.addEventListener("pointerup", (event) => this.up(event));
    this.canvas.addEventListener("pointercancel", (event) => this.up(event));
    this.canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    holdScroll(this.canvas, () => true);
  }

  name(label, undo, clear) {
    this.label = label;
    for (const [node, words] of [[this.undoButton, undo], [this.clearButton, clear]]) {
      node.setAttribute("aria-label", words);
      node.title = words;
    }
  }

  /** All strokes, the one under the pen included. */
  all() {
    return this.stroke ? [...this.strokes, simplified(this.stroke)] : this.strokes;
  }

  show() {
    const colour = getComputedStyle(this.canvas).color;
    paintStrokes(this.canvas, this.stroke ? [...this.strokes, this.stroke] : this.strokes, colour);
    this.undoButton.disabled = !this.past.length && !this.strokes.length;
    this.clearButton.disabled = !this.strokes.length;
    this.canvas.setAttribute("aria-label", fill(this.label, { count: this.strokes.length }));
  }

  showPreview(preview) {
    this.preview.classList.toggle("blank", !preview);
    if (preview) paintImage(this.preview, preview, getComputedStyle(this.canvas).color);
  }

  point(event) {
    const box = this.canvas.getBoundingClientRect();
    const inside = (value) => Math.min(Math.max(value, 0), 1);
    return [inside((event.clientX - box.left) / box.width), inside((event.clientY - box.top) / box.height)];
  }

  down(event) {
    if (event.button !== 0 || this.stroke) return;
    event.preventDefault();
    if (this.strokes.length >= MAX_STROKES) {
      this.refused();
      return;
    }
    this.canvas.setPointerCapture(event.pointerId);
    this.pointer = event.pointerId;
    this.stroke = [this.point(event)];
    this.show();
  }

  move(event) {
    if (!this.stroke || event.pointerId !== this.pointer) return;
    const events = event.getCoalescedEvents?.() ?? [];
    for (const one of events.length ? events : [event]) this.stroke.push(this.point(one));
    if (this.stroke.length > 3000) this.stroke = thinned(this.stroke, TOLERANCE);
    this.show();
    this.changed(true);
  }

  up(event) {
    if (!this.stroke || event.pointerId !== this.pointer) return;
    const stroke = simplified(this.stroke);
    this.stroke = null;
    this.change([...this.strokes, stroke]);
  }

  change(strokes) {
    this.past.push(this.strokes);
    this.strokes = strokes;
    this.show();
    this.changed(false);
  }

  /** Drawings that Python gave cannot be undone as edits, but their strokes can be taken back one by one. */
  undo() {
    this.strokes = this.past.length ? this.past.pop() : this.strokes.slice(0, -1);
    this.show();
    this.changed(false);
  }

  clear() {
    if (this.strokes.length) this.change([]);
  }
}
