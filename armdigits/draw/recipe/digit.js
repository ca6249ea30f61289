// Find the digit in the ink: dirt, frames and ruled lines go.

const { STROKE, SPECK, DIGIT, SPAN, NEAR, HUG, TOUCH, CLEAR, ALIKE } = settings.numbers.digit;
const { GAP_ABOVE, GAP_BESIDE, FAINT } = settings.numbers.digit;

/**
 * The ink of the digit alone.
 * @throws {Unreadable} there are several things of a digit's size.
 */
function digit(ink, single) {
  ink = without(without(ink, spanning, TOUCH), frames, TOUCH);
  ink = without(ink, crossing, CLEAR);
  const { top, left, height, width } = boundsOf(ink, STROKE);
  ink = inserted(ink, without(part(ink, top, left, height, width), fourSides, TOUCH), top, left);
  const found = components(above(ink, STROKE));
  const largestArea = Math.max(...found.list.map(({ area }) => area));
  const kept = maskOf(found, ({ area }) => area >= SPECK * largestArea);
  const count = countThings(kept);
  if (single && count > 1) throw new Unreadable(`found ${count} digits; crop the picture to one`);
  return masked(ink, grown(kept, 1, 1));
}

/** How many things of a digit's height stand side by side or above each other; strokes with small gaps are one. */
function countThings(mask) {
  const heightOfStroke = ({ top, bottom }) => bottom - top + 1;
  const { list } = components(mask);
  const tallest = Math.max(...list.map(heightOfStroke));
  const [above, beside] = [GAP_ABOVE, GAP_BESIDE].map((gap) => Math.ceil((gap * tallest) / 2));
  const joined = new Uint8Array(mask.values.length);
  for (const one of list) {
    if (heightOfStroke(one) < ALIKE * tallest) continue;
    const [first, last] = [Math.max(0, one.left - beside), Math.min(mask.width, one.right + 1 + beside)];
    for (let row = Math.max(0, one.top - above); row < Math.min(mask.height, one.bottom + 1 + above); row++) {
      joined.fill(1, row * mask.width + first, row * mask.width + last);
    }
  }
  return components({ ...mask, values: joined }).list.length;
}

/**
 * The ink without lines, if a digit remains that keeps the clearance, a share of a side, to the edges; it is
 * brightened, because lines may be darker than a digit.
 */
function without(ink, lines, clearance) {
  const mask = above(ink, STROKE);
  const found = lines(mask);
  if (!found.values.includes(1)) return ink;
  const rest = masked(ink, grown(found, 1, 1), 0);
  if (largest(rest.values) < FAINT) return ink;
  const most = fullInk(rest);
  const bright = mapped(rest, (value) => limited(value / most));
  const left = components(above(bright, STROKE));
  const size = DIGIT * Math.min(mask.height, mask.width);
  const inside = (one) => !atEdge(one, mask, clearance);
  const digits = left.list.filter(
    (one) => inside(one) && Math.max(one.bottom - one.top, one.right - one.left) + 1 >= size,
  );
  return digits.length ? masked(bright, grown(maskOf(left, inside), 1, 1)) : ink;
}

/** Strokes that touch the edge and span a side. */
function spanning(mask) {
  const { height, width } = mask;
  const spans = ({ top, bottom, left, right }) => bottom - top >= SPAN * height || right - left >= SPAN * width;
  return maskOf(components(mask), (one) => spans(one) && atEdge(one, mask, TOUCH));
}

/** Strokes that stay close to the sides of their own rectangle, all four of them. */
function frames(mask) {
  const found = components(mask);
  const room = DIGIT * Math.min(mask.height, mask.width); // a digit fits in
  return maskOf(found, (one, number) => {
    const [height, width] = [one.bottom - one.top + 1, one.right - one.left + 1];
    return Math.min(height, width) >= room && isFrame(found, number, one, height, width);
  });
}

function isFrame(found, number, { top, left }, height, width) {
  const [rows, columns] = [height, width].map((size) => Math.floor(HUG * size) + 1);
  const [north, south] = [new Uint8Array(width), new Uint8Array(width)]; // which columns have ink near these sides
  const [west, east] = [new Uint8Array(height), new Uint8Array(height)];
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      if (found.labels[(top + row) * found.width + left + column] !== number) continue;
      const vertical = row < rows || row >= height - rows;
      const horizontal = column < columns || column >= width - columns;
      if (!vertical && !horizontal) return false; // something in the middle
      if (row < rows) north[column] = 1;
      if (row >= height - rows) south[column] = 1;
      if (column < columns) west[row] = 1;
      if (column >= width - columns) east[row] = 1;
    }
  }
  const covered = (side) => side.reduce((sum, value) => sum + value, 0) / side.length;
  return Math.min(...[north, south, west, east].map(covered)) >= SPAN;
}

/** Straight lines from edge to edge. Of two that cross, as in a 4, only those near the edges, as in a frame. */
function crossing(mask) {
  let [across, down] = [straight(mask), straight(transposed(mask))];
  if (across.length === 1 && down.length === 1)
    [across, down] = [across, down].map((lines) => lines.filter((line) => margin(line) <= NEAR));
  const none = { ...mask, values: new Uint8Array(mask.values.length) };
  return [...across, ...down.map(transposed)].reduce(either, none);
}

/** The lines of a frame, if there is one near each edge. */
function fourSides(mask) {
  const lines = crossing(mask);
  const near = (grid) => {
    const filled = rowSums(grid).map((sum) => sum / grid.width >= SPAN / 2);
    const rows = Math.floor(NEAR * grid.height) + 1;
    return filled.slice(0, rows).includes(true) && filled.slice(-rows).includes(true);
  };
  return near(lines) && near(transposed(lines)) ? lines : { ...lines, values: lines.values.map(() => 0) };
}

/** How far a horizontal line is from the nearer one of the upper and the lower edge, as a share of the height. */
function margin(line) {
  const rows = rowSums(line).flatMap((sum, row) => (sum ? [row] : []));
  const position = rows.reduce((sum, row) => sum + row, 0) / rows.length / line.height;
  return Math.min(position, 1 - position);
}

/** Horizontal lines, tilted by a few degrees at most, from the left edge to the right one. */
function straight(mask) {
  const { height, width } = mask;
  const thick = grown(mask, Math.max(1, Math.floor(height / 128)), 0);
  const found = components(runs(thick, Math.max(5, Math.floor(width / 6))));
  return found.list.flatMap((one) => {
    const across = one.left <= TOUCH * width && one.right >= (1 - TOUCH) * width - 1;
    const flat = one.area <= 0.12 * height * width && one.bottom - one.top <= 0.2 * height;
    return across && flat
      ? [
          band(
            masked(
              mask,
              maskOf(found, (other) => other === one),
            ),
          ),
        ]
      : [];
  });
}

/** The pixels of a line without strokes along it: those near the straight line through the pixels. */
function band(line) {
  const { height, width, values } = line;
  const thickness = rowSums(transposed(line));
  const usual = median(thickness.filter((count) => count > 0));
  const columns = thickness.flatMap((count, column) => (count > 0 && count <= usual ? [column] : []));
  const centres = columns.map((column) => {
    let sum = 0;
    for (let row = 0; row < height; row++) sum += row * values[row * width + column];
    return sum / thickness[column];
  });
  const total = (numbers) => numbers.reduce((sum, number) => sum + number, 0);
  const [middle, level] = [total(columns) / columns.length, total(centres) / columns.length];
  const spread = total(columns.map((column) => (column - middle) ** 2));
  const slope = spread ? total(columns.map((column, k) => (column - middle) * (centres[k] - level))) / spread : 0;
  const reach = median(columns.map((column) => thickness[column])) / 2 + 1;
  const kept = values.slice();
  for (let row = 0, at = 0; row < height; row++) {
    for (let column = 0; column < width; column++, at++) {
      if (Math.abs(row - level - slope * (column - middle)) > reach) kept[at] = 0;
    }
  }
  return { ...line, values: kept };
}

/** The runs of at least `length` pixels along the rows. */
function runs({ height, width, values }, length) {
  const result = new Uint8Array(values.length);
  for (let row = 0; row < height; row++) {
    for (let column = 0, start = 0; column <= width; column++) {
      if (column < width && values[row * width + column]) continue;
      if (column - start >= length) result.fill(1, row * width + start, row * width + column);
      start = column + 1;
    }
  }
  return { height, width, values: result };
}

/** Whether a component is within `margin`, a share of a side, of an edge. */
function atEdge({ top, bottom, left, right }, { height, width }, margin) {
  const [rows, columns] = [margin * height, margin * width];
  return top <= rows || left <= columns || bottom >= height - 1 - rows || right >= width - 1 - columns;
}

/**
 * The components of a mask; pixels that touch at a corner are connected. The list has {area, top, bottom, left, right}
 * of each, and labels the place in the list for each pixel, or -1.
 */
function components({ height, width, values }) {
  const labels = new Int32Array(height * width).fill(-1);
  const list = [];
  const queue = new Int32Array(height * width);
  for (let start = 0; start < values.length; start++) {
    if (labels[start] >= 0 || !values[start]) continue;
    const one = { area: 0, top: height, bottom: -1, left: width, right: -1 };
    labels[start] = list.length;
    queue[0] = start;
    let count = 1;
    for (; one.area < count; one.area++) {
      const row = Math.floor(queue[one.area] / width);
      const column = queue[one.area] - row * width;
      one.top = Math.min(one.top, row);
      one.bottom = Math.max(one.bottom, row);
      one.left = Math.min(one.left, column);
      one.right = Math.max(one.right, column);
      const [bottom, right] = [Math.min(height - 1, row + 1), Math.min(width - 1, column + 1)];
      for (let y = Math.max(0, row - 1); y <= bottom; y++) {
        for (let x = Math.max(0, column - 1); x <= right; x++) {
          const at = y * width + x;
          if (labels[at] >= 0 || !values[at]) continue;
          labels[at] = list.length;
          queue[count++] = at;
        }
      }
    }
    list.push(one);
  }
  return { height, width, labels, list };
}

/** The pixels of the components that `chosen(component, number)` takes. */
function maskOf({ height, width, labels, list }, chosen) {
  const taken = list.map(chosen);
  const values = new Uint8Array(labels.length);
  for (let at = 0; at < labels.length; at++) if (labels[at] >= 0 && taken[labels[at]]) values[at] = 1;
  return { height, width, values };
}
