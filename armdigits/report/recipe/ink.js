// Tell ink from background.

const { BACKGROUND_BAND, FITTED, MIN_CONTRAST, MIN_SIGNAL } = settings.numbers;

/** A picture without a digit in it; the message is for people. */
class Unreadable extends Error {}

/** The amount of ink of each pixel; the ink may be darker or lighter than the background, and the light uneven. */
function findInk(gray) {
  const { height, width, values } = gray;
  const contrast = largest(values) - smallest(values);
  const surface = background(gray, median(borderOf(gray)), contrast);
  let difference = newGrid(height, width).values;
  for (let at = 0; at < values.length; at++) difference[at] = values[at] - surface[at];
  const near = picked(changed(difference, Math.abs), (distance) => distance <= BACKGROUND_BAND * contrast);
  const noise = near.length ? 1.4826 * median(near) : 0; // robust against the grey rims of strokes
  if (-smallest(difference) > largest(difference)) difference = changed(difference, (value) => -value);
  const most = Math.max(0, largest(difference));
  const full = most > 0 ? quantile(picked(difference, (value) => value > 0.5 * most), 0.9) : 0;
  if (full < Math.max(MIN_CONTRAST, MIN_SIGNAL * noise)) throw new Unreadable("blank: no digit stands out from the background");
  const floor = Math.min(3 * noise, 0.4 * full);
  return { height, width, values: changed(difference, (value) => limited((Math.max(value, 0) - floor) / (full - floor))) };
}

/** The pixels of the four sides; those of the corners twice. */
function borderOf({ height, width, values }) {
  const sides = Array.from({ length: height }, (_, row) => [values[row * width], values[(row + 1) * width - 1]]);
  return [...values.subarray(0, width), ...values.subarray(values.length - width), ...sides.flat()];
}

/** The brightness of the background at each pixel: a quadratic surface, fitted five times to the pixels near it. */
function background({ height, width, values }, level, contrast) {
  const step = Math.max(1, Math.floor(Math.sqrt(values.length / FITTED)));
  const [across, down] = [positions(width), positions(height)];
  const near = (surface, row, column) => {
    return Math.abs(values[row * width + column] - heightOf(surface, across[column], down[row])) <= BACKGROUND_BAND * contrast;
  };
  let surface = Float64Array.of(level, 0, 0, 0, 0, 0);
  for (let fit = 0; fit < 5; fit++) {
    const sums = Array.from({ length: 6 }, () => new Float64Array(7));
    let [seen, used] = [0, 0];
    for (let row = 0; row < height; row += step) {
      for (let column = 0; column < width; column += step, seen++) {
        if (!near(surface, row, column)) continue;
        addPoint(sums, across[column], down[row], values[row * width + column]);
        used++;
      }
    }
    if (used < seen / 5) break; // too few for a fit
    surface = solved(sums);
  }
  const result = new Float64Array(values.length);
  for (let row = 0, at = 0; row < height; row++) {
    for (let column = 0; column < width; column++, at++) result[at] = heightOf(surface, across[column], down[row]);
  }
  return result;
}

/** From -1 to 1, for each pixel of a side. */
function positions(size) {
  return Float64Array.from({ length: size }, (_, at) => (size > 1 ? -1 + (2 * at) / (size - 1) : -1));
}

function heightOf(surface, x, y) {
  return surface[0] + surface[1] * x + surface[2] * y + surface[3] * x * y + surface[4] * x * x + surface[5] * y * y;
}

/** Add a point to the sums of the normal equations, whose upper half is enough. */
function addPoint(sums, x, y, value) {
  const terms = [1, x, y, x * y, x * x, y * y, value];
  for (let i = 0; i < 6; i++) for (let j = i; j < 7; j++) sums[i][j] += terms[i] * terms[j];
}

/** The surface with the least squares of distances: the normal equations, solved by elimination. */
function solved(sums) {
  for (let i = 0; i < 6; i++) for (let j = 0; j < i; j++) sums[i][j] = sums[j][i];
  for (let i = 0; i < 6; i++) {
    for (let other = 0; other < 6; other++) {
      if (other === i || sums[i][i] === 0) continue;
      const factor = sums[other][i] / sums[i][i];
      for (let j = 0; j < 7; j++) sums[other][j] -= factor * sums[i][j];
    }
  }
  return Float64Array.from(sums, (line, i) => (line[i] === 0 ? 0 : line[6] / line[i]));
}

function median(values) {
  return quantile(values, 0.5);
}

/** A quantile, between two values by their distances. */
function quantile(values, share) {
  const sorted = Float64Array.from(values).sort(); // by value
  const at = share * (sorted.length - 1);
  const [below, above] = [sorted[Math.floor(at)], sorted[Math.ceil(at)]];
  return below + (above - below) * (at - Math.floor(at));
}
