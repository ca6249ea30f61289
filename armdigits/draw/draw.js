// The page itself: the network, the drawing, and what is shown of both. The folder recipe prepares the picture.

const page = Object.fromEntries([...document.querySelectorAll("[id]")].map((element) => [element.id, element]));
const SIDE = 256; // pixels of the drawing that the network reads
const picture = newCanvas(SIDE, SIDE).getContext("2d", { willReadFrequently: true }); // black strokes on white
const MOST_BARS = 12; // with more classes, the most likely ones only
const LOOP_MS = 2; // browsers round their clocks to 0.1 or 1 ms, and a call takes microseconds
const SPEAK_MS = 700; // after the last stroke

/* ---------------------------------------------------------------- the network */

/**
 * The C program: `run()` computes `logits` from `image`, both of which lie in the program's memory.
 * @returns {Promise<{image: Uint8Array, logits: Float32Array, run: () => void}>}
 */
async function loadNetwork() {
  const content = Uint8Array.from(atob(page.program.textContent), (character) => character.charCodeAt(0));
  const { instance } = await WebAssembly.instantiate(content);
  const { memory, digits_logits: call } = instance.exports;
  const imageAt = memory.grow(1) * 65536; // a new page, which the program does not know
  const logitsAt = imageAt + 4 * Math.ceil((FIELD * FIELD) / 4);
  const image = new Uint8Array(memory.buffer, imageAt, FIELD * FIELD);
  const logits = new Float32Array(memory.buffer, logitsAt, settings.classes.length);
  const run = () => call(imageAt, logitsAt);
  image.fill(1);
  for (let k = 0; k < 1000; k++) run(); // browsers compile code that runs often a second time, better
  return { image, logits, run };
}

/** The time of a call in microseconds: the mean of one loop of calls with the present image. */
function timeOfCall() {
  const start = performance.now();
  let calls = 0;
  let elapsed = 0;
  for (; elapsed < LOOP_MS; elapsed = performance.now() - start) {
    for (let call = 0; call < 20; call++) network.run();
    calls += 20;
  }
  return (elapsed * 1000) / calls;
}

/* ---------------------------------------------------------------- the drawing */

// What was drawn, one entry for each step that can be undone: {strokes, photo}. A stroke is {width, points}, in pixels
// of the picture that the network reads, which has SIDE of them on each side. A photo is {gray, canvas} or null.
const EMPTY = { strokes: [], photo: null };
const steps = [EMPTY];
const pen = { x: SIDE / 2, y: SIDE / 2, down: false, shown: false, keys: new Set() }; // of the keyboard
let stroke = null; // which is being drawn
let network = null;
let refused = ""; // why the browser does not run it
let notice = ""; // about the last file
let loops = []; // the times of the last calls
let planned = 0;
let speaking = 0;

const present = () => steps[steps.length - 1];

function push(step) {
  steps.push(step);
  renew();
}

function renew() {
  loops = [];
  notice = "";
  plan();
}

function begin(x, y) {
  stroke = { width: Number(page.pen.value), points: [[x, y]] };
  push({ strokes: [...present().strokes, stroke], photo: null });
}

function extend(x, y) {
  stroke.points.push([x, y]);
  plan();
}

function undo() {
  if (steps.length > 1) steps.pop();
  lift();
  renew();
}

function clear() {
  lift();
  if (present() !== EMPTY) push(EMPTY);
}

function lift() {
  stroke = null;
  pen.down = false;
}

/** Draw the strokes; the context's scale is that of the picture. */
function paint(context, strokes, colour) {
  context.lineCap = context.lineJoin = "round";
  context.strokeStyle = colour;
  for (const { width, points } of strokes) {
    context.lineWidth = width;
    context.beginPath();
    context.moveTo(...points[0]);
    for (const point of points) context.lineTo(...point); // from the first to the first: a dot
    context.stroke();
  }
}

/** The grey levels of the picture that the network reads. */
function grayOfDrawing(strokes) {
  picture.fillStyle = "white";
  picture.fillRect(0, 0, SIDE, SIDE);
  paint(picture, strokes, "black");
  return grayOf(picture.canvas, SIDE, SIDE);
}

/* ---------------------------------------------------------------- what is shown */

/** Show everything anew before the next frame, however many points arrive until then. */
function plan() {
  planned ||= requestAnimationFrame(() => {
    planned = 0;
    show();
  });
}

function show() {
  const { strokes, photo } = present();
  showSheet(strokes, photo);
  page.undo.disabled = steps.length === 1;
  page.clear.disabled = present() === EMPTY;
  page.hint.hidden = present() !== EMPTY;
  page.problem.textContent = refused || notice;
  let image = null;
  try {
    if (present() !== EMPTY) {
      const ink = photo ? findInk(photo.gray) : inkOfDrawing(grayOfDrawing(strokes));
      image = normalise(digit(ink, settings.single));
    }
  } catch (problem) {
    if (!(problem instanceof Unreadable)) throw problem;
    page.problem.textContent = problem.message;
  }
  showImage(image);
  if (network) showAnswer(image);
}

function showSheet(strokes, photo) {
  const canvas = page.sheet;
  const side = Math.round(canvas.clientWidth * devicePixelRatio);
  if (canvas.width !== side) canvas.width = canvas.height = side;
  const context = canvas.getContext("2d");
  context.setTransform(side / SIDE, 0, 0, side / SIDE, 0, 0);
  context.clearRect(0, 0, SIDE, SIDE);
  if (photo) {
    const scale = SIDE / Math.max(photo.canvas.width, photo.canvas.height);
    const [width, height] = [photo.canvas.width * scale, photo.canvas.height * scale];
    context.drawImage(photo.canvas, (SIDE - width) / 2, (SIDE - height) / 2, width, height);
  }
  const colours = getComputedStyle(canvas);
  paint(context, strokes, colours.color);
  if (pen.shown) {
    context.lineWidth = 1.5;
    context.strokeStyle = colours.getPropertyValue("--int8");
    context.fillStyle = context.strokeStyle;
    context.beginPath();
    context.arc(pen.x, pen.y, 6, 0, 2 * Math.PI);
    if (pen.down) context.fill();
    context.stroke();
  }
}

function showImage(image) {
  const context = page.seen.getContext("2d");
  const shown = context.createImageData(FIELD, FIELD);
  for (let k = 0; k < FIELD * FIELD; k++)
    shown.data.set(image ? [image[k], image[k], image[k], 255] : [0, 0, 0, 255], 4 * k);
  context.putImageData(shown, 0, 0);
}

function showAnswer(image) {
  clearTimeout(speaking);
  if (!image) {
    page.answer.textContent = page.time.textContent = ""; // the style shows a dash
    page.answer.className = "big";
    page.share.textContent = "";
    page.unsure.hidden = true;
    showBars(
      settings.classes.map(() => 0),
      -1,
    );
    return;
  }
  const { probabilities, label, unsure } = answerTo(image);
  const name = settings.classes[label];
  page.answer.textContent = name;
  page.answer.className = name.length > 3 ? "big long" : "big";
  page.share.textContent = percent(probabilities[label]);
  page.unsure.hidden = !unsure;
  showBars(probabilities, label);
  loops = [...loops.slice(-8), timeOfCall()];
  const median = [...loops].sort((a, b) => a - b)[loops.length >> 1];
  page.time.textContent = `${median.toFixed(median < 10 ? 1 : 0)} µs`;
  speaking = setTimeout(() => say(`${name}, ${percent(probabilities[label])}${unsure ? ", unsure" : ""}`), SPEAK_MS);
}

function showBars(probabilities, label) {
  let shown = probabilities.map((_, position) => position);
  if (shown.length > MOST_BARS) shown = shown.sort((a, b) => probabilities[b] - probabilities[a] || a - b).slice(0, 10);
  shown.forEach((position, row) => {
    const bar = page.bars.children[row];
    const [name, track, value] = bar.children;
    bar.className = position === label ? "best" : "";
    name.textContent = settings.classes[position];
    track.firstElementChild.style.transform = `scaleX(${probabilities[position]})`;
    value.textContent = label < 0 ? "" : percent(probabilities[position]);
  });
}

function makeBars() {
  const { classes } = settings;
  const rows = classes.length > MOST_BARS ? 10 : classes.length;
  for (let row = 0; row < rows; row++) {
    const bar = document.createElement("li");
    bar.innerHTML =
      '<span class="name"></span><span class="track" aria-hidden="true"><i></i></span><span class="value"></span>';
    page.bars.append(bar);
  }
  const longest = Math.max(...classes.map((name) => name.length));
  page.bars.style.setProperty("--names", `${Math.min(longest + 0.5, 16)}ch`);
  if (rows < classes.length) page.rest.textContent = `The ${rows} most likely of ${classes.length} classes.`;
}

const percent = (share) => `${(share * 100).toFixed(1)} %`;

function say(text) {
  page.spoken.textContent = text;
}

/* ---------------------------------------------------------------- mouse, finger, pen */

function place(event) {
  const box = page.sheet.getBoundingClientRect();
  return [((event.clientX - box.left) / box.width) * SIDE, ((event.clientY - box.top) / box.height) * SIDE];
}

page.sheet.addEventListener("pointerdown", (event) => {
  if (!event.isPrimary || event.button !== 0) return;
  event.preventDefault(); // no selection, no focus ring
  page.sheet.setPointerCapture(event.pointerId);
  pen.shown = false;
  lift();
  begin(...place(event));
});
page.sheet.addEventListener("pointermove", (event) => {
  if (!stroke || pen.down || !event.isPrimary) return;
  const events = event.getCoalescedEvents?.() ?? [];
  for (const each of events.length ? events : [event]) extend(...place(each));
});
for (const name of ["pointerup", "pointercancel"]) {
  page.sheet.addEventListener(name, (event) => {
    if (event.isPrimary && !pen.down) lift();
  });
}

/* ---------------------------------------------------------------- keyboard */

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

document.addEventListener("keydown", (event) => {
  const command = event.ctrlKey || event.metaKey;
  if (command && !event.shiftKey && event.key.toLowerCase() === "z") undo();
  else if (event.key === "Delete" && !command) clear();
  else return;
  event.preventDefault();
});
page.sheet.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key in ARROWS) movePen(event);
  else if (event.key === " " && !event.repeat) togglePen();
  else return;
  event.preventDefault();
});
page.sheet.addEventListener("keyup", (event) => pen.keys.delete(event.key));
page.sheet.addEventListener("blur", () => {
  if (pen.down) lift();
  pen.keys.clear();
  pen.shown = false;
  plan();
});
page.sheet.addEventListener("focus", () => {
  pen.shown = page.sheet.matches(":focus-visible");
  plan();
});

function movePen(event) {
  pen.keys.add(event.key);
  pen.shown = true;
  const step = event.shiftKey ? 2 : 8;
  for (const key of pen.keys) {
    pen.x = Math.min(SIDE, Math.max(0, pen.x + step * ARROWS[key][0]));
    pen.y = Math.min(SIDE, Math.max(0, pen.y + step * ARROWS[key][1]));
  }
  if (pen.down) extend(pen.x, pen.y);
  plan();
}

function togglePen() {
  const down = !pen.down;
  lift();
  if (down) begin(pen.x, pen.y);
  pen.down = down;
  pen.shown = true;
  say(down ? "Pen down" : "Pen up");
  plan();
}

/* ---------------------------------------------------------------- buttons, files */

page.undo.addEventListener("click", undo);
page.clear.addEventListener("click", clear);
page.file.addEventListener("change", () => {
  open(page.file.files[0]);
  page.file.value = ""; // so that the same file can be opened again
});
document.addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) open(event.clipboardData.files[0]);
});
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dragging");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dragging");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dragging");
  if (event.dataTransfer.files.length) open(event.dataTransfer.files[0]);
});

async function open(file) {
  lift();
  try {
    push({ strokes: [], photo: await readPhoto(file) });
  } catch (problem) {
    const reason = problem instanceof Unreadable ? problem.message : "not a picture that this browser reads";
    notice = `${file.name}: ${reason}`;
    plan();
  }
}

/* ---------------------------------------------------------------- start */

new ResizeObserver(plan).observe(page.sheet);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", plan);
page.threshold.textContent = percent(UNSURE);
makeBars();
loadNetwork().then(
  (loaded) => {
    network = loaded;
    plan();
  },
  () => {
    refused = "This browser cannot run the program: it needs WebAssembly with SIMD, as browsers have since 2023.";
    plan();
  },
);
