// The line above the charts that says where a run is, with its transport buttons; the keys under the charts' titles.

const ICONS = {
  resume: "M8 5v14l11-7z",
  pause: "M6 5h4v14H6zM14 5h4v14h-4z",
  step: "M5 5v14l9-7zM16 5h3v14h-3z",
  stop: "M6 6h12v12H6z",
  reset: "M12 5V1L7 6l5 5V7a5 5 0 1 1-5 5H5a7 7 0 1 0 7-7z",
  download: "M5 19h14v2H5zM11 3h2v8h4l-5 6-5-6h4z",
};

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node[name] = value;
    else if (name === "text") node.textContent = value;
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

class RunRow {
  constructor(panel, run) {
    this.panel = panel;
    this.run = run;
    const say = panel.speak.say;
    this.dot = make("span", { class: "ml-dot", "aria-hidden": "true" });
    this.name = make("strong", { class: "ml-name", text: run.name });
    this.badge = make("span", { class: "ml-badge", "aria-live": "polite" });
    this.facts = make("span", { class: "ml-facts" });
    this.message = make("p", { class: "ml-message" });
    this.fill = make("div", { class: "ml-fill" });
    this.bar = make("div", { class: "ml-bar", role: "progressbar", "aria-valuemin": 0, "aria-valuemax": 100, "aria-label": say("progress", { run: run.name }) }, this.fill);
    this.buttons = Object.fromEntries(["resume", "pause", "step", "stop", "reset"].map((name) => [name, this.button(name)]));
    const head = make("div", { class: "ml-run-head" }, this.dot, this.name, this.badge, this.facts);
    const transport = make("div", { class: "ml-transport", role: "group", "aria-label": say("transport", { run: run.name }) }, ...Object.values(this.buttons));
    this.node = make("article", { class: "ml-run", "data-run": run.id, "aria-label": run.name }, make("div", { class: "ml-run-top" }, head, transport), this.bar, this.message);
  }

  button(name) {
    const say = this.panel.speak.say;
    const label = make("span", { text: say(name) });
    const button = make("button", { type: "button", class: "ml-button", "data-command": name, title: say(`${name}_help`), "aria-label": `${say(name)}: ${this.run.name}`, onclick: () => this.panel.press(this.run, name) }, icon(name), label);
    button.disabled = true;
    return button;
  }

  draw(look, speak, commands) {
    const { status, pressed } = this.run;
    const colour = this.run.colours[look.dark ? "dark" : "light"];
    const allowed = (!this.panel.lost && status.controllable && commands[status.state]) || [];
    this.dot.style.background = colour;
    this.fill.style.background = colour;
    for (const [name, button] of Object.entries(this.buttons)) {
      button.disabled = !allowed.includes(name) || Boolean(pressed);
      button.title = speak.say(status.controllable === false ? "not_yours" : `${name}_help`);
    }
    this.buttons.resume.lastChild.textContent = speak.say(status.step === 0 ? "start" : "resume");
    if (status.state === undefined) return;
    const state = speak.say(`state_${status.state}`);
    if (this.badge.textContent !== state) this.badge.textContent = state; // an unchanged live region stays silent
    this.badge.dataset.state = status.state;
    const share = status.outer_steps ? Math.min(1, (status.step || 0) / status.outer_steps) : 0;
    this.fill.style.width = `${100 * share}%`;
    this.bar.setAttribute("aria-valuenow", Math.round(100 * share));
    this.facts.textContent = this.factsText(speak);
    const message = status.message || "";
    this.message.textContent = message;
    this.message.hidden = message === "";
  }

  factsText(speak) {
    const { status } = this.run;
    const facts = [];
    if (status.outer_steps) facts.push(speak.say("step_of", { step: speak.number(status.step), steps: speak.number(status.outer_steps) }));
    if (status.state === "queued" && status.queue_place) facts.push(speak.say("queue_place", { place: speak.number(status.queue_place) }));
    if (status.state === "running" && status.steps_per_second) facts.push(speak.say("rate", { rate: speak.rate(status.steps_per_second) }));
    if (status.state === "running" && status.eta_seconds !== null && status.eta_seconds !== undefined) facts.push(speak.say("eta", { time: speak.duration(status.eta_seconds) }));
    return facts.join(" · ");
  }
}

// A key is drawn again only when its colours or words change.
function drawKey(node, entries) {
  node.entries = entries;
  const signature = JSON.stringify(entries);
  if (node.dataset.signature === signature) return;
  node.dataset.signature = signature;
  node.replaceChildren(...entries.map(({ text, style, colour, colour2 }) => {
    const swatch = make("span", { class: `ml-swatch ml-${style}`, "aria-hidden": "true" });
    swatch.style.setProperty("--from", colour);
    swatch.style.setProperty("--to", colour2 || colour);
    return make("span", { class: "ml-entry" }, swatch, make("span", { text }));
  }));
}

// A drawn figure with its title and its key, which on the page stand around it.
function savedPicture({ plot: { data, layout }, key }, title) {
  const lines = savedKey(key.entries.map(({ style, text, colour2, colour }) => ({ look: style, text, colour: style === "band" ? undefined : colour2 || colour })), layout.width);
  const room = 50 + 18 * lines.length;
  const margin = { ...layout.margin, t: layout.margin.t + room };
  return { data, layout: { ...layout, title: titled(title, lines, 20), height: layout.height + room, margin } };
}

// Buttons that choose one of several runs; hidden while there is nothing to choose.
function drawRunChoice(node, runs, chosen, { look, help, choose }) {
  node.hidden = runs.length < 2;
  const colour = (run) => run.colours[look.dark ? "dark" : "light"];
  const signature = JSON.stringify(runs.map((run) => [run.id, run.name, colour(run)]));
  if (node.dataset.signature !== signature) {
    node.dataset.signature = signature;
    node.replaceChildren(...runs.map((run) => {
      const dot = make("span", { class: "ml-dot", "aria-hidden": "true" });
      dot.style.background = colour(run);
      return make("button", { type: "button", class: "ml-toggle", "data-choice": run.id, title: help, onclick: () => choose(run) }, dot, make("span", { text: run.name }));
    }));
  }
  for (const button of node.children) button.setAttribute("aria-pressed", button.dataset.choice === chosen?.id);
}

// What a figure needs to know of the place where it is drawn.
function sizeOf(plot, height) {
  const width = Math.floor(plot.clientWidth);
  const axis = plot._fullLayout && plot._fullLayout.yaxis;
  return { width, height, narrow: width < NARROW, stacked: width < STACKED, touch: matchMedia("(pointer: coarse)").matches, pixelY: axis && axis._length ? (y) => axis.d2p(y) : null, plotHeight: axis && axis._length };
}

// Buttons of which at most one is pressed, those that there is something to show for.
function offer(buttons, metrics, chosen) {
  for (const button of buttons) {
    button.hidden = !metrics.includes(button.dataset.metric);
    button.setAttribute("aria-pressed", button.dataset.metric === chosen);
  }
}

function learningKey(look, speak, metric, runs) {
  const train = { text: speak.say("train"), style: "thin", colour: look.text };
  if (OUTER_METRICS.includes(metric)) return [train];
  return [
    train,
    { text: speak.say("before"), style: "dashed", colour: look.text },
    { text: speak.say("after"), style: "solid", colour: look.text },
    ...awayKey(look, speak.say("away_after"), runs),
  ];
}

// Some families have tasks of another kind than those trained on, which their runs are tried on as well.
function awayKey(look, text, runs) {
  return runs.some((run) => run.series["away/loss_after"]) ? [{ text, style: "dotted", colour: look.text }] : [];
}

function adaptationKey(look, speak, runs) {
  const several = runs.length > 1;
  const entries = [
    { text: speak.say("mean"), style: "solid", colour: look.text },
    { text: speak.say("band"), style: "band", colour: look.text },
  ];
  if (!several) entries.push({ text: speak.say("tasks"), style: "thin", colour: look.text });
  if (runs.some((run) => run.axis !== axisOf(runs))) entries.push({ text: speak.say("at_once"), style: "dashed", colour: look.text });
  entries.push(...awayKey(look, speak.say("away"), runs));
  return [...entries, { text: speak.say("ghosts"), style: "ghost", colour: look.faint }];
}

function functionsKey(look, speak, run) {
  const colour = run.colours[look.dark ? "dark" : "light"];
  return [
    { text: speak.say("truth"), style: "dashed", colour: look.text },
    { text: speak.say("support"), style: "point", colour: look.text },
    { text: speak.say("unadapted"), style: "dotted", colour: look.faint },
    { text: run.axis === "shot" ? speak.say("adapted_shots") : speak.say("adapted"), style: "gradient", colour: mix(look.background, colour, 0.35), colour2: colour },
  ];
}

// The theme's colours as the page has them now, as six-digit hex.
function readLook(node) {
  const style = getComputedStyle(node);
  const pen = document.createElement("canvas").getContext("2d");
  const hex = (name, otherwise) => {
    pen.fillStyle = otherwise;
    pen.fillStyle = style.getPropertyValue(name).trim() || otherwise;
    return pen.fillStyle.startsWith("#") ? pen.fillStyle : otherwise;
  };
  const background = hex("--st-background-color", "#ffffff");
  const text = hex("--st-text-color", "#16202b");
  const [r, g, b] = [1, 3, 5].map((i) => parseInt(background.slice(i, i + 2), 16));
  return {
    background,
    text,
    dark: 0.2126 * r + 0.7152 * g + 0.0722 * b < 128,
    surface: hex("--st-secondary-background-color", mix(background, text, 0.06)),
    border: mix(background, text, 0.3),
    grid: mix(background, text, 0.1),
    faint: mix(background, text, 0.5),
    font: style.fontFamily,
  };
}
