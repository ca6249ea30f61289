// The grey levels of a picture file, or of a drawing.

const { WORKING_SIDE, MAX_PIXELS } = settings.numbers.decode;

/**
 * The grey levels of a picture, 0 to 255, reduced to at most WORKING_SIDE pixels a side. What is transparent is put on
 * white, or on black when the picture is bright.
 * @param {CanvasImageSource} source of the size height, width.
 */
function grayOf(source, height, width) {
  const factor = Math.ceil(Math.max(height, width) / WORKING_SIDE);
  const [rows, columns] = [Math.ceil(height / factor), Math.ceil(width / factor)];
  const [gray, opacity] = [newGrid(rows, columns), newGrid(rows, columns)];
  // In strips: phones refuse a canvas of the size of their own photos.
  const strip = newCanvas(width, factor * Math.max(1, Math.floor(64 / factor))).getContext("2d", {
    willReadFrequently: true,
  });
  for (let top = 0; top < height; top += strip.canvas.height) {
    const { data } = drawnStrip(strip, source, top);
    for (let row = top; row < Math.min(height, top + strip.canvas.height); row++) {
      for (let column = 0; column < width; column++) {
        const [from, to] = [
          4 * ((row - top) * width + column),
          Math.floor(row / factor) * columns + Math.floor(column / factor),
        ];
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
  const picture = await createImageBitmap(file, {
    imageOrientation: "from-image",
    colorSpaceConversion: "none",
    premultiplyAlpha: "none",
  });
  const { width, height } = picture;
  if (width * height > MAX_PIXELS) throw new Unreadable(`${width} x ${height} pixels are too many; reduce its size`);
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
