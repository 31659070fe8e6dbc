// Runs a composed model on an image, all of it in the reader's browser.
import * as ort from "/static/runtime/ort.wasm.min.mjs";

const state = document.getElementById("state");
const input = document.getElementById("file");
const drop = document.getElementById("drop");
const canvas = document.getElementById("canvas");
const rows = document.querySelector("#scores tbody");
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
  if (!answer.ok) throw new Error("the server does not compose it: " + (answer.headers.get("X-Error-Code") || answer.status));
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
  const found = await session.run({ [manifest.input.name]: new ort.Tensor("float32", given.data, given.shape) });
  return Math.max(...found[manifest.output.name].data.map((value, i) => Math.abs(value - wanted.data[i])));
}

function pixels(image, { shape, layout, color, range }) {
  const [high, wide] = ["H", "W"].map((axis) => shape[layout.indexOf(axis)]);
  const depth = shape[layout.indexOf("C")];
  canvas.width = wide;
  canvas.height = high;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, wide, high);
  const seen = context.getImageData(0, 0, wide, high).data;
  const [low, top] = range || [0, 1];
  const values = new Float32Array(wide * high * depth);
  for (let at = 0; at < wide * high; at += 1) {
    const [r, g, b] = seen.subarray(4 * at, 4 * at + 3);
    const parts = color === "gray" ? [0.299 * r + 0.587 * g + 0.114 * b] : [r, g, b];
    for (let c = 0; c < depth; c += 1) {
      values[layout === "NCHW" ? c * wide * high + at : at * depth + c] = low + (parts[c] / 255) * (top - low);
    }
  }
  return new ort.Tensor("float32", values, layout === "NCHW" ? [1, depth, high, wide] : [1, high, wide, depth]);
}

async function score(model, file) {
  const started = performance.now();
  const image = await createImageBitmap(file);
  const found = await model.session.run({ [model.manifest.input.name]: pixels(image, model.manifest.input) });
  const scores = found[model.manifest.output.name].data;
  const likely = model.manifest.classes.map(({ name }, i) => [name, 1 / (1 + Math.exp(-scores[i])), scores[i]]);
  rows.replaceChildren(...likely.sort((a, b) => b[1] - a[1]).map(([name, share, raw]) => {
    const row = document.createElement("tr");
    const head = Object.assign(document.createElement("th"), { scope: "row", textContent: name });
    const meter = Object.assign(document.createElement("meter"), { min: 0, max: 1, value: share });
    meter.setAttribute("aria-hidden", "true");
    const text = Object.assign(document.createElement("td"), { className: "number" });
    text.textContent = (100 * share).toFixed(1) + "\u00a0%";
    text.title = "score " + raw.toFixed(4);
    row.append(head, Object.assign(document.createElement("td"), { className: "bar" }), text);
    row.children[1].append(meter);
    return row;
  }));
  canvas.classList.add("filled");
  state.textContent = `Scored in ${Math.round(performance.now() - started)} ms on this machine.`;
}

try {
  state.textContent = "The server composes the model ...";
  const model = await open();
  const { kind, layout, shape } = model.manifest.input;
  const far = await difference(model);
  const size = model.files.get("weights.safetensors")?.byteLength ?? 0;
  state.textContent = far < 1e-3
    ? `Ready: ${(size / 1e6).toFixed(1)} MB of weights. This browser gives the scores that the server's machine gave.`
    : `Careful: this browser's scores differ by up to ${far.toFixed(3)} from those of the server's machine.`;
  if (kind !== "image" || !["NCHW", "NHWC"].includes(layout) || !shape.slice(1).every(Number.isInteger)) {
    throw new Error("it takes no images of one size");
  }
  const use = (file) => score(model, file).catch((error) => { state.textContent = `This is no image that the browser reads: ${error.message}`; });
  input.disabled = false;
  input.addEventListener("change", () => input.files[0] && use(input.files[0]));
  drop.addEventListener("dragover", (event) => event.preventDefault());
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    if (event.dataTransfer.files[0]) use(event.dataTransfer.files[0]);
  });
} catch (error) {
  state.textContent = `It cannot be tried here: ${error.message}.`;
}
