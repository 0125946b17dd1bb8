// What lies on the lab's map and can be moved: optima, the ends of a bowl's axes, the start. Sizes in parameters.

const rounded = (value, digits = 3) => Math.round(value * 10 ** digits) / 10 ** digits;
const held = (value, low, high) => Math.min(Math.max(value, low), high);
const signed = (value, digits = 2) => value.toFixed(digits).replace("-", "\u2212");

/** A bowl arrives as [x, y, first, second, turn]. */
const bowlOf = ([x, y, first, second, turn]) => ({ x, y, bends: [first, second], turn });
const rowOf = ({ x, y, bends, turn }) => [x, y, bends[0], bends[1], turn];

const directionOf = ({ turn }, axis) => {
  const angle = ((turn + 90 * axis) * Math.PI) / 180;
  return [Math.cos(angle), Math.sin(angle)];
};

/** The end of one axis of a bowl's rim; `side` is 1 or -1. */
function endOf(bowl, axis, side, rim) {
  const [ux, uy] = directionOf(bowl, axis);
  const reach = (side * rim) / Math.sqrt(bowl.bends[axis]);
  return [bowl.x + reach * ux, bowl.y + reach * uy];
}

/** The side on which an axis ends on the map, or at least nearer to it. */
function sideOf(bowl, axis, { rim, half }) {
  const size = (side) => Math.max(...endOf(bowl, axis, side, rim).map(Math.abs));
  return size(1) < half || size(1) <= size(-1) ? 1 : -1;
}

/** Pull the end of an axis to (x, y): the bowl turns and stretches. */
function pull(bowl, axis, side, x, y, { rim, bends: [low, high] }) {
  const [dx, dy] = [side * (x - bowl.x), side * (y - bowl.y)];
  const reach = Math.hypot(dx, dy);
  if (reach < 1e-6) return;
  bowl.bends[axis] = rounded(held((rim / reach) ** 2, low, high));
  bowl.turn = rounded((((Math.atan2(dy, dx) * 180) / Math.PI - 90 * axis) % 360 + 360) % 360, 1);
}

/** Places on a bowl's rim, for a path. */
function rimOf(bowl, rim, corners = 64) {
  const [[ax, ay], [bx, by]] = [directionOf(bowl, 0), directionOf(bowl, 1)];
  const [ra, rb] = bowl.bends.map((bend) => rim / Math.sqrt(bend));
  return Array.from({ length: corners }, (_, n) => {
    const angle = (2 * Math.PI * n) / corners;
    const [c, s] = [ra * Math.cos(angle), rb * Math.sin(angle)];
    return [bowl.x + c * ax + s * bx, bowl.y + c * ay + s * by];
  });
}
