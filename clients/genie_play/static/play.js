// The page of `genie play`: what was played is a tree of frames, whose numbers the server gives.
"use strict";

const $ = (id) => document.getElementById(id);
const THUMB = 44;
const GAP = 14;

let about = null;
let socket = null;
let game = "";
let nodes = new Map(); // number -> {parent, code, png, children}
let here = null;
let held = null; // code whose key or button is down
let pressed = null; // when the action on its way was asked for

function say(text, isError = false) {
  $("status").textContent = text;
  $("status").classList.toggle("error", isError);
}

function send(message) {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
}

function step(code) {
  if (here === null || pressed !== null || code >= about.palette.length) return;
  pressed = performance.now();
  send({ type: "step", from: here, code });
}

function release() {
  held = null;
  for (const button of $("palette").children) button.classList.remove("held");
}

function hold(code) {
  release();
  held = code;
  $("palette").children[code]?.classList.add("held");
  step(code);
}

function show(number) {
  here = number;
  const node = nodes.get(number);
  $("frame").src = node.png;
  $("frame").hidden = false;
  $("hint").hidden = true;
  $("undo").disabled = node.parent === null;
  $("again").disabled = number === 0;
  for (const button of $("saves").querySelectorAll("button")) button.disabled = number === 0;
  drawTree();
}

function begin(png) {
  nodes = new Map([[0, { parent: null, code: null, png, children: [] }]]);
  pressed = null;
  $("cost").textContent = "";
  for (const image of $("palette").querySelectorAll("img")) image.src = png;
  show(0);
}

function receive(message) {
  if (message.type === "game") {
    game = message.name;
    if (about.has_prompt) send({ type: "start" });
  } else if (message.type === "started") {
    begin(picture(message.png));
    say("ready");
  } else if (message.type === "frame") {
    arrived(message);
  } else if (message.type === "previews") {
    message.png.forEach((frames, code) => { $("palette").children[code].querySelector("img").src = picture(frames.at(-1)); });
  } else if (message.type === "error") {
    pressed = null;
    release();
    say(message.message, true);
  }
}

function arrived(message) {
  if (!nodes.has(message.node)) {
    nodes.set(message.node, { parent: message.parent, code: message.code, png: picture(message.png), children: [] });
    nodes.get(message.parent).children.push(message.node);
  }
  const asked = pressed;
  pressed = null;
  show(message.node);
  $("frame").decode().catch(() => {}).then(() => requestAnimationFrame(() => {
    const total = Math.round(performance.now() - asked);
    const parts = message.drawn === 0 ? "known already" : `model ${message.device_ms} ms, waiting ${message.queue_ms} ms`;
    const more = message.drawn > 1 ? `, ${message.drawn} frames drawn again for this branch` : "";
    $("cost").textContent = `key press to picture: ${total} ms (${parts}${more})`;
    $("cost").dataset.ms = String(total);
  }));
  say(`frame ${depth(message.node)}, latent action ${message.code}`);
  if (held !== null) step(held);
}

const picture = (png) => `data:image/png;base64,${png}`;

function depth(number) {
  let steps = 0;
  for (let at = nodes.get(number); at.parent !== null; at = nodes.get(at.parent)) steps += 1;
  return steps;
}

function undo() {
  const parent = nodes.get(here)?.parent ?? null;
  if (parent !== null && pressed === null) show(parent);
}

function drawTree() {
  const svg = $("tree");
  svg.replaceChildren();
  let rows = 0;
  let columns = 0;
  const place = new Map();
  const todo = [[0, 0, true]];
  while (todo.length) { // depth first: the first child goes on in its parent's row
    const [number, column, goesOn] = todo.pop();
    if (!goesOn) rows += 1;
    place.set(number, [column, rows]);
    columns = Math.max(columns, column + 1);
    const children = nodes.get(number).children;
    for (let i = children.length - 1; i >= 0; i -= 1) todo.push([children[i], column + 1, i === 0]);
  }
  const cell = THUMB + GAP;
  svg.setAttribute("width", columns * cell);
  svg.setAttribute("height", (rows + 1) * cell);
  for (const [number, [column, row]] of place) {
    const node = nodes.get(number);
    const [x, y] = [column * cell, row * cell];
    if (node.parent !== null) {
      const [fromX, fromY] = place.get(node.parent).map((at) => at * cell);
      add(svg, "path", {
        d: `M${fromX + THUMB} ${fromY + THUMB / 2} C${x - GAP / 2} ${fromY + THUMB / 2} ${fromX + THUMB + GAP / 2} ${y + THUMB / 2} ${x} ${y + THUMB / 2}`,
        stroke: about.palette[node.code], "stroke-width": 4, fill: "none",
      });
    }
    const image = add(svg, "image", { href: node.png, x, y, width: THUMB, height: THUMB, "data-node": number });
    image.addEventListener("click", () => { if (pressed === null) show(number); });
    if (number === here) add(svg, "rect", { x, y, width: THUMB, height: THUMB, class: "here" });
  }
  const [column, row] = place.get(here);
  $("history").scrollTo((column + 2) * cell - $("history").clientWidth, (row + 2) * cell - $("history").clientHeight);
}

function add(parent, name, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return parent.appendChild(element);
}

function buildPalette() {
  about.palette.forEach((colour, code) => {
    const button = document.createElement("button");
    button.type = "button";
    button.style.borderColor = colour;
    const image = document.createElement("img");
    image.alt = `what latent action ${code} does`;
    const name = document.createElement("span");
    name.textContent = about.words[code] ?? `code ${code}`;
    const key = document.createElement("kbd");
    key.textContent = code < 9 ? `${code + 1}` : "";
    button.title = `latent action ${code}`;
    button.append(image, name, key);
    button.addEventListener("pointerdown", () => hold(code));
    $("palette").append(button);
  });
  for (const end of ["pointerup", "pointercancel", "blur"]) window.addEventListener(end, release);
}

function buildDataset() {
  $("restart").hidden = !about.has_prompt;
  $("dataset").hidden = about.episodes.length === 0;
  about.episodes.forEach((episode, index) => $("episode").append(new Option(`${episode.name} (${episode.frames})`, index)));
  const look = () => {
    const episode = Number($("episode").value);
    $("moment").max = about.episodes[episode].frames - 1;
    $("index").textContent = $("moment").value;
    $("thumbnail").src = `thumbnail/${episode}/${Number($("moment").value)}`;
  };
  if (about.episodes.length) {
    $("episode").addEventListener("change", () => { $("moment").value = 0; look(); });
    $("moment").addEventListener("input", () => { $("index").textContent = $("moment").value; });
    $("moment").addEventListener("change", look);
    look();
  }
}

function startFrom(file) {
  if (!file) return;
  if (file.size > 8 * 2 ** 20) return say(`${file.name}: got ${file.size} bytes, expected a picture of 8 MiB at most`, true);
  say("reading the picture ...");
  file.arrayBuffer().then((bytes) => socket.send(bytes));
}

function listen() {
  window.addEventListener("keydown", (event) => {
    if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || ["INPUT", "SELECT"].includes(event.target.tagName)) return;
    const code = "123456789".indexOf(event.key);
    if (code >= 0) hold(code);
    else if (event.key === "Backspace") undo();
    else if (event.key === "Home" && nodes.size) show(0);
    else return;
    event.preventDefault();
  });
  window.addEventListener("keyup", release);
  $("undo").addEventListener("click", undo);
  $("again").addEventListener("click", () => { if (pressed === null) show(0); });
  for (const button of $("saves").querySelectorAll("button")) {
    button.addEventListener("click", () => { window.location.assign(`save/${game}/${here}.${button.dataset.kind}`); });
  }
  $("restart").addEventListener("click", () => send({ type: "start" }));
  $("choose").addEventListener("click", () => send({ type: "start", episode: Number($("episode").value), frame: Number($("moment").value) }));
  $("picture").addEventListener("change", (event) => startFrom(event.target.files[0]));
  for (const name of ["dragover", "dragleave", "drop"]) {
    $("screen").addEventListener(name, (event) => {
      event.preventDefault();
      $("screen").classList.toggle("over", name === "dragover");
      if (name === "drop") startFrom(event.dataTransfer.files[0]);
    });
  }
}

async function main() {
  about = await (await fetch("about")).json();
  $("model").textContent = `plays ${about.model}`;
  $("screen").style.aspectRatio = `${about.width} / ${about.height}`;
  $("frame").addEventListener("load", () => { $("screen").style.aspectRatio = `${$("frame").naturalWidth} / ${$("frame").naturalHeight}`; });
  buildPalette();
  buildDataset();
  listen();
  for (const button of document.querySelectorAll("#undo, #again, #saves button")) button.disabled = true;
  const address = new URL("game", window.location.href);
  address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
  socket = new WebSocket(address);
  socket.addEventListener("message", (event) => receive(JSON.parse(event.data)));
  socket.addEventListener("open", () => say(about.has_prompt ? "starting ..." : "waiting for a picture"));
  socket.addEventListener("close", (event) => say(`the game has ended${event.reason ? `: ${event.reason}` : ""}; reload to play again`, true));
}

main().catch((error) => say(String(error), true));
