// The exact lab's map (metalab/ui/canvas/lab.py is its Python side): a plotly figure below, and over it what can be
// dragged, which moves at once; the figure follows when Python has answered. Text is only ever set as textContent.

const LAB_MS = 60;
const LAB_REACH = { mouse: 16, touch: 26, pen: 20 };
const WIDEST = 680;

class Lab {
  constructor(root) {
    this.root = root;
    this.sender = new Sender(LAB_MS);
    this.selected = 0;
    this.nodes = new Map();
    this.build();
    this.observer = new ResizeObserver(() => this.render());
    this.observer.observe(this.frame);
  }

  build() {
    this.title = make("h3");
    const save = (text, onclick) => make("button", { type: "button", text, onclick });
    this.saves = { png: save("PNG", () => this.saveImage("png")), svg: save("SVG", () => this.saveImage("svg")), csv: save("CSV", () => this.saveCsv()) };
    this.key = make("div", { class: "key", "aria-hidden": "true" });
    this.trouble = make("p", { class: "trouble", role: "status" });
    this.plot = make("div", { class: "plot", role: "img" });
    this.rims = make("g", { class: "rims" });
    this.marks = make("g", { class: "marks" });
    this.svg = make("svg", { class: "over", role: "group" }, this.rims, this.marks);
    this.frame = make("div", { class: "frame" }, this.plot, this.svg);
    this.told = make("p", { class: "told", "aria-live": "polite" });
    this.alt = make("p", { class: "alt" });
    this.root.replaceChildren(
      make("div", { class: "head" }, this.title, make("div", { class: "saves" }, ...Object.values(this.saves))),
      this.trouble, this.key, this.frame, this.told, this.alt);
    this.marks.addEventListener("pointerdown", (event) => this.down(event));
    this.marks.addEventListener("pointermove", (event) => this.move(event));
    this.marks.addEventListener("pointerup", (event) => this.up(event));
    this.marks.addEventListener("pointercancel", (event) => this.up(event));
    this.marks.addEventListener("keydown", (event) => this.press(event));
    this.marks.addEventListener("keyup", (event) => this.release(event));
    holdScroll(this.marks, () => Boolean(this.drag));
  }

  // Runs at each rerun that changes the data, and when the theme changes.
  update(data, send) {
    if (this.raw !== data) {
      this.raw = this.data = data;
      this.figure = unpacked(data.figure);
      if (this.revision !== data.revision) {
        this.revision = data.revision;
        this.sender.stop();
        this.drag = null;
        this.bowls = data.bowls.map(bowlOf);
        this.start = { x: data.start[0], y: data.start[1] };
        this.selected = Math.min(this.selected, this.bowls.length - 1);
      }
    }
    this.sender.connect(send, data.seq);
    this.label();
    this.render();
    chartLibrary(data.plotly).then(
      (plotly) => { this.plotly = plotly; this.draw(); },
      () => { this.trouble.textContent = data.text.no_plotly; },
    );
  }

  stop() {
    this.sender.stop();
    this.observer.disconnect();
    this.plotly?.purge(this.plot);
  }

  label() {
    const { text, title, alt, key } = this.data;
    this.title.textContent = title;
    this.alt.textContent = alt;
    this.plot.setAttribute("aria-label", alt);
    this.svg.setAttribute("aria-label", text.map);
    this.key.replaceChildren(...key.map((one) => make("span", {}, make("i", { class: one.look }), one.text)));
    for (const [kind, button] of Object.entries(this.saves)) {
      button.title = text[kind];
      button.setAttribute("aria-label", `${text[kind]}: ${title}`);
    }
  }

  // ---- places ----

  /** The square of the map within the frame, in pixels. */
  layOut() {
    const { l, r, t, b } = this.data.margin;
    const width = Math.min(Math.floor(this.frame.clientWidth), WIDEST);
    const side = width - l - r;
    this.area = { left: l, top: t, side, width, height: side + t + b, scale: side / (2 * this.data.half) };
    return side > 40;
  }

  toX(x) { return this.area.left + (x + this.data.half) * this.area.scale; }
  toY(y) { return this.area.top + (this.data.half - y) * this.area.scale; }

  /** What can be moved now: {id, x, y} and how. */
  handles() {
    const { rim, half } = this.data;
    const free = (of, id) => ({ id, x: of.x, y: of.y, to: (x, y) => { of.x = rounded(held(x, -half, half)); of.y = rounded(held(y, -half, half)); } });
    const all = [{ ...free(this.start, "start"), kind: "start" }];
    this.bowls.forEach((bowl, task) => all.push({ ...free(bowl, `optimum-${task}`), kind: "optimum", task }));
    const bowl = this.bowls[this.selected];
    for (const axis of [0, 1]) {
      const side = this.drag?.axis === axis ? this.drag.side : sideOf(bowl, axis, this.data);
      const [x, y] = endOf(bowl, axis, side, rim);
      all.push({ id: `axis-${axis}`, kind: "axis", task: this.selected, axis, side, x, y, to: (px, py) => pull(bowl, axis, side, px, py, this.data) });
    }
    return all;
  }

  // ---- pointer ----

  position(event) {
    const box = this.svg.getBoundingClientRect();
    return { px: event.clientX - box.left, py: event.clientY - box.top };
  }

  down(event) {
    if (this.drag || event.button !== 0) return;
    const { px, py } = this.position(event);
    let found = null;
    let reach = LAB_REACH[event.pointerType] ?? LAB_REACH.touch;
    for (const handle of this.handles()) {
      const away = Math.hypot(this.toX(handle.x) - px, this.toY(handle.y) - py);
      if (away <= reach) [found, reach] = [handle, away];
    }
    if (!found) return;
    this.marks.setPointerCapture(event.pointerId);
    this.drag = { pointer: event.pointerId, id: found.id, axis: found.axis, side: found.side, dx: this.toX(found.x) - px, dy: this.toY(found.y) - py, moved: false };
    this.select(found);
    this.nodes.get(found.id)?.focus({ preventScroll: true });
    this.render();
    event.preventDefault();
  }

  move(event) {
    if (this.drag?.pointer !== event.pointerId) return;
    const { px, py } = this.position(event);
    const x = (px + this.drag.dx - this.area.left) / this.area.scale - this.data.half;
    const y = this.data.half - (py + this.drag.dy - this.area.top) / this.area.scale;
    this.handles().find(({ id }) => id === this.drag.id).to(x, y);
    this.drag.moved = true;
    this.changed(true);
  }

  up(event) {
    if (this.drag?.pointer !== event.pointerId) return;
    const { moved } = this.drag;
    this.drag = null;
    if (moved) this.changed(false);
    else this.render();
  }

  select(handle) {
    this.last = handle.id;
    if (handle.task !== undefined) this.selected = handle.task;
  }

  changed(moving) {
    const value = { revision: this.revision, bowls: this.bowls.map(rowOf), start: [this.start.x, this.start.y], moving };
    if (moving) this.sender.soon(value);
    else this.sender.now(value);
    this.render();
  }

  // ---- keyboard ----

  press(event) {
    const handle = this.handles().find(({ id }) => id === event.target.dataset?.id);
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (!handle || !way || event.ctrlKey || event.metaKey || event.altKey) return;
    const size = event.shiftKey ? 10 : 1;
    if (handle.kind === "axis") this.bend(this.bowls[handle.task], handle.axis, way, size);
    else handle.to(handle.x + way[0] * size * 0.05, handle.y + way[1] * size * 0.05);
    this.keyed = true;
    this.changed(true);
    event.preventDefault();
    event.stopPropagation();
  }

  /** Up stretches the bowl along the axis, which flattens it; right turns it clockwise. */
  bend(bowl, axis, [right, up], size) {
    const [low, high] = this.data.bends;
    bowl.bends[axis] = rounded(held(bowl.bends[axis] * 0.95 ** (up * size), low, high));
    bowl.turn = rounded((bowl.turn - 2 * right * size + 360) % 360, 1);
  }

  release() {
    if (!this.keyed) return;
    this.keyed = false;
    this.changed(false);
  }

  // ---- drawing ----

  render() {
    if (!this.data || !this.layOut()) return;
    const { width, height } = this.area;
    for (const [name, value] of Object.entries({ width, height, viewBox: `0 0 ${width} ${height}` })) this.svg.setAttribute(name, value);
    const at = ([x, y]) => `${this.toX(x).toFixed(1)} ${this.toY(y).toFixed(1)}`;
    this.rims.replaceChildren(...this.bowls.map((bowl, task) => make("path", {
      class: `rim${task === this.selected ? " selected" : ""}${this.data.diverging.includes(task) ? " diverging" : ""}`,
      d: `M${rimOf(bowl, this.data.rim).map(at).join("L")}Z`,
    })));
    const handles = this.handles();
    for (const handle of handles) this.place(handle);
    for (const [id, node] of this.nodes) {
      if (!handles.some((handle) => handle.id === id)) { node.remove(); this.nodes.delete(id); }
    }
    // Tab goes from a task on to its own axes.
    const [task, ...ends] = [`optimum-${this.selected}`, "axis-0", "axis-1"].map((id) => this.nodes.get(id));
    if (task.nextSibling !== ends[0]) task.after(...ends);
    this.tell();
    if (this.plotly && this.drawnWidth !== width) this.draw();
  }

  place(handle) {
    const mark = this.nodes.get(handle.id) ?? this.mark(handle);
    const { text } = this.data;
    mark.setAttribute("transform", `translate(${this.toX(handle.x).toFixed(1)} ${this.toY(handle.y).toFixed(1)})`);
    mark.classList.toggle("held", this.drag?.id === handle.id);
    mark.classList.toggle("selected", handle.task === this.selected && handle.kind === "optimum");
    const bowl = this.bowls[handle.task];
    const values = { task: handle.task + 1, x: signed(handle.x), y: signed(handle.y), bend: bowl && signed(bowl.bends[handle.axis ?? 0]), turn: bowl && Math.round((bowl.turn + 90 * (handle.axis ?? 0)) % 180) };
    const name = { start: text.start, optimum: text.optimum, axis: text.bowl }[handle.kind];
    const help = handle.kind === "axis" ? text.bowl_help : text.optimum_help;
    mark.setAttribute("aria-label", `${fill(name, values)}. ${help}`);
  }

  mark(handle) {
    const shapes = {
      optimum: () => [make("circle", { class: "dot", r: 12 }), make("text", { "text-anchor": "middle", y: 5, text: String(handle.task + 1) })],
      axis: () => [make("circle", { class: "end", r: 7.5 })],
      start: () => [make("path", { class: "dot", d: "M0-13L13 0L0 13L-13 0Z" }), make("text", { "text-anchor": "middle", y: 5, text: "θ" })],
    };
    const mark = make("g", { class: `mark ${handle.kind}`, tabindex: "0", role: "button", "data-id": handle.id },
      make("circle", { class: "reach", r: handle.kind === "axis" ? 15 : 19 }), ...shapes[handle.kind]());
    mark.addEventListener("focus", () => {
      const here = this.handles().find(({ id }) => id === handle.id);
      if (here) this.select(here);
      this.render();
    });
    this.nodes.set(handle.id, mark);
    this.marks.append(mark);
    return mark;
  }

  tell() {
    const { text } = this.data;
    const { x, y, bends, turn } = this.bowls[this.selected];
    const words = this.last === undefined ? text.hint
      : this.last === "start" ? fill(text.told_start, { x: signed(this.start.x), y: signed(this.start.y) })
      : fill(text.told, { task: this.selected + 1, x: signed(x), y: signed(y), first: signed(bends[0]), second: signed(bends[1]), turn: Math.round(turn % 180) });
    if (this.told.textContent !== words) this.told.textContent = words;
  }

  draw() {
    if (!this.plotly || !this.figure || !this.root.isConnected || !this.layOut()) return;
    const { width, height } = this.area;
    const look = readStageLook(this.root, this.data.dark);
    const figure = { ...this.figure, data: this.figure.data.filter(({ meta }) => !meta?.overlay) };
    const { data, layout } = figureAt(figure, 0, look, { width, height, revision: "lab" });
    this.drawnWidth = width;
    this.plotly.react(this.plot, data, { ...layout, dragmode: false }, { displayModeBar: false, doubleClick: false });
    this.root.dataset.drawn = String((this.drawings = (this.drawings ?? 0) + 1));
  }

  // ---- saving ----

  saveImage(format) {
    const look = readStageLook(this.root, this.data.dark);
    const { margin } = this.data;
    const key = savedKey(this.data.key.map(({ look: kind, text }) => ({ look: kind, text, colour: look.text })), 760);
    const room = 50 + 18 * key.length;
    const [width, height] = [760, 760 - margin.l - margin.r + margin.t + margin.b + room];
    const { data, layout } = figureAt(this.figure, 0, look, { width, height, revision: "lab" });
    const saved = { ...layout, title: titled(this.data.title, key), paper_bgcolor: look.background, margin: { ...margin, t: margin.t + room } };
    this.plotly.downloadImage({ data, layout: saved }, { format, scale: format === "png" ? 2 : 1, width, height, filename: "metalab-lab" });
  }

  saveCsv() {
    const text = csvText({ figure: this.figure, columns: this.data.columns }, "step");
    const link = make("a", { href: URL.createObjectURL(new Blob([text], { type: "text/csv" })), download: "metalab-lab.csv" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }
}

const labs = new WeakMap();

export default function ({ parentElement, data, setStateValue }) {
  const root = parentElement.querySelector(".ml-lab");
  if (!labs.has(root)) labs.set(root, new Lab(root));
  const lab = labs.get(root);
  lab.update(data, (value) => setStateValue("lab", value));
  return () => { setTimeout(() => { if (!root.isConnected) lab.stop(); }, 1000); };
}
