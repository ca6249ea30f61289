// Prepare a picture as armdigits/data/preprocessing.py does: find the ink, then bring it to an image like MNIST's.
// Grey levels and ink are grids: {width, height, values}, row by row.

const SIDE = 256; // pixels; larger pictures are reduced first
const BOX = 20;
const FIELD = 28;

/** A picture without a digit in it; the message is for people. */
class Unreadable extends Error {}

function mnistImage(gray) {
  return normalise(findInk(gray));
}

function grayOf({ width, height, data }) {
  const values = new Float64Array(width * height);
  for (let k = 0; k < values.length; k++) values[k] = (19595 * data[4 * k] + 38470 * data[4 * k + 1] + 7471 * data[4 * k + 2] + 32768) >> 16;
  return { width, height, values };
}

function findInk({ width, height, values }) {
  return { width, height, values: values.map((value) => 1 - value / 255) };
}

function normalise(ink) {
  const image = new Uint8Array(FIELD * FIELD);
  let [top, bottom, left, right] = [1e9, -1, 1e9, -1];
  for (let y = 0; y < ink.height; y++) for (let x = 0; x < ink.width; x++) if (ink.values[y * ink.width + x] > 0.3) {
    top = Math.min(top, y); bottom = Math.max(bottom, y); left = Math.min(left, x); right = Math.max(right, x);
  }
  if (bottom < 0) throw new Unreadable("blank");
  const f = Math.max(bottom - top + 1, right - left + 1) / BOX;
  const [w, h] = [Math.round((right - left + 1) / f), Math.round((bottom - top + 1) / f)];
  for (let y = 0; y < h; y++) for (let x = 0; x < w; x++) {
    let sum = 0, n = 0;
    for (let v = Math.floor(top + y * f); v < top + (y + 1) * f && v < ink.height; v++)
      for (let u = Math.floor(left + x * f); u < left + (x + 1) * f && u < ink.width; u++) { sum += ink.values[v * ink.width + u]; n++; }
    image[(y + ((28 - h) >> 1)) * FIELD + x + ((28 - w) >> 1)] = Math.round(255 * sum / n);
  }
  return image;
}

async function readPhoto(file) {
  const bitmap = await createImageBitmap(file, { colorSpaceConversion: "none", imageOrientation: "from-image", premultiplyAlpha: "none" });
  const canvas = newCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  return { gray: grayOf(context.getImageData(0, 0, bitmap.width, bitmap.height)), canvas };
}
