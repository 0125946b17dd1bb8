// Shared by the canvases (points.js, characters.js); Python puts this file in front of them.

const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes and children; text only ever enters through textContent. */
function make(tag, attributes = {}, ...children) {
  const svg = ["svg", "g", "circle", "line", "path", "rect", "text", "clipPath"].includes(tag);
  const node = svg ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "text") node.textContent = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

/** A button with a drawn icon; `name` is what a screen reader says, `text` what is shown beside the icon. */
function button(icon, name, text, onclick) {
  const paths = {
    add: "M8 2v12M2 8h12",
    remove: "M2 8h12",
    undo: "M6 3 2.5 6.5 6 10M3 6.5h6.5a4 4 0 0 1 0 8H7",
    clear: "M3 3l10 10M13 3 3 13",
  };
  const svg = make("svg", { viewBox: "0 0 16 16", "aria-hidden": "true", class: "icon" },
    make("path", { d: paths[icon] }));
  const node = make("button", { type: "button", class: `button ${icon}`, "aria-label": name, title: name, onclick }, svg);
  if (text) node.append(make("span", { text }));
  return node;
}

/** Fill the {names} of a translated sentence. */
function fill(sentence, values) {
  return sentence.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? values[name] : whole));
}

/**
 * Sends values to Python one at a time. A live value waits until Python has answered the last one (or a second has
 * passed): without that, a script slower than the hand would be restarted at each movement and never finish.
 */
class Sender {
  constructor(interval) {
    this.interval = interval;
    this.sent = this.answered = 0;
    this.at = -Infinity;
    this.timer = null;
    this.waiting = null;
  }

  connect(send, answered) {
    this.send = send;
    this.answered = Math.max(this.answered, answered);
    this.sent = Math.max(this.sent, answered);
    this.pump();
  }

  now(value) {
    clearTimeout(this.timer);
    this.waiting = this.timer = null;
    this.at = performance.now();
    this.sent += 1;
    this.send({ ...value, seq: this.sent });
  }

  soon(value) {
    this.waiting = value;
    this.pump();
  }

  pump() {
    if (this.waiting === null) return;
    const pause = this.sent > this.answered ? 1000 : this.interval;
    const wait = this.at + pause - performance.now();
    clearTimeout(this.timer);
    if (wait > 0) this.timer = setTimeout(() => this.pump(), wait);
    else this.now(this.waiting);
  }

  stop() {
    clearTimeout(this.timer);
    this.waiting = null;
  }
}

/** Takes a touch away from page scrolling while `busy()`; touch-action alone is not honoured everywhere. */
function holdScroll(node, busy) {
  node.addEventListener("touchmove", (event) => busy() && event.preventDefault(), { passive: false });
}
