// Runs a composed model on an image, all of it in the reader's browser.
import * as ort from "/static/runtime/ort.wasm.min.mjs";

const found = (name) => document.getElementById(name);
const [state, input, drop, canvas, pad] = ["state", "file", "drop", "canvas", "pad"].map(found);
const rows = document.querySelector("#scores tbody");
const SAME = 1e-3;
const PAUSE_MS = 200;
ort.env.wasm.wasmPaths = "/static/runtime/";
ort.env.wasm.numThreads = 1;

// The archive holds its files as they are, so its directory says where they lie.
function unpacked(buffer) {
  const view = new DataView(buffer);
  let end = buffer.byteLength - 22;
  while (end >= 0 && view.getUint32(end, true) !== 0x06054b50) end -= 1;
  const files = new Map();
  let at = view.getUint32(end + 16, true);
  for (let left = view.getUint16(end + 10, true); left > 0; left -= 1) {
    const size = view.getUint32(at + 20, true);
    const [name, extra, comment] = [28, 30, 32].map((offset) => view.getUint16(at + offset, true));
    const place = view.getUint32(at + 42, true);
    const start = place + 30 + view.getUint16(place + 26, true) + view.getUint16(place + 28, true);
    const path = new TextDecoder().decode(new Uint8Array(buffer, at + 46, name));
    files.set(path.replace(/^model\//, ""), new Uint8Array(buffer, start, size));
    at += 46 + name + extra + comment;
  }
  return files;
}

function arrays(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const length = Number(view.getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
  return (name) => {
    const { shape, dtype, data_offsets: [from, to] } = header[name];
    if (dtype !== "F32") return null;
    return { shape, data: new Float32Array(bytes.slice(8 + length + from, 8 + length + to).buffer) };
  };
}

async function open() {
  const answer = await fetch("/catalog/compose.zip" + location.search);
  if (!answer.ok) {
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    throw new Error(page.querySelector(".lead")?.textContent.replace(/\.$/, "") || `the server answers ${answer.status}`);
  }
  const files = unpacked(await answer.arrayBuffer());
  const manifest = JSON.parse(new TextDecoder().decode(files.get("module.json")));
  const weights = files.get("weights.safetensors");
  const session = await ort.InferenceSession.create(files.get("model.onnx"), {
    executionProviders: ["wasm"],
    externalData: weights ? [{ path: "weights.safetensors", data: weights }] : [],
  });
  return { files, manifest, session };
}

// The package holds an input with the scores that its author's machine gave: what this browser gives must be the same.
async function difference({ files, manifest, session }) {
  const golden = arrays(files.get("golden.safetensors"));
  const [given, wanted] = [golden("input"), golden("scores")];
  const got = await session.run({ [manifest.input.name]: new ort.Tensor("float32", given.data, given.shape) });
  return Math.max(...got[manifest.output.name].data.map((value, i) => Math.abs(value - wanted.data[i])));
}

function sizes({ shape, layout }) {
  return ["H", "W", "C"].map((axis) => shape[layout.indexOf(axis)]);
}

function isGray(port) {
  return port.color === "gray" || sizes(port)[2] === 1;
}

function pixels(image, port) {
  const [high, wide, depth] = sizes(port);
  canvas.width = wide;
  canvas.height = high;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillRect(0, 0, wide, high);
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, wide, high);
  const seen = context.getImageData(0, 0, wide, high).data;
  const [low, top] = port.range || [0, 1];
  const values = new Float32Array(wide * high * depth);
  for (let at = 0; at < wide * high; at += 1) {
    const [r, g, b] = seen.subarray(4 * at, 4 * at + 3);
    // The brightness that `modhub run` computes, to the last bit.
    const parts = isGray(port) ? [(19595 * r + 38470 * g + 7471 * b + 32768) >> 16] : [r, g, b];
    for (let c = 0; c < depth; c += 1) {
      values[port.layout === "NCHW" ? c * wide * high + at : at * depth + c] = low + (parts[c] / 255) * (top - low);
    }
  }
  return new ort.Tensor("float32", values, port.layout === "NCHW" ? [1, depth, high, wide] : [1, high, wide, depth]);
}

function bar(share) {
  const shape = (name, attributes) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  };
  const picture = shape("svg", { class: "bars", width: "100%", height: 14, "aria-hidden": "true" });
  picture.append(shape("rect", { class: "whole", width: "100%", height: 14, rx: 2 }));
  picture.append(shape("rect", { class: "kept", width: `${(100 * share).toFixed(2)}%`, height: 14, rx: 2 }));
  return picture;
}

function cell(content, name, attributes = {}) {
  const element = Object.assign(document.createElement(name), attributes);
  element.append(content);
  return element;
}

async function score({ manifest, session }, image) {
  const started = performance.now();
  const got = await session.run({ [manifest.input.name]: pixels(image, manifest.input) });
  const raw = got[manifest.output.name].data;
  const likely = manifest.classes.map(({ name }, i) => ({ name, share: 1 / (1 + Math.exp(-raw[i])), raw: raw[i] }));
  rows.replaceChildren(...likely.sort((a, b) => b.raw - a.raw).map((each) => {
    const row = document.createElement("tr");
    row.append(
      cell(each.name, "th", { scope: "row" }),
      cell(bar(each.share), "td", { className: "bar" }),
      cell(`${(100 * each.share).toFixed(1)}\u00a0%`, "td", { className: "number" }),
      cell(each.raw.toFixed(4), "td", { className: "number raw" }),
    );
    return row;
  }));
  found("seen").hidden = false;
  state.textContent = `Scored in ${Math.round(performance.now() - started)} ms on this machine.`;
}

// What was drawn, as those who collected handwritten digits put them: 20 of 28 parts large, its weight in the middle.
function centred() {
  const side = pad.width;
  const seen = pad.getContext("2d").getImageData(0, 0, side, side).data;
  let [left, top, right, bottom, mass, x0, y0] = [side, side, 0, 0, 0, 0, 0];
  for (let y = 0; y < side; y += 1) {
    for (let x = 0; x < side; x += 1) {
      const ink = seen[4 * (y * side + x)];
      if (!ink) continue;
      [left, right] = [Math.min(left, x), Math.max(right, x + 1)];
      [top, bottom] = [Math.min(top, y), Math.max(bottom, y + 1)];
      [mass, x0, y0] = [mass + ink, x0 + ink * (x + 0.5), y0 + ink * (y + 0.5)];
    }
  }
  if (!mass) return null;
  const scale = (side * 20) / 28 / Math.max(right - left, bottom - top);
  const sheet = Object.assign(document.createElement("canvas"), { width: side, height: side });
  const context = sheet.getContext("2d");
  context.fillRect(0, 0, side, side);
  context.imageSmoothingQuality = "high";
  context.drawImage(pad, side / 2 - (x0 / mass) * scale, side / 2 - (y0 / mass) * scale, side * scale, side * scale);
  return sheet;
}

function drawOn(use) {
  const context = pad.getContext("2d", { willReadFrequently: true });
  const blank = () => context.fillRect(0, 0, pad.width, pad.height);
  let timer = 0;
  const place = (event) => {
    const box = pad.getBoundingClientRect();
    return [((event.clientX - box.left) * pad.width) / box.width, ((event.clientY - box.top) * pad.height) / box.height];
  };
  blank();
  Object.assign(context, { strokeStyle: "#fff", lineWidth: 20, lineCap: "round", lineJoin: "round" });
  pad.addEventListener("pointerdown", (event) => {
    clearTimeout(timer);
    pad.setPointerCapture(event.pointerId);
    context.beginPath();
    context.moveTo(...place(event));
    context.lineTo(...place(event));
    context.stroke();
  });
  pad.addEventListener("pointermove", (event) => {
    if (!pad.hasPointerCapture(event.pointerId)) return;
    context.lineTo(...place(event));
    context.stroke();
  });
  pad.addEventListener("pointerup", () => {
    const sheet = centred();
    timer = setTimeout(() => sheet && use(sheet), PAUSE_MS);
  });
  found("clear").addEventListener("click", () => {
    clearTimeout(timer);
    blank();
    found("seen").hidden = true;
  });
  found("drawing").hidden = false;
}

function takesFiles(use) {
  const take = async (files) => {
    const [file] = files;
    if (!file) return;
    try {
      use(await createImageBitmap(file, { colorSpaceConversion: "none", premultiplyAlpha: "none" }));
    } catch (error) {
      state.textContent = `This is no image that the browser reads: ${error.message}`;
    }
  };
  input.addEventListener("change", () => take(input.files));
  document.addEventListener("paste", (event) => take(event.clipboardData.files));
  drop.addEventListener("dragover", (event) => event.preventDefault());
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    take(event.dataTransfer.files);
  });
}

function caption({ output, method }) {
  const calibrated = output.calibration || (output.semantic === "scores" && method?.parameters?.calibrated !== false);
  return calibrated
    ? "How likely each class is, by the modules' own calibration; they do not add up to 100 %."
    : "Not every module is calibrated: take the order from the scores, and no probability for granted.";
}

try {
  state.textContent = "The server composes the model ...";
  const model = await open();
  const { kind, layout, shape } = model.manifest.input;
  const far = await difference(model);
  const size = model.files.get("weights.safetensors")?.byteLength ?? 0;
  if (kind !== "image" || !["NCHW", "NHWC"].includes(layout) || !shape.slice(1).every(Number.isInteger)) {
    throw new Error("it takes no images of one size");
  }
  state.textContent = far < SAME
    ? `Ready: ${(size / 1e6).toFixed(1)} MB of weights. This browser gives the scores that the server's machine gave.`
    : `Careful: this browser's scores differ by up to ${far.toFixed(3)} from those of the server's machine.`;
  const [high, wide] = sizes(model.manifest.input);
  const gray = isGray(model.manifest.input);
  found("takes").textContent = `The model takes ${wide} x ${high} pixels ${gray ? "in grey" : "in colour"}; an image of another size is scaled to that.`;
  found("caption").textContent = caption(model.manifest);
  const use = (image) => score(model, image).catch((error) => { state.textContent = `That failed: ${error.message}`; });
  takesFiles(use);
  if (gray) drawOn(use);
  found("trial").hidden = false;
} catch (error) {
  state.textContent = `It cannot be tried here: ${error.message}.`;
}
