// Prepare a picture as armdigits/pictures does: find the ink, then make it an image like MNIST's. The steps and their
// numbers are those of the Python files, whose docstrings describe them.
//
// A grid is {height, width, values}: grey levels from 0 to 255, or ink from 0 to 1, row by row, in float64.

/* ---------------------------------------------------------------- grids */

function newGrid(height, width) {
  return { height, width, values: new Float64Array(height * width) };
}

/** The part of a grid from (top, left) on; what lies outside of the grid is 0. */
function part(grid, top, left, height, width) {
  const result = newGrid(height, width);
  const first = Math.max(0, left);
  const last = Math.min(grid.width, left + width);
  for (let row = Math.max(0, -top); row < Math.min(height, grid.height - top); row++) {
    const line = (row + top) * grid.width;
    if (first < last) result.values.set(grid.values.subarray(line + first, line + last), row * width + first - left);
  }
  return result;
}

// Loops instead of the methods of typed arrays, which take several times longer.
function changed(values, change) {
  const result = new Float64Array(values.length);
  for (let at = 0; at < values.length; at++) result[at] = change(values[at]);
  return result;
}

function picked(values, wanted) {
  const result = new Float64Array(values.length);
  let count = 0;
  for (let at = 0; at < values.length; at++) if (wanted(values[at])) result[count++] = values[at];
  return result.subarray(0, count);
}

function mapped(grid, change) {
  return { ...grid, values: changed(grid.values, change) };
}

const limited = (value) => Math.min(1, Math.max(0, value));

function largest(values) {
  let result = -Infinity;
  for (let at = 0; at < values.length; at++) if (values[at] > result) result = values[at];
  return result;
}

function smallest(values) {
  return -largest(changed(values, (value) => -value));
}

/* ---------------------------------------------------------------- ink -> image, armdigits/pictures/normalise.py */

const [BOX, FIELD, FINE, THIN, THICK, EDGE, SMALL] = [20, 28, 120, 1.5, 2.4, 0.3, 40];

/** The digit as an image like MNIST's: Uint8Array of 28 rows of 28, 0 is background and 255 ink. */
function normalise(ink) {
  let digit = crop(ink);
  const resampled = resample(digit, FINE);
  const most = fullInk(resampled);
  const fine = mapped(resampled, (value) => limited(value / most));
  const width = (strokeWidth(fine) * BOX) / FINE;
  if (width < THIN) digit = crop(thicken(fine, ((((THICK - width) / (1 - THICK / BOX) / 2) * FINE) / BOX)));
  const scaled = mapped(resample(digit, BOX), limited);
  const full = fullInk(scaled);
  return inField(mapped(scaled, (value) => Math.min(value / full, 1)));
}

function crop(ink) {
  const digit = cropped(ink, EDGE);
  return Math.max(digit.height, digit.width) <= SMALL ? cropped(ink, 0) : digit;
}

function cropped(ink, edge) {
  let [top, bottom, left, right] = [Infinity, -1, Infinity, -1];
  for (let row = 0, at = 0; row < ink.height; row++) {
    for (let column = 0; column < ink.width; column++, at++) {
      if (!(ink.values[at] > edge)) continue;
      if (row < top) top = row;
      if (column < left) left = column;
      if (column > right) right = column;
      bottom = row;
    }
  }
  return part(ink, top, left, bottom - top + 1, right - left + 1);
}

/** Scale a grid so that its longer side has `longer` pixels. */
function resample(grid, longer) {
  const most = Math.max(grid.height, grid.width);
  const [rows, columns] = [grid.height, grid.width].map((size) => Math.max(1, Math.floor((size * longer) / most + 0.5)));
  const [down, across] = [weights(grid.height, rows), weights(grid.width, columns)];
  const half = newGrid(rows, grid.width);
  down.forEach(({ start, values }, row) => {
    values.forEach((weight, k) => {
      const line = (start + k) * grid.width;
      for (let column = 0; column < grid.width; column++) half.values[row * grid.width + column] += weight * grid.values[line + column];
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

/** For each of `target` pixels the weights of the pixels from `start` on, out of `size`; all others have the weight 0. */
function weights(size, target) {
  const step = size / target;
  const reach = 2 * Math.max(step, 1);
  return Array.from({ length: target }, (_, position) => {
    const centre = (position + 0.5) * step;
    const start = Math.max(0, Math.floor(centre - reach));
    const count = Math.min(size, Math.ceil(centre + reach)) - start;
    const values = Array.from({ length: count }, (_, k) => cubic(Math.abs(start + k + 0.5 - centre) / Math.max(step, 1)));
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

/** Each pixel becomes the largest one of its row at a distance of at most `half`; rows grow by `reach` on either side. */
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

/* ---------------------------------------------------------------- ink -> the digit alone, armdigits/pictures/digit.py */

const [STROKE, SPECK] = [0.3, 0.05];

/** Dirt goes: what is much smaller than the largest stroke. */
function digit(ink) {
  const { labels, areas } = components(ink);
  const least = SPECK * Math.max(...areas);
  const kept = newGrid(ink.height, ink.width);
  for (let row = 0, at = 0; row < ink.height; row++) {
    for (let column = 0; column < ink.width; column++, at++) {
      if (labels[at] >= 0 && areas[labels[at]] >= least) copySquare(ink, kept, row, column);
    }
  }
  return kept;
}

/** Copy a pixel and those around it. */
function copySquare(from, to, row, column) {
  for (let y = Math.max(0, row - 1); y <= Math.min(from.height - 1, row + 1); y++) {
    for (let x = Math.max(0, column - 1); x <= Math.min(from.width - 1, column + 1); x++) {
      to.values[y * from.width + x] = from.values[y * from.width + x];
    }
  }
}

/** The strokes that hang together, also at corners: the number of each pixel's stroke or -1, and their areas. */
function components({ height, width, values }) {
  const labels = new Int32Array(height * width).fill(-1);
  const areas = [];
  for (let start = 0; start < values.length; start++) {
    if (labels[start] >= 0 || !(values[start] > STROKE)) continue;
    labels[start] = areas.length;
    const found = [start];
    for (let k = 0; k < found.length; k++) {
      const [row, column] = [Math.floor(found[k] / width), found[k] % width];
      for (let y = Math.max(0, row - 1); y <= Math.min(height - 1, row + 1); y++) {
        for (let x = Math.max(0, column - 1); x <= Math.min(width - 1, column + 1); x++) {
          const at = y * width + x;
          if (labels[at] >= 0 || !(values[at] > STROKE)) continue;
          labels[at] = areas.length;
          found.push(at);
        }
      }
    }
    areas.push(found.length);
  }
  return { labels, areas };
}

/* ---------------------------------------------------------------- grey levels -> ink, armdigits/pictures/ink.py */

const [BACKGROUND_BAND, FITTED, MIN_CONTRAST, MIN_SIGNAL] = [0.15, 10_000, 16, 6];

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

/* ---------------------------------------------------------------- picture -> grey levels, armdigits/pictures/decode.py */

const WORKING_SIDE = 512; // pixels; larger pictures are reduced

/**
 * An image like MNIST's, of the grey levels of a picture.
 * @throws {Unreadable} the picture shows nothing but background.
 */
function mnistImage(gray) {
  return normalise(digit(findInk(gray)));
}

/**
 * The grey levels of a picture, 0 to 255, reduced to at most WORKING_SIDE pixels a side. What is transparent is put on white, or
 * on black when the picture is bright.
 * @param {CanvasImageSource} source of the size height, width.
 */
function grayOf(source, height, width) {
  const factor = Math.ceil(Math.max(height, width) / WORKING_SIDE);
  const [rows, columns] = [Math.ceil(height / factor), Math.ceil(width / factor)];
  const [gray, opacity] = [newGrid(rows, columns), newGrid(rows, columns)];
  // In strips: phones refuse a canvas of the size of their own photos.
  const strip = newCanvas(width, factor * Math.max(1, Math.floor(64 / factor))).getContext("2d", { willReadFrequently: true });
  for (let top = 0; top < height; top += strip.canvas.height) {
    const { data } = drawnStrip(strip, source, top);
    for (let row = top; row < Math.min(height, top + strip.canvas.height); row++) {
      for (let column = 0; column < width; column++) {
        const [from, to] = [4 * ((row - top) * width + column), Math.floor(row / factor) * columns + Math.floor(column / factor)];
        const level = (19595 * data[from] + 38470 * data[from + 1] + 7471 * data[from + 2] + 32768) >> 16; // ITU-R 601
        gray.values[to] += (level * data[from + 3]) / 255;
        opacity.values[to] += data[from + 3] / 255;
      }
    }
  }
  const total = ({ values }) => values.reduce((sum, value) => sum + value, 0);
  const paper = total(gray) / Math.max(total(opacity), 1) > 127 ? 0 : 255;
  for (let row = 0, at = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++, at++) {
      const pixels = Math.min(factor, height - row * factor) * Math.min(factor, width - column * factor);
      gray.values[at] = Math.fround((gray.values[at] + paper * (pixels - opacity.values[at])) / pixels);
    }
  }
  return gray;
}

function drawnStrip(strip, source, top) {
  const { width, height } = strip.canvas;
  strip.clearRect(0, 0, width, height);
  strip.drawImage(source, 0, -top);
  return strip.getImageData(0, 0, width, height);
}

/** A picture file: its grey levels, and a canvas to show. */
async function readPhoto(file) {
  const picture = await createImageBitmap(file, { imageOrientation: "from-image", colorSpaceConversion: "none", premultiplyAlpha: "none" });
  const { width, height } = picture;
  const scale = Math.min(1, 1024 / Math.max(width, height));
  const shown = newCanvas(Math.ceil(width * scale), Math.ceil(height * scale));
  const context = shown.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, 0, 0, shown.width, shown.height);
  const gray = grayOf(picture, height, width);
  picture.close();
  return { gray, canvas: shown };
}

function newCanvas(width, height) {
  return Object.assign(document.createElement("canvas"), { width, height });
}
