// Grids, {height, width, values}: grey levels from 0 to 255 or ink from 0 to 1, row by row, in float64; or a mask, with
// the values 0 and 1.
//
// The files of this folder prepare a picture as the Python files of armdigits/pictures do, which describe the steps.
// Each has the name of its twin, and takes the twin's numbers, in capital letters, from the page's settings. The result
// is the same image: tests/report/test_draw.py compares them.

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

/** The smallest rectangle with all pixels above `edge`. */
function boundsOf({ height, width, values }, edge) {
  let [top, bottom, left, right] = [height, -1, width, -1];
  for (let row = 0, at = 0; row < height; row++) {
    for (let column = 0; column < width; column++, at++) {
      if (!(values[at] > edge)) continue;
      if (row < top) top = row;
      if (column < left) left = column;
      if (column > right) right = column;
      bottom = row;
    }
  }
  return { top, left, height: bottom - top + 1, width: right - left + 1 };
}

/** The grid with a smaller one in the place (top, left). */
function inserted(grid, smaller, top, left) {
  const values = grid.values.slice();
  for (let row = 0; row < smaller.height; row++) {
    const line = smaller.values.subarray(row * smaller.width, (row + 1) * smaller.width);
    values.set(line, (top + row) * grid.width + left);
  }
  return { ...grid, values };
}

function mapped(grid, change) {
  return { ...grid, values: changed(grid.values, change) };
}

/** A grid of what `combine` makes of each two values. */
function combined(one, other, combine) {
  const result = newGrid(one.height, one.width);
  for (let at = 0; at < result.values.length; at++) result.values[at] = combine(one.values[at], other.values[at]);
  return result;
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

/* ---------------------------------------------------------------- masks */

function above({ height, width, values }, edge) {
  const mask = new Uint8Array(values.length);
  for (let at = 0; at < values.length; at++) mask[at] = values[at] > edge ? 1 : 0;
  return { height, width, values: mask };
}

/** A grid, or a mask, with 0 wherever the mask is not `kept`. */
function masked(grid, mask, kept = 1) {
  const values = grid.values.slice();
  for (let at = 0; at < values.length; at++) if (mask.values[at] !== kept) values[at] = 0;
  return { ...grid, values };
}

function either(one, other) {
  const values = one.values.slice();
  for (let at = 0; at < values.length; at++) values[at] |= other.values[at];
  return { ...one, values };
}

function transposed({ height, width, values }) {
  const result = new values.constructor(values.length);
  for (let row = 0, at = 0; row < height; row++) {
    for (let column = 0; column < width; column++, at++) result[column * height + row] = values[at];
  }
  return { height: width, width: height, values: result };
}

/** The pixels at most `rows` above or below and `columns` beside a set one. */
function grown({ height, width, values }, rows, columns) {
  const result = new Uint8Array(values.length);
  for (let row = 0, at = 0; row < height; row++) {
    for (let column = 0; column < width; column++, at++) {
      if (!values[at]) continue;
      const [bottom, right] = [Math.min(height - 1, row + rows), Math.min(width - 1, column + columns)];
      for (let y = Math.max(0, row - rows); y <= bottom; y++) {
        for (let x = Math.max(0, column - columns); x <= right; x++) result[y * width + x] = 1;
      }
    }
  }
  return { height, width, values: result };
}

function rowSums({ height, width, values }) {
  return Array.from({ length: height }, (_, row) => {
    let sum = 0;
    for (let at = row * width; at < (row + 1) * width; at++) sum += values[at];
    return sum;
  });
}
