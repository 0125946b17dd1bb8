// The moving picture of Home. Nothing in it is staged: a sine wave A sin(x - p) is w1 sin x + w2 cos x, so a network
// of these two parameters has a flat map, and MAML's gradient on it is a formula. Left: the map, with theta, the
// tasks and the inner loops. Right: what theta and phi predict on three of the tasks.

const PICTURES = new WeakMap();
const TASKS = [[3.4, 0.35], [2.3, 1.25], [4.3, 1.75], [2.6, 2.55], [4.0, 2.95]];
const SUPPORT_X = [-4.4, -2.9, -1.6, 0.3, 1.5, 3.1, 4.3];
const SHOWN = [0, 2, 4];
const COLOURS = ["#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00"];
const START = [4.6, 4.3];
const ALPHA = 0.5, INNER_STEPS = 4, BETA = 4, OUTER_STEPS = 11;
const ADAPT_MS = 950, MOVE_MS = 500, REST_MS = 2600;
const MAP = { size: 300, low: -5.6, high: 5.6 };
const WAVE = { width: 300, height: 94, gap: 9, low: -5, high: 5, reach: 5.4 };

export default function (component) {
  const { data, parentElement } = component;
  let picture = PICTURES.get(parentElement);
  if (!picture) {
    picture = new Picture(parentElement);
    PICTURES.set(parentElement, picture);
  }
  picture.say(data);
  return () => setTimeout(() => picture.disposeIfGone(), 1000);
}

// --- the mathematics: vectors [a, b], matrices [[a, b], [c, d]] -------------------------------------------------

const times = (m, v) => [m[0][0] * v[0] + m[0][1] * v[1], m[1][0] * v[0] + m[1][1] * v[1]];
const minus = (a, b) => [a[0] - b[0], a[1] - b[1]];
const along = (a, b, t) => [a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t];
const value = (w, x) => w[0] * Math.sin(x) + w[1] * Math.cos(x);
const optimum = ([amplitude, phase]) => [amplitude * Math.cos(phase), -amplitude * Math.sin(phase)];

// The matrix of second derivatives of half the mean squared error on a support set.
function curvature(points) {
  const sum = [[0, 0], [0, 0]];
  for (const x of points) {
    const f = [Math.sin(x), Math.cos(x)];
    for (const i of [0, 1]) for (const j of [0, 1]) sum[i][j] += (f[i] * f[j]) / points.length;
  }
  return sum;
}

function makeTasks() {
  return TASKS.map((task, i) => {
    const points = SUPPORT_X.map((x) => x + 0.28 * (i - 2));
    return { best: optimum(task), hessian: curvature(points), points };
  });
}

// phi_0 .. phi_K: gradient descent on the task's support set.
function adapt(theta, task) {
  const path = [theta];
  for (let k = 0; k < INNER_STEPS; k += 1) {
    const phi = path[k], slope = times(task.hessian, minus(phi, task.best));
    path.push([phi[0] - ALPHA * slope[0], phi[1] - ALPHA * slope[1]]);
  }
  return path;
}

// MAML: the query loss 1/4 |phi_K - best|^2, differentiated through the inner steps.
function outerStep(theta, tasks) {
  const gradient = [0, 0];
  for (const task of tasks) {
    let back = minus(adapt(theta, task)[INNER_STEPS], task.best).map((v) => v / 2);
    for (let k = 0; k < INNER_STEPS; k += 1) back = minus(back, times(task.hessian, back).map((v) => v * ALPHA));
    gradient[0] += back[0] / tasks.length;
    gradient[1] += back[1] / tasks.length;
  }
  return [theta[0] - BETA * gradient[0], theta[1] - BETA * gradient[1]];
}

function film() {
  const tasks = makeTasks(), thetas = [START];
  for (let step = 0; step < OUTER_STEPS; step += 1) thetas.push(outerStep(thetas[step], tasks));
  return { tasks, thetas, paths: thetas.map((theta) => tasks.map((task) => adapt(theta, task))) };
}

// --- drawing ----------------------------------------------------------------------------------------------------

function draw(tag, attributes, parent) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  parent.append(node);
  return node;
}

const onMap = ([a, b]) => [((a - MAP.low) / (MAP.high - MAP.low)) * MAP.size, ((MAP.high - b) / (MAP.high - MAP.low)) * MAP.size];
const line = (points) => points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
const smooth = (t) => t * t * (3 - 2 * t);

class Picture {
  constructor(parent) {
    this.film = film();
    this.root = document.createElement("figure");
    this.root.className = "ml-idea";
    this.stage = document.createElement("div");
    this.stage.className = "ml-idea-stage";
    this.stage.setAttribute("role", "img");
    this.caption = document.createElement("figcaption");
    this.words = document.createElement("span");
    this.button = document.createElement("button");
    this.button.type = "button";
    this.button.onclick = () => this.run(!this.running);
    this.caption.append(this.words, this.button);
    this.root.append(this.stage, this.caption);
    parent.append(this.root);
    this.buildMap();
    this.buildWaves();
    this.clock = 0;
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (still) this.clock = this.length() - 1;
    this.seen = new IntersectionObserver(([entry]) => { this.visible = entry.isIntersecting; this.wake(); });
    this.seen.observe(this.root);
    this.run(!still);
    this.show();
  }

  say(texts) {
    this.texts = texts;
    this.stage.setAttribute("aria-label", texts.alt);
    this.words.textContent = texts.caption;
    this.mapTitle.textContent = texts.map;
    this.waveTitle.textContent = texts.waves;
    this.nameButton();
  }

  nameButton() {
    if (!this.texts) return;
    this.button.textContent = this.running ? this.texts.pause : this.texts.play;
    this.button.title = this.running ? this.texts.pause_help : this.texts.play_help;
  }

  disposeIfGone() {
    if (this.root.isConnected) return;
    cancelAnimationFrame(this.frame);
    this.seen.disconnect();
  }

  panel(viewBox) {
    const box = document.createElement("div");
    const title = document.createElement("p");
    box.append(title);
    this.stage.append(box);
    return { svg: draw("svg", { viewBox, "aria-hidden": "true" }, box), title };
  }

  buildMap() {
    const { svg, title } = this.panel(`0 0 ${MAP.size} ${MAP.size}`);
    this.mapTitle = title;
    const [x, y] = onMap([0, 0]);
    draw("path", { d: `M0 ${y}H${MAP.size}M${x} 0V${MAP.size}`, class: "ml-axis" }, svg);
    this.trail = draw("path", { class: "ml-trail" }, svg);
    this.inner = this.film.tasks.map((task, i) => {
      const colour = COLOURS[i], [cx, cy] = onMap(task.best);
      draw("circle", { cx, cy, r: 13, fill: colour, "fill-opacity": 0.22 }, svg);
      draw("circle", { cx, cy, r: 6, fill: colour }, svg);
      return { path: draw("path", { class: "ml-inner", stroke: colour }, svg), steps: draw("path", { class: "ml-steps", stroke: colour }, svg), tip: draw("circle", { r: 4.5, fill: colour, class: "ml-tip" }, svg) };
    });
    this.theta = draw("circle", { r: 9, class: "ml-theta" }, svg);
    this.letter = draw("text", { class: "ml-letter" }, svg);
    this.letter.textContent = "θ";
  }

  buildWaves() {
    const { width, height, gap } = WAVE;
    const { svg, title } = this.panel(`0 0 ${width} ${3 * height + 2 * gap}`);
    this.waveTitle = title;
    this.waves = SHOWN.map((task, row) => {
      const group = draw("g", { transform: `translate(0 ${row * (height + gap)})` }, svg);
      draw("rect", { width, height, rx: 8, class: "ml-frame" }, group);
      const { best, points } = this.film.tasks[task];
      draw("path", { d: this.wave(best), class: "ml-truth" }, group);
      const start = draw("path", { class: "ml-unadapted" }, group);
      const fit = draw("path", { class: "ml-fit", stroke: COLOURS[task] }, group);
      for (const x of points) {
        const [cx, cy] = this.onWave(x, value(best, x));
        draw("circle", { cx, cy, r: 3.6, class: "ml-point" }, group);
      }
      return { task, start, fit };
    });
  }

  onWave(x, y) {
    const { width, height, low, high, reach } = WAVE;
    return [((x - low) / (high - low)) * width, height / 2 - Math.max(-1, Math.min(1, y / reach)) * (height / 2 - 4)];
  }

  wave(w) {
    const points = [];
    for (let i = 0; i <= 60; i += 1) {
      const x = WAVE.low + ((WAVE.high - WAVE.low) * i) / 60;
      points.push(this.onWave(x, value(w, x)));
    }
    return line(points);
  }

  // --- time -----------------------------------------------------------------------------------------------------

  length() {
    return OUTER_STEPS * (ADAPT_MS + MOVE_MS) + ADAPT_MS + REST_MS;
  }

  run(on) {
    this.running = on;
    this.nameButton();
    this.wake();
  }

  wake() {
    cancelAnimationFrame(this.frame);
    this.last = undefined;
    if (this.running && this.visible) this.frame = requestAnimationFrame((now) => this.tick(now));
  }

  tick(now) {
    this.clock = (this.clock + Math.min(100, now - (this.last ?? now))) % this.length();
    this.last = now;
    this.show();
    this.frame = requestAnimationFrame((next) => this.tick(next));
  }

  show() {
    const round = ADAPT_MS + MOVE_MS;
    const step = Math.min(OUTER_STEPS, Math.floor(this.clock / round));
    const within = this.clock - step * round;
    const inner = Math.min(1, within / ADAPT_MS) * INNER_STEPS;
    const move = step < OUTER_STEPS ? smooth(Math.max(0, (within - ADAPT_MS) / MOVE_MS)) : 0;
    const { thetas, paths } = this.film;
    const theta = along(thetas[step], thetas[Math.min(step + 1, OUTER_STEPS)], move);
    this.showMap(theta, step, inner, move);
    for (const wave of this.waves) {
      const phi = partWay(paths[step][wave.task], inner);
      wave.start.setAttribute("d", this.wave(theta));
      wave.fit.setAttribute("d", this.wave(along(phi, theta, move)));
    }
  }

  showMap(theta, step, inner, move) {
    const { thetas, paths } = this.film;
    this.trail.setAttribute("d", line([...thetas.slice(0, step + 1), theta].map(onMap)));
    this.inner.forEach(({ path, steps, tip }, i) => {
      const all = paths[step][i], whole = Math.floor(inner);
      const done = [...all.slice(0, whole + 1), partWay(all, inner)].map(onMap);
      path.setAttribute("d", line(done));
      steps.setAttribute("d", all.slice(1, whole + 1).map((phi) => onMap(phi)).map(([x, y]) => `M${x.toFixed(1)} ${y.toFixed(1)}h0`).join(""));
      const [cx, cy] = done[done.length - 1];
      tip.setAttribute("cx", cx);
      tip.setAttribute("cy", cy);
      for (const node of [path, steps, tip]) node.style.opacity = 1 - move;
    });
    const [x, y] = onMap(theta);
    this.theta.setAttribute("cx", x);
    this.theta.setAttribute("cy", y);
    this.letter.setAttribute("x", x - 7);
    this.letter.setAttribute("y", y - 15);
  }
}

function partWay(path, place) {
  const whole = Math.min(path.length - 2, Math.floor(place));
  return along(path[whole], path[whole + 1], place - whole);
}
