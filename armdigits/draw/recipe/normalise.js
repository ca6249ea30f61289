// Ink becomes an image like MNIST's.

const { BOX, FIELD, FINE, THIN, THICK, EDGE, SMALL } = settings.numbers.normalise;

/** The digit as an image like MNIST's: Uint8Array of FIELD rows of FIELD, 0 is background and 255 ink. */
function normalise(ink) {
  let digit = crop(ink);
  const resampled = resample(digit, FINE);
  const most = fullInk(resampled);
  const fine = mapped(resampled, (value) => limited(value / most));
  const width = (strokeWidth(fine) * BOX) / FINE;
  if (width < THIN) digit = crop(thicken(fine, (((THICK - width) / (1 - THICK / BOX) / 2) * FINE) / BOX));
  const scaled = mapped(resample(digit, BOX), limited);
  const full = fullInk(scaled);
  return inField(mapped(scaled, (value) => Math.min(value / full, 1)));
}

function crop(ink) {
  const digit = cropped(ink, EDGE);
  return Math.max(digit.height, digit.width) <= SMALL ? cropped(ink, 0) : digit;
}

function cropped(ink, edge) {
  const { top, left, height, width } = boundsOf(ink, edge);
  return part(ink, top, left, height, width);
}

/** Scale a grid so that its longer side has `longer` pixels. */
function resample(grid, longer) {
  const most = Math.max(grid.height, grid.width);
  const [rows, columns] = [grid.height, grid.width].map((size) =>
    Math.max(1, Math.floor((size * longer) / most + 0.5)),
  );
  const [down, across] = [weights(grid.height, rows), weights(grid.width, columns)];
  const half = newGrid(rows, grid.width);
  down.forEach(({ start, values }, row) => {
    values.forEach((weight, k) => {
      const line = (start + k) * grid.width;
      for (let column = 0; column < grid.width; column++)
        half.values[row * grid.width + column] += weight * grid.values[line + column];
    });
  });
  const result = newGrid(rows, columns);
  for (let row = 0; row < rows; row++) {
    across.forEach(({ start, values }, column) => {
      let sum = 0;
      values.forEach((weight, k) => (sum += weight * half.values[row * grid.width + start + k]));
      result.values[row * columns + column] = sum;
    });
  }
  return result;
}

/** For each of `target` pixels the weights of the pixels from `start` on, out of `size`; the others weigh 0. */
function weights(size, target) {
  const step = size / target;
  const reach = 2 * Math.max(step, 1);
  return Array.from({ length: target }, (_, position) => {
    const centre = (position + 0.5) * step;
    const start = Math.max(0, Math.floor(centre - reach));
    const count = Math.min(size, Math.ceil(centre + reach)) - start;
    const values = Array.from({ length: count }, (_, k) =>
      cubic(Math.abs(start + k + 0.5 - centre) / Math.max(step, 1)),
    );
    const sum = values.reduce((total, value) => total + value, 0);
    return { start, values: values.map((value) => value / sum) };
  });
}

function cubic(x) {
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  return x < 2 ? ((2.5 - 0.5 * x) * x - 4) * x + 2 : 0;
}

function fullInk({ values }) {
  const half = 0.5 * largest(values);
  const strong = picked(values, (value) => value > half).sort();
  return strong[Math.floor(0.9 * (strong.length - 1))];
}

/** The mean width of the strokes, the pixels above a half; 0 where there are none. */
function strokeWidth({ height, width, values }) {
  const mask = { height, width, values: values.map((value) => (value > 0.5 ? 1 : 0)) };
  const { values: padded } = part(mask, -1, -1, height + 2, width + 2);
  const line = width + 2;
  let [area, straight, diagonal] = [0, 0, 0];
  for (let row = 1; row <= height; row++) {
    for (let column = 1; column <= width; column++) {
      const at = row * line + column;
      if (!padded[at]) continue;
      area++;
      if (!(padded[at - line] && padded[at + line] && padded[at - 1] && padded[at + 1])) continue;
      straight++;
      if (padded[at - line - 1] && padded[at - line + 1] && padded[at + line - 1] && padded[at + line + 1]) diagonal++;
    }
  }
  return area ? (4 * area) / (2 * area - straight - diagonal) : 0;
}

/** Each pixel becomes the largest one at a distance of at most `radius`; the grid grows by the radius, rounded down. */
function thicken(ink, radius) {
  const reach = Math.floor(radius);
  const result = newGrid(ink.height + 2 * reach, ink.width + 2 * reach);
  const { width, values } = result;
  for (let offset = 0; offset <= reach; offset++) {
    const wide = widest(ink, Math.floor(Math.sqrt(radius ** 2 - offset ** 2)), reach);
    for (const first of [reach - offset, reach + offset].map((row) => row * width)) {
      for (let at = 0; at < wide.length; at++) if (wide[at] > values[first + at]) values[first + at] = wide[at];
    }
  }
  return result;
}

/** Each pixel becomes the largest one of its row at a distance of at most `half`; rows grow by `reach` at both ends. */
function widest({ height, width, values }, half, reach) {
  const line = width + 2 * reach;
  const result = new Float64Array(height * line);
  for (let row = 0, at = 0; row < height; row++) {
    for (let column = 0; column < width; column++, at++) {
      if (values[at] === 0) continue;
      const middle = row * line + column + reach;
      for (let to = middle - half; to <= middle + half; to++) if (values[at] > result[to]) result[to] = values[at];
    }
  }
  return result;
}

/** The digit in the field, with its centre of mass in the middle, to the nearest pixel. */
function inField({ height, width, values }) {
  let [sum, down, across] = [0, 0, 0];
  for (let row = 0, at = 0; row < height; row++) {
    for (let column = 0; column < width; column++, at++) {
      sum += values[at];
      down += values[at] * row;
      across += values[at] * column;
    }
  }
  const [top, left] = [down, across].map((moment) => Math.floor(FIELD / 2 - moment / sum + 0.5));
  const field = part({ height, width, values }, -top, -left, FIELD, FIELD);
  return Uint8Array.from(field.values, (value) => Math.floor(value * 255 + 0.5));
}
