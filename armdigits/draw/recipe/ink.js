// Tell ink from background: grey levels become amounts of ink.

const {
  BACKGROUND_BAND,
  FITTED,
  MIN_CONTRAST,
  FAINTEST,
  MIN_SIGNAL,
  SOLID,
  THICK: EDGE_STROKE,
  NARROW,
} = settings.numbers.ink;

/** A picture without a digit in it; the message is for people. */
class Unreadable extends Error {}

/** The amount of ink of each pixel; the ink may be darker or lighter than the background, and the light uneven. */
function findInk(gray) {
  let ink = inkOnSurface(gray);
  if (!ink || hasShadow(above(ink, 0.3))) ink = inkOnClosing(gray);
  return found(ink);
}

function found(ink) {
  if (!ink) throw new Unreadable("blank: no digit stands out from the background");
  return ink;
}

/** Whether most of the picture is "ink", or a square wider than a stroke fits in at the picture's edge. */
function hasShadow(mask) {
  const thick = eroded(mask, Math.max(2, Math.floor(Math.min(mask.height, mask.width) / EDGE_STROKE)));
  return rowSums(mask).reduce((sum, row) => sum + row, 0) > 0.5 * mask.values.length || borderOf(thick).includes(1);
}

/** The ink of black strokes on white, a background without light or noise. */
function inkOfDrawing(gray) {
  const difference = mapped(gray, (value) => 255 - value);
  return found(scaled(difference, 0));
}

/** Ink on a smooth background; null if there is none. */
function inkOnSurface(gray) {
  const contrast = largest(gray.values) - smallest(gray.values);
  const surface = background(gray, median(borderOf(gray)), contrast);
  const difference = combined(gray, surface, (value, level) => value - level);
  const near = picked(changed(difference.values, Math.abs), (distance) => distance <= BACKGROUND_BAND * contrast);
  const noise = near.length ? 1.4826 * median(near) : 0; // robust against the grey rims of strokes
  const dark = -smallest(difference.values) > largest(difference.values);
  return scaled(dark ? mapped(difference, (value) => -value) : difference, noise);
}

/** Differences in grey levels as ink, less the noise; null if they are too small. */
function scaled(difference, noise) {
  const most = Math.max(0, largest(difference.values));
  const full =
    most > 0
      ? quantile(
          picked(difference.values, (value) => value > 0.5 * most),
          0.9,
        )
      : 0;
  if (full < Math.max(MIN_CONTRAST, MIN_SIGNAL * noise)) return null;
  const floor = Math.min(Math.max(3 * noise, FAINTEST * full), 0.4 * full);
  return mapped(difference, (value) => limited((Math.max(value, 0) - floor) / (full - floor)));
}

/** The pixels of the four sides; those of the corners twice. */
function borderOf({ height, width, values }) {
  const sides = Array.from({ length: height }, (_, row) => [values[row * width], values[(row + 1) * width - 1]]);
  return [...values.subarray(0, width), ...values.subarray(values.length - width), ...sides.flat()];
}

/**
 * The brightness of the background at each pixel: a quadratic surface, fitted seven times to the pixels near it, in the
 * end to those within its noise.
 */
function background({ height, width, values }, level, contrast) {
  const step = Math.max(1, Math.floor(Math.sqrt(values.length / FITTED)));
  const [across, down] = [positions(width), positions(height)];
  let surface = Float64Array.of(level, 0, 0, 0, 0, 0);
  const eachPoint = (use) => {
    for (let row = 0; row < height; row += step) {
      for (let column = 0; column < width; column += step) {
        const value = values[row * width + column];
        use(across[column], down[row], value, Math.abs(value - heightOf(surface, across[column], down[row])));
      }
    }
  };
  const points = Math.ceil(height / step) * Math.ceil(width / step);
  for (let turn = 0; turn < 7; turn++) {
    let limit = BACKGROUND_BAND * contrast;
    if (turn >= 5) {
      const distances = [];
      eachPoint((x, y, value, distance) => distance <= limit && distances.push(distance));
      limit = Math.min(limit, Math.max(1, 4.5 * median(distances))); // three standard deviations
    }
    const sums = Array.from({ length: 6 }, () => new Float64Array(7));
    eachPoint((x, y, value, distance) => distance <= limit && addPoint(sums, x, y, value));
    if (sums[0][0] < points / 5) break; // too few for a fit; the first sum counts them
    surface = solved(sums);
  }
  const result = newGrid(height, width);
  for (let row = 0, at = 0; row < height; row++) {
    for (let column = 0; column < width; column++, at++)
      result.values[at] = heightOf(surface, across[column], down[row]);
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

/** Ink on a background of any shape; null if there is none. */
function inkOnClosing(gray) {
  const [narrow, wide] = [NARROW, SOLID].map((parts) =>
    Math.max(3, Math.floor(Math.min(gray.height, gray.width) / parts)),
  );
  let smooth = mean(gray);
  if (distance(smooth, opened(smooth, narrow)) > distance(closed(smooth, narrow), smooth)) {
    [gray, smooth] = [gray, smooth].map((grid) => mapped(grid, (value) => 255 - value));
  }
  // Light multiplies: ink in a shadow has the contrast of ink outside of it after a division.
  const difference = combined(
    closed(smooth, wide),
    gray,
    (level, value) => (255 * (level - value)) / Math.max(level, 32),
  );
  const level = median(difference.values); // above 0: a closing follows the brighter pixels of the noise
  const noise = 1.4826 * median(changed(difference.values, (value) => Math.abs(value - level)));
  return scaled(
    mapped(difference, (value) => value - level),
    noise,
  );
}

/** The sum of the squares of the differences. */
function distance(one, other) {
  return combined(one, other, (a, b) => (a - b) ** 2).values.reduce((sum, square) => sum + square, 0);
}

/** The mean of each pixel and its eight neighbours. */
function mean(grid) {
  const { height, width, values } = padded(grid, 1);
  const result = newGrid(grid.height, grid.width);
  for (let y = 0; y < 3; y++) {
    for (let x = 0; x < 3; x++) {
      for (let row = 0, at = 0; row < height - 2; row++) {
        for (let column = 0; column < width - 2; column++, at++)
          result.values[at] += values[(row + y) * width + column + x];
      }
    }
  }
  return mapped(result, (sum) => sum / 9);
}

/** Dark parts in which no square of `side` pixels fits are filled. */
function closed(grid, side) {
  return negative(opened(negative(grid), side));
}

/** Bright parts in which no square of `side` pixels fits are removed; the picture goes on beyond its edges. */
function opened(grid, side) {
  return negative(eroded(negative(eroded(padded(grid, side - 1), side)), side));
}

function negative(grid) {
  return mapped(grid, (value) => -value);
}

/** The smallest value in every square of `side` pixels: a smaller grid, or mask. */
function eroded(grid, side) {
  for (const _ of ["rows", "columns"]) {
    for (let reach = 1, step; reach < side; reach += step) {
      step = Math.min(reach, side - reach);
      grid = smallerOfRows(grid, step);
    }
    grid = transposed(grid);
  }
  return grid;
}

/** Of each row and the one `step` below the smaller values. */
function smallerOfRows({ height, width, values }, step) {
  const rows = Math.max(0, height - step);
  const result = new values.constructor(rows * width);
  for (let at = 0, below = step * width; at < result.length; at++, below++) {
    result[at] = values[at] < values[below] ? values[at] : values[below];
  }
  return { height: rows, width, values: result };
}

/** The grid with `margin` more pixels on each side, which repeat those at its edge. */
function padded({ height, width, values }, margin) {
  const result = newGrid(height + 2 * margin, width + 2 * margin);
  for (let row = 0, at = 0; row < result.height; row++) {
    const line = Math.min(height - 1, Math.max(0, row - margin)) * width;
    for (let column = 0; column < result.width; column++, at++) {
      result.values[at] = values[line + Math.min(width - 1, Math.max(0, column - margin))];
    }
  }
  return result;
}
