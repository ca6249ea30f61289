// Prepare a picture as armdigits/pictures does: find the ink, then make it an image like MNIST's. The steps and their
// numbers are those of the Python files, whose docstrings describe them.
//
// A grid is {height, width, values}: grey levels from 0 to 255, or ink from 0 to 1, row by row, in float64.

const SIDE = 256; // pixels; larger pictures are reduced first

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

function mapped(grid, change) {
  return { ...grid, values: grid.values.map(change) };
}

const limited = (value) => Math.min(1, Math.max(0, value));

function largest(values) {
  let result = -Infinity;
  for (const value of values) if (value > result) result = value;
  return result;
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
  const strong = values.filter((value) => value > half).sort();
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
  const [height, width] = [ink.height + 2 * reach, ink.width + 2 * reach];
  const result = newGrid(height, width);
  for (let offset = 0; offset <= reach; offset++) {
    const half = Math.floor(Math.sqrt(radius ** 2 - offset ** 2));
    for (let across = -half; across <= half; across++) {
      for (const down of [offset, -offset]) {
        const moved = part(ink, down - reach, across - reach, height, width).values;
        for (let at = 0; at < moved.length; at++) if (moved[at] > result.values[at]) result.values[at] = moved[at];
      }
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

/* ---------------------------------------------------------------- picture -> grey levels -> ink */

/** A picture without a digit in it; the message is for people. */
class Unreadable extends Error {}

function mnistImage(gray) {
  return normalise(findInk(gray));
}

function findInk(gray) {
  return mapped(gray, (value) => 1 - value / 255);
}

/**
 * The grey levels of a picture, 0 to 255, reduced to at most SIDE pixels a side. What is transparent is put on white, or
 * on black when the picture is bright.
 * @param {CanvasImageSource} source of the size height, width.
 */
function grayOf(source, height, width) {
  const factor = Math.ceil(Math.max(height, width) / SIDE);
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
  const background = total(gray) / Math.max(total(opacity), 1) > 127 ? 0 : 255;
  for (let row = 0, at = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++, at++) {
      const pixels = Math.min(factor, height - row * factor) * Math.min(factor, width - column * factor);
      gray.values[at] = (gray.values[at] + background * (pixels - opacity.values[at])) / pixels;
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
