// The canvas of a workflow: the same draft as the list of steps under it. One function makes each
// change (connect, disconnect, place, remove; adding and forms go to the server), used by mouse, touch,
// keys and undo alike. The draft is saved whole after a pause, with the text it rests on; until then it
// is kept in this tab, so that a reload loses nothing.
"use strict";

const editor = document.getElementById("editor");
const path = editor.dataset.path;
const csrf = document.querySelector('meta[name="csrf-token"]')?.content || "";
const KEPT = "flow:" + path;
const RUN = "run:" + path;
const WIDTH = 208, HEIGHT = 76, GAP_X = 44, GAP_Y = 56, STEP = 10, PAUSE_MS = 1500, LOOK_MS = 4000, EDGE = 18;
const SVG = "http://www.w3.org/2000/svg";
const WORDS = { running: "running", done: "done", failed: "failed", paused: "waiting", retry: "trying again" };
const SIGNS = { running: "…", done: "✓", failed: "!", paused: "?", retry: "↻" };

let flow = { components: [], edges: [] };
let base = flow, rev = 0, faults = {}, choices = {};
let undone = [], done = [];
let dirty = false, saving = null, timer = 0, conflict = false;
let view = { x: 20, y: 20, zoom: 1 };
let linking = null; // {source, targets, at} while an edge is drawn
let states = {};
let openStep = "";
let ran = ""; // the run whose states are shown

// Elements

function make(name, classes, text, given = {}) {
  const made = document.createElement(name);
  if (classes) made.className = classes;
  if (text) made.textContent = text;
  for (const [key, value] of Object.entries(given)) made.setAttribute(key, value);
  return made;
}

const toolbar = make("div", "toolbar", "", { role: "toolbar", "aria-label": "Canvas" });
const saved = make("span", "saved quiet", "", { role: "status" });
const tools = {
  undo: ["Undo", () => step_back(done, undone)],
  redo: ["Redo", () => step_back(undone, done)],
  arrange: ["Arrange", () => change(arranged(flow), "Arranged.")],
  fit: ["Fit", fit],
  out: ["−", () => zoom(0.8), "Zoom out"],
  in: ["+", () => zoom(1.25), "Zoom in"],
  run: ["Run the draft", openRun],
  help: ["Keys", openHelp],
};
const buttons = {};
for (const [name, [text, act, label]] of Object.entries(tools)) {
  const button = make("button", name === "run" ? "small" : "plain small", text, { type: "button" });
  if (label) button.setAttribute("aria-label", label);
  button.addEventListener("click", act);
  buttons[name] = button;
  toolbar.append(button);
}
toolbar.append(saved);
const palette = make("div", "palette", "", { role: "group", "aria-label": "Kinds of steps" });
const canvas = make("div", "canvas", "", { role: "group", "aria-label": "Steps, and what leads where" });
const world = make("div", "world");
const svg = document.createElementNS(SVG, "svg");
svg.setAttribute("class", "edges");
const inspector = make("aside", "inspector", "", { "aria-label": "Details", tabindex: "-1" });
inspector.hidden = true;
const live = make("p", "hidden", "", { role: "status", "aria-live": "polite" });
const told = make("p", "done told", "", { role: "status" });
told.hidden = true;
world.append(svg);
canvas.append(world);
const work = make("div", "work");
work.append(palette, canvas, inspector);
editor.append(told, toolbar, work, live);

const say = (text) => (live.textContent = text);
function tell(text) {
  told.textContent = text;
  told.hidden = !text;
}

// The flow

const copy = (value) => JSON.parse(JSON.stringify(value));
const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);
const stepOf = (id) => flow.components.find((item) => item.id === id);
const nameOf = (id) => stepOf(id)?.label || id;

function ancestors(of, id) {
  const found = new Set(), waiting = [id];
  while (waiting.length) {
    const one = waiting.pop();
    for (const edge of of.edges) {
      if (edge.target === one && !found.has(edge.source)) {
        found.add(edge.source);
        waiting.push(edge.source);
      }
    }
  }
  return found;
}

function ordered(of) {
  const left = [...of.components], out = [], seen = new Set(), known = new Set(left.map((c) => c.id));
  while (left.length) {
    let at = left.findIndex((c) => of.edges.every((e) => e.target !== c.id || !known.has(e.source) || seen.has(e.source)));
    if (at < 0) at = 0;
    const [one] = left.splice(at, 1);
    seen.add(one.id);
    out.push(one);
  }
  return out;
}

function why(source, target) {
  if (source === target) return "a step can't follow itself";
  if (stepOf(target).type === "Begin") return "Begin comes first";
  if (flow.edges.some((e) => e.source === source && e.target === target)) return "it leads there already";
  if (ancestors(flow, source).has(target)) return "that would be a circle";
  return "";
}

function arranged(of) {
  const next = copy(of), rank = {}, rows = [];
  for (const item of ordered(next)) {
    const before = next.edges.filter((e) => e.target === item.id).map((e) => rank[e.source] ?? -1);
    rank[item.id] = Math.max(-1, ...before) + 1;
    (rows[rank[item.id]] ??= []).push(item.id);
  }
  // An edge that passes a row has a lane in it, beside the steps.
  for (const edge of next.edges) {
    for (let row = rank[edge.source] + 1; row < rank[edge.target]; row++) if (!rows[row].includes("")) rows[row].unshift("");
  }
  const widest = Math.max(...rows.map((row) => row.length));
  next.ui = { ...(next.ui || {}) };
  rows.forEach((row, y) => row.forEach((id, x) => {
    if (!id) return;
    const shift = ((widest - row.length) * (WIDTH + GAP_X)) / 2;
    next.ui[id] = { x: Math.round((shift + x * (WIDTH + GAP_X)) / 10) * 10, y: y * (HEIGHT + GAP_Y) };
  }));
  return next;
}

// A step without a place is drawn where arranging would put it, moved off what is there.
function place(id) {
  const set = flow.ui?.[id];
  return set && Number.isFinite(set.x) && Number.isFinite(set.y) ? set : fallback[id];
}
let fallback = {};

function places() {
  fallback = arranged(flow).ui;
  const taken = Object.entries(flow.ui || {}).filter(([id]) => stepOf(id)).map(([, at]) => at);
  for (const item of ordered(flow)) {
    if (flow.ui?.[item.id]) continue;
    const before = flow.edges.find((e) => e.target === item.id);
    const above = before && place(before.source);
    const at = { ...(above ? { x: above.x, y: above.y + HEIGHT + GAP_Y } : fallback[item.id]) };
    while (taken.some((one) => Math.abs(one.x - at.x) < WIDTH && Math.abs(one.y - at.y) < HEIGHT)) at.x += WIDTH + GAP_X;
    fallback[item.id] = at;
    taken.push(at);
  }
}

// One function a change

function change(next, text) {
  if (same(next, flow)) return;
  done.push(flow);
  if (done.length > 100) done.shift();
  undone = [];
  set(next);
  if (text) say(text);
}

function set(next) {
  flow = next;
  dirty = true;
  keep();
  draw();
  plan();
}

function step_back(from, to) {
  if (!from.length) return say("Nothing more.");
  to.push(flow);
  set(from.pop());
  say(from === done ? "Undone." : "Done again.");
}

function connect(source, target) {
  const reason = why(source, target);
  if (reason) return say(`${nameOf(source)} can't lead to ${nameOf(target)}: ${reason}.`);
  const next = copy(flow);
  next.edges.push({ source, target });
  change(next, `${nameOf(source)} now leads to ${nameOf(target)}.`);
}

function without(value, id) {
  if (Array.isArray(value)) return value.map((item) => without(item, id));
  if (!value || typeof value !== "object") return value;
  const kept = {};
  for (const [key, item] of Object.entries(value)) {
    if (!(item === id && ["to", "else", "pass", "fail", "on_timeout", "branch"].includes(key))) kept[key] = without(item, id);
  }
  return kept;
}

function disconnect(source, target) {
  const next = copy(flow);
  next.edges = next.edges.filter((e) => e.source !== source || e.target !== target);
  const item = next.components.find((c) => c.id === source);
  item.param = without(item.param || {}, target);
  if (item.on_error?.branch === target) delete item.on_error;
  change(next, `${nameOf(source)} no longer leads to ${nameOf(target)}.`);
}

function remove(id) {
  if (stepOf(id)?.type === "Begin") return say("Begin stays: a workflow starts there.");
  const next = copy(flow), name = nameOf(id);
  const before = next.edges.filter((e) => e.target === id).map((e) => e.source);
  const after = next.edges.filter((e) => e.source === id).map((e) => e.target);
  next.components = next.components.filter((c) => c.id !== id);
  next.edges = next.edges.filter((e) => e.source !== id && e.target !== id);
  for (const item of next.components) {
    if (before.includes(item.id)) item.param = without(item.param || {}, id);
    if (item.on_error?.branch === id) delete item.on_error;
  }
  if (after.length === 1) {
    for (const source of before) {
      if (!next.edges.some((e) => e.source === source && e.target === after[0])) next.edges.push({ source, target: after[0] });
    }
  }
  if (next.ui) delete next.ui[id];
  if (openStep === id) close();
  change(next, `${name} is removed.`);
  node(before[0] || next.components[0]?.id)?.focus();
}

function move(id, x, y, text) {
  const next = copy(flow);
  next.ui = { ...(next.ui || {}), [id]: { x: Math.round(x / 10) * 10, y: Math.round(y / 10) * 10 } };
  change(next, text);
}

// Drawing

const node = (id) => (id ? world.querySelector(`.node[data-id="${CSS.escape(id)}"]`) : null);

function draw() {
  const focused = document.activeElement?.closest?.(".node, .edge");
  const again = focused && world.contains(focused) ? [focused.dataset.id, document.activeElement.className] : null;
  places();
  for (const old of world.querySelectorAll(".node")) old.remove();
  const steps = ordered(flow);
  steps.forEach((item, number) => world.append(drawNode(item, number, steps.length)));
  drawEdges();
  buttons.undo.disabled = !done.length;
  buttons.redo.disabled = !undone.length;
  if (again) (node(again[0])?.querySelector(again[1].includes("port") ? ".port" : ".none") || node(again[0]))?.focus({ preventScroll: true });
}

function drawNode(item, number, count) {
  const wrong = (faults[item.id] || []).length, state = states[item.id];
  const made = make("div", "node" + (wrong ? " faulty" : "") + (state ? " " + state : ""), "", { role: "group", tabindex: "0", "data-id": item.id });
  const said = [item.label || item.id, item.type, `step ${number + 1} of ${count}`];
  if (wrong) said.push(wrong === 1 ? "1 problem" : wrong + " problems");
  if (state) said.push(WORDS[state]);
  made.setAttribute("aria-label", said.join(", "));
  const at = place(item.id);
  made.style.left = at.x + "px";
  made.style.top = at.y + "px";
  const head = make("span", "name", item.label || item.id);
  const kind = make("span", "kind", item.type);
  made.append(head, kind);
  if (wrong) made.append(make("span", "badge why", wrong + " to mend"));
  if (state) made.append(make("span", "badge state", SIGNS[state] + " " + WORDS[state]));
  const port = make("button", "port", "", { type: "button", "aria-label": `Connect ${item.label || item.id}`, title: "Connect" });
  made.append(port);
  return made;
}

function drawEdges(ghost) {
  const lines = flow.edges.filter((e) => stepOf(e.source) && stepOf(e.target)).map((edge) => {
    const a = place(edge.source), b = place(edge.target);
    const group = document.createElementNS(SVG, "g");
    group.setAttribute("class", "edge");
    group.setAttribute("tabindex", "0");
    group.setAttribute("role", "button");
    group.setAttribute("aria-label", `From ${nameOf(edge.source)} to ${nameOf(edge.target)}. Delete disconnects.`);
    group.dataset.source = edge.source;
    group.dataset.target = edge.target;
    const d = curve(a.x + WIDTH / 2, a.y + HEIGHT, b.x + WIDTH / 2, b.y);
    for (const kind of ["hit", "line"]) {
      const line = document.createElementNS(SVG, "path");
      line.setAttribute("class", kind);
      line.setAttribute("d", d);
      group.append(line);
    }
    const when = choices[edge.source]?.[edge.target];
    if (when) {
      const text = document.createElementNS(SVG, "text");
      const along = 0.72, from = (1 - along) ** 2 * (1 + 2 * along), to = 1 - from; // near its end
      text.setAttribute("x", from * (a.x + WIDTH / 2) + to * (b.x + WIDTH / 2) + 8);
      text.setAttribute("y", b.y - (1 - along) * Math.max(40, b.y - a.y - HEIGHT));
      text.textContent = when;
      group.append(text);
    }
    return group;
  });
  if (ghost) {
    const line = document.createElementNS(SVG, "path");
    line.setAttribute("class", "ghost");
    line.setAttribute("d", ghost);
    lines.push(line);
  }
  svg.replaceChildren(...lines);
}

function curve(x1, y1, x2, y2) {
  const bend = Math.max(30, Math.abs(y2 - y1) / 2);
  return `M${x1} ${y1}C${x1} ${y1 + bend} ${x2} ${y2 - bend} ${x2} ${y2 - 3}`;
}

function look() {
  world.style.transform = `translate(${view.x}px, ${view.y}px) scale(${view.zoom})`;
  world.style.setProperty("--port", Math.max(1, 1 / view.zoom)); // large enough for a finger from afar
}

function zoom(by, x = canvas.clientWidth / 2, y = canvas.clientHeight / 2) {
  const next = Math.min(2, Math.max(0.3, view.zoom * by));
  view = { x: x - ((x - view.x) * next) / view.zoom, y: y - ((y - view.y) * next) / view.zoom, zoom: next };
  look();
}

function fit() {
  const all = flow.components.map((item) => place(item.id));
  if (!all.length) return;
  const left = Math.min(...all.map((p) => p.x)), top = Math.min(...all.map((p) => p.y));
  const wide = Math.max(...all.map((p) => p.x)) + WIDTH - left, high = Math.max(...all.map((p) => p.y)) + HEIGHT - top;
  const to = Math.min(1, Math.max(0.3, Math.min((canvas.clientWidth - 32) / wide, (canvas.clientHeight - 40) / high)));
  view = { x: (canvas.clientWidth - wide * to) / 2 - left * to, y: 16 - top * to, zoom: to };
  look();
}

function reveal(id) {
  const at = place(id);
  const near = (start, size, room) => Math.max(EDGE - start, 0) || Math.min(room - EDGE - size - start, 0);
  view.x += near(at.x * view.zoom + view.x, WIDTH * view.zoom, canvas.clientWidth);
  view.y += near(at.y * view.zoom + view.y, HEIGHT * view.zoom, canvas.clientHeight);
  look();
}

// Where the details open beside it, the middle stays the middle.
let wide = 0;
new ResizeObserver(() => {
  if (wide && canvas.clientWidth) {
    view.x += (canvas.clientWidth - wide) / 2;
    look();
  }
  wide = canvas.clientWidth;
}).observe(canvas);

// A browser scrolls what has the focus into sight; here only the view moves.
canvas.addEventListener("scroll", () => canvas.scrollTo(0, 0));
canvas.addEventListener("focusin", (event) => {
  canvas.scrollTo(0, 0);
  const at = event.target.closest(".node");
  if (at && !pointers.size) reveal(at.dataset.id);
});

// Pointers: mouse and touch

const pointers = new Map();
let drag = null;

function inWorld(event) {
  const box = canvas.getBoundingClientRect();
  return { x: (event.clientX - box.left - view.x) / view.zoom, y: (event.clientY - box.top - view.y) / view.zoom };
}

canvas.addEventListener("pointerdown", (event) => {
  pointers.set(event.pointerId, event);
  const on = event.target.closest(".node"), port = event.target.closest(".port"), at = inWorld(event);
  if (pointers.size === 2) drag = { kind: "pinch", far: distance(), zoom: view.zoom };
  else if (port) drag = { kind: "link", id: on.dataset.id, moved: false };
  else if (on) drag = { kind: "node", id: on.dataset.id, dx: at.x - place(on.dataset.id).x, dy: at.y - place(on.dataset.id).y, moved: false };
  else if (!event.target.closest(".edge")) drag = { kind: "pan", x: event.clientX - view.x, y: event.clientY - view.y };
  if (drag) {
    drag.from = [event.clientX, event.clientY];
    canvas.setPointerCapture(event.pointerId);
  }
});

function distance() {
  const [a, b] = [...pointers.values()];
  return Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
}

canvas.addEventListener("pointermove", (event) => {
  if (!pointers.has(event.pointerId)) return;
  pointers.set(event.pointerId, event);
  if (!drag) return;
  if (Math.hypot(event.clientX - drag.from[0], event.clientY - drag.from[1]) > 5) drag.moved = true;
  const at = inWorld(event);
  if (drag.kind === "pinch" && pointers.size === 2) {
    const [a, b] = [...pointers.values()], box = canvas.getBoundingClientRect();
    const now = distance();
    zoom(now / drag.far, (a.clientX + b.clientX) / 2 - box.left, (a.clientY + b.clientY) / 2 - box.top);
    drag.far = now;
  } else if (drag.kind === "pan") {
    view = { ...view, x: event.clientX - drag.x, y: event.clientY - drag.y };
    look();
  } else if (drag.kind === "node" && drag.moved) {
    const held = node(drag.id);
    held.style.left = at.x - drag.dx + "px";
    held.style.top = at.y - drag.dy + "px";
  } else if (drag.kind === "link" && drag.moved) {
    if (!linking) beginLink(drag.id);
    const from = place(drag.id);
    drawEdges(curve(from.x + WIDTH / 2, from.y + HEIGHT, at.x, at.y));
    const over = under(event);
    for (const one of world.querySelectorAll(".node")) one.classList.toggle("aimed", one === over && linking.targets.includes(one.dataset.id));
  }
});

function under(event) {
  return document.elementsFromPoint(event.clientX, event.clientY).map((one) => one.closest(".node")).find((one) => one && world.contains(one));
}

canvas.addEventListener("pointerup", (event) => {
  pointers.delete(event.pointerId);
  const held = drag;
  drag = null;
  if (!held) return;
  const at = inWorld(event);
  if (held.kind === "node" && held.moved) {
    move(held.id, at.x - held.dx, at.y - held.dy, `${nameOf(held.id)} is moved.`);
  } else if (held.kind === "node") {
    if (linking) finishLink(held.id);
    else {
      node(held.id)?.focus({ preventScroll: true });
      inspect(held.id);
    }
  } else if (held.kind === "link" && held.moved) {
    const over = under(event);
    if (over && over.dataset.id !== held.id) finishLink(over.dataset.id);
    else endLink();
  } else if (held.kind === "link") {
    if (linking) endLink();
    else beginLink(held.id, true);
  } else if (held.kind === "pan" && linking && !held.moved) endLink();
});
canvas.addEventListener("pointercancel", (event) => {
  pointers.delete(event.pointerId);
  drag = null;
  endLink();
  draw();
});
canvas.addEventListener("wheel", (event) => {
  event.preventDefault();
  const box = canvas.getBoundingClientRect();
  if (event.ctrlKey) zoom(event.deltaY < 0 ? 1.1 : 0.9, event.clientX - box.left, event.clientY - box.top);
  else {
    view = { ...view, x: view.x - event.deltaX, y: view.y - event.deltaY };
    look();
  }
}, { passive: false });
canvas.addEventListener("click", (event) => {
  // A port pressed with a key, not with a pointer: that was seen to above.
  const port = event.target.closest(".port"), edge = event.target.closest(".edge");
  if (port && event.detail === 0) beginLink(port.closest(".node").dataset.id, true);
  if (edge) edge.focus();
});

function beginLink(source, aloud = false) {
  const targets = ordered(flow).map((item) => item.id).filter((id) => !why(source, id));
  linking = { source, targets, at: -1 };
  for (const one of world.querySelectorAll(".node")) one.classList.toggle("legal", targets.includes(one.dataset.id));
  if (!aloud) return;
  if (!targets.length) {
    say(`There is no step that ${nameOf(source)} could lead to.`);
    endLink();
  } else {
    node(source)?.focus({ preventScroll: true });
    aim(1);
  }
}

function aim(by) {
  const { targets } = linking;
  linking.at = (linking.at + by + targets.length) % targets.length;
  const id = targets[linking.at];
  for (const one of world.querySelectorAll(".node")) one.classList.toggle("aimed", one.dataset.id === id);
  say(`${nameOf(linking.source)} to ${nameOf(id)}? Enter connects, arrows choose, Escape ends.`);
}

function finishLink(target) {
  const source = linking?.source;
  endLink();
  if (source) connect(source, target);
}

function endLink() {
  linking = null;
  for (const one of world.querySelectorAll(".node")) one.classList.remove("legal", "aimed");
  drawEdges();
}

// Keys

const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

editor.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, textarea, select");
  const key = event.key;
  if ((event.ctrlKey || event.metaKey) && !typing && ["z", "y"].includes(key.toLowerCase())) {
    event.preventDefault();
    const back = key.toLowerCase() === "z" && !event.shiftKey;
    return back ? step_back(done, undone) : step_back(undone, done);
  }
  if (key === "Escape") {
    if (linking) return endLink();
    if (!inspector.hidden) return close();
  }
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const at = event.target.closest(".node"), edge = event.target.closest(".edge");
  if (linking && at) {
    if (MOVES[key]) aim(key === "ArrowLeft" || key === "ArrowUp" ? -1 : 1);
    else if (key === "Enter" || key === " ") finishLink(linking.targets[linking.at]);
    else return;
    return event.preventDefault();
  }
  if (edge && (key === "Delete" || key === "Backspace")) {
    event.preventDefault();
    disconnect(edge.dataset.source, edge.dataset.target);
    return node(edge.dataset.source)?.focus();
  }
  if (key === "/") return event.preventDefault(), palette.querySelector("button")?.focus();
  if (!at) return;
  const id = at.dataset.id, on = event.target.closest(".port");
  if (MOVES[key]) {
    const far = event.shiftKey ? 5 * STEP : STEP, from = place(id);
    move(id, from.x + MOVES[key][0] * far, from.y + MOVES[key][1] * far, `${nameOf(id)} is moved.`);
    reveal(id);
  } else if (key === "Enter" && !on) inspect(id, true);
  else if (key === "c") beginLink(id, true);
  else if (key === "Delete" || key === "Backspace") remove(id);
  else if (key === "a") change(arranged(flow), "Arranged.");
  else if (key === "f") fit();
  else return;
  event.preventDefault();
});

// Adding: by click behind the step that is chosen, or dragged to a place

const adding = document.getElementById("adding");
for (const group of adding.querySelectorAll("optgroup")) {
  palette.append(make("span", "quiet", group.label));
  for (const option of group.querySelectorAll("option")) {
    const button = make("button", "plain small", option.value, { type: "button", title: option.dataset.about });
    button.addEventListener("click", () => add(option.value));
    button.addEventListener("pointerdown", (event) => carry(event, button, option.value));
    palette.append(button);
  }
}

let chosen = "";
canvas.addEventListener("focusin", (event) => {
  chosen = event.target.closest(".node")?.dataset.id || chosen;
});

function carry(event, button, kind) {
  const from = [event.clientX, event.clientY];
  let moved = false;
  button.setPointerCapture(event.pointerId);
  const onMove = (now) => {
    moved = moved || Math.hypot(now.clientX - from[0], now.clientY - from[1]) > 12;
    canvas.classList.toggle("over", moved);
  };
  const onUp = (now) => {
    button.removeEventListener("pointermove", onMove);
    canvas.classList.remove("over");
    const box = canvas.getBoundingClientRect();
    const inside = now.clientX > box.left && now.clientX < box.right && now.clientY > box.top && now.clientY < box.bottom;
    if (moved && inside && now.type === "pointerup") {
      const at = inWorld(now);
      add(kind, { x: at.x - WIDTH / 2, y: at.y - HEIGHT / 2 });
    }
  };
  button.addEventListener("pointermove", onMove);
  button.addEventListener("pointerup", onUp, { once: true });
  button.addEventListener("pointercancel", onUp, { once: true });
}

async function add(kind, at) {
  const steps = ordered(flow);
  const after = at ? "" : stepOf(chosen) ? chosen : steps[steps.length - 1]?.id || "";
  const form = new FormData(adding);
  form.set("type", kind);
  form.set("after", after);
  form.set("do", "add");
  const state = await post(path, form);
  if (!state) return;
  done.push(flow);
  adopt(state);
  chosen = state.at_step;
  if (at) move(chosen, at.x, at.y);
  say(state.told);
  node(chosen)?.focus();
  reveal(chosen);
}

// The server

async function post(url, form, html = false) {
  await flush();
  if (conflict || dirty) return null;
  form.set("csrf", csrf);
  try {
    const response = await fetch(url, { method: "POST", body: form, headers: { Accept: "application/json" } });
    const isPage = (response.headers.get("content-type") || "").includes("text/html");
    if (isPage) {
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      if (html) return page;
      tell(page.querySelector(".notice")?.textContent || "That was not done.");
      return null;
    }
    const found = await response.json();
    if (response.ok) return found;
    tell(found.detail || "That was not done.");
  } catch {
    tell("The server can't be reached. What you changed is kept here.");
  }
  return null;
}

// What the server has becomes what is shown; local changes stay, and rest on what was `sent`.
function adopt(state, sent) {
  faults = state.faults;
  choices = state.choices;
  if (dirty) {
    // What was changed meanwhile is merged with the next save; revision 0 is never the present one.
    if (sent) [base, rev] = [sent, state.told ? 0 : state.rev];
    keep();
    plan();
  } else {
    flow = state.flow;
    base = copy(flow);
    rev = state.rev;
    forget();
  }
  document.getElementById("list").innerHTML = state.list;
  const after = adding.elements.namedItem("after"), before = after.value;
  after.replaceChildren(...ordered(flow).map((item) => new Option(item.label || item.id, item.id)), new Option("nothing yet", ""));
  if (stepOf(before)) after.value = before;
  draw();
}

function keep() {
  try {
    sessionStorage.setItem(KEPT, JSON.stringify({ flow, base, rev }));
  } catch {
    // Private windows may have no room; the draft is saved in a moment anyway.
  }
  saved.textContent = "Not saved yet";
}

function forget() {
  sessionStorage.removeItem(KEPT);
}

function plan() {
  clearTimeout(timer);
  if (!conflict) timer = setTimeout(flush, PAUSE_MS);
}

async function flush() {
  clearTimeout(timer);
  if (saving) await saving;
  if (!dirty || conflict) return;
  saving = save();
  await saving;
  saving = null;
}

async function save() {
  const sent = copy(flow);
  dirty = false;
  saved.textContent = "Saving…";
  try {
    const response = await fetch(path + "/draft", {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-CSRF-Token": csrf },
      body: JSON.stringify({ flow: sent, base, rev }),
    });
    const state = await response.json();
    if (response.status === 409) return clash(state);
    if (!response.ok) throw new Error(state.detail);
    adopt(state, sent);
    if (state.told) {
      tell(state.told);
      done = [];
      undone = [];
      draw();
    }
    saved.textContent = dirty ? "Not saved yet" : "Saved " + new Date(state.at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
    if (dirty) plan();
  } catch (error) {
    dirty = true;
    keep();
    saved.textContent = error instanceof TypeError ? "Offline, kept here" : "Not saved: " + error.message;
    timer = setTimeout(flush, LOOK_MS);
  }
}

function clash(both) {
  dirty = true;
  conflict = true;
  keep();
  saved.textContent = `${both.by} saved: choose`;
  const mine = copy(flow);
  const box = make("section", "clash", "", { role: "alert" });
  box.append(make("h2", "", `${both.by} changed the same`), make("p", "", "Nothing is lost. Both changed " + both.conflicts.join("; ") + "."));
  box.append(make("p", "", "Theirs: " + both.their_changes.join(" ")), make("p", "", "Yours: " + both.my_changes.join(" ")));
  const settle = (next, from) => {
    conflict = false;
    done = [];
    undone = [];
    base = copy(from);
    rev = both.rev;
    flow = copy(next);
    dirty = true;
    close();
    set(flow);
    flush();
  };
  const ways = [
    ["Merge, with theirs where we differ", () => settle(both.merged, both.theirs)],
    ["Keep mine as a copy", async () => {
      const form = new FormData();
      form.set("csrf", csrf);
      form.set("flow", JSON.stringify(mine));
      const response = await fetch(path + "/copy", { method: "POST", body: form, headers: { Accept: "application/json" } });
      if (!response.ok) return tell("The copy was not made. Yours is still here.");
      const made = await response.json();
      settle(both.theirs, both.theirs);
      tell(`Yours is kept as ${made.name}.`);
    }],
    ["Take theirs", () => settle(both.theirs, both.theirs)],
  ];
  for (const [text, act] of ways) {
    const button = make("button", "plain", text, { type: "button" });
    button.addEventListener("click", act);
    box.append(button);
  }
  openStep = "";
  show(box);
}

async function watch() {
  if (!document.hidden && !dirty && !saving && !conflict) {
    try {
      const response = await fetch(`${path}/draft?rev=${rev}`);
      const state = await response.json();
      if (response.ok && state.flow && !dirty && !saving && state.rev !== rev) {
        tell(`${state.by} saved meanwhile. This is the draft as it is now.`);
        done = [];
        undone = [];
        adopt(state);
        saved.textContent = `${state.by} saved`;
      }
    } catch {
      // The server is away; the next look may find it again.
    }
  }
  setTimeout(watch, LOOK_MS);
}
document.addEventListener("visibilitychange", () => document.hidden && flush());
addEventListener("online", flush);

// Details: the form of a step, a run, help

function show(...parts) {
  const end = make("button", "plain small end", "Close", { type: "button" });
  end.addEventListener("click", close);
  inspector.replaceChildren(...(conflict ? [] : [end]), ...parts);
  inspector.hidden = false;
  work.classList.add("open");
}

function close() {
  if (conflict) return;
  const back = openStep;
  if (stream?.readyState === EventSource.CLOSED) sessionStorage.removeItem(RUN);
  openStep = "";
  inspector.hidden = true;
  work.classList.remove("open");
  node(back)?.focus({ preventScroll: true });
}

async function pageOf(url) {
  try {
    const response = await fetch(url, { headers: { Accept: "text/html" } });
    if (response.ok) return new DOMParser().parseFromString(await response.text(), "text/html");
  } catch {
    tell("The server can't be reached. What you changed is kept here.");
  }
  return null;
}

async function inspect(id, focus = false) {
  await flush();
  if (conflict) return;
  openStep = id;
  const page = await pageOf(`${path}/steps/${encodeURIComponent(id)}`);
  const found = page?.getElementById("inspected");
  if (!found || openStep !== id) return;
  const { enable } = await import(editor.dataset.refer);
  if (openStep !== id) return;
  const away = make("button", "danger small", "Remove the step", { type: "button" });
  away.addEventListener("click", () => remove(id));
  const head = make("h2", "", nameOf(id) + " ");
  head.append(make("span", "word", stepOf(id).type));
  show(head, document.adoptNode(found), ...(stepOf(id).type === "Begin" ? [] : [away]));
  enable(found);
  const form = found.querySelector("form");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const data = new FormData(form);
    if (event.submitter?.name) data.set(event.submitter.name, event.submitter.value);
    const answer = await post(form.getAttribute("action"), data, true);
    if (answer instanceof Document) {
      const next = answer.getElementById("inspected");
      if (next) {
        found.replaceWith(document.adoptNode(next));
        openStep = "";
      }
      return tell(answer.querySelector(".notice, .done")?.textContent || "");
    }
    if (!answer) return;
    if (answer.path) return tell(`Yours is kept as ${answer.name}.`);
    done.push(flow);
    adopt(answer);
    say(answer.told);
    if (openStep !== id) return; // they are at another one by now
    if (event.submitter?.value === "stay" || answer.faults[id]) inspect(id, true);
    else close();
  });
  await lastRun(id, found);
  if (focus) found.querySelector("input:not([type=hidden]), textarea, select, button")?.focus();
}

async function lastRun(id, found) {
  if (!ran || !states[id]) return;
  const page = await pageOf("/console/runs/" + ran);
  const row = [...(page?.querySelectorAll("tbody tr") || [])].find((one) => one.cells[0].textContent === id);
  if (!row) return;
  const part = make("section", "last", "");
  part.append(make("h3", "", "In the last run"), ...[...row.cells[4].children].map((one) => document.adoptNode(one)));
  found.append(part);
}

function openHelp() {
  const list = make("dl", "facts-of");
  const keys = [
    ["Tab", "from step to step"], ["Arrows", "move a step; Shift: further"], ["Enter", "its form"],
    ["c", "connect: arrows choose, Enter connects, Escape ends"], ["Delete", "remove a step or a connection"],
    ["Ctrl+Z, Ctrl+Y", "undo, redo"], ["/", "kinds of steps"], ["a, f", "arrange, fit"],
    ["Mouse, finger", "drag steps, drag from the round port to connect, two fingers zoom"],
  ];
  for (const [key, text] of keys) list.append(make("dt", "", key), make("dd", "", text));
  openStep = "";
  show(make("h2", "", "Keys"), list);
  inspector.focus();
}

// Running in place

async function openRun() {
  await flush();
  if (conflict) return;
  const page = await pageOf(path + "/run?version=draft");
  const form = page?.getElementById("starting");
  openStep = "";
  const head = make("h2", "", "Run the draft");
  if (!form) {
    const list = page?.querySelector("main ul");
    show(head, make("p", "", "It can't run yet:"), ...(list ? [document.adoptNode(list)] : []));
    return inspector.focus();
  }
  show(head, document.adoptNode(form));
  form.querySelector("input:not([type=hidden]), textarea")?.focus();
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const started = await post(form.getAttribute("action"), new FormData(form));
    if (!started) return;
    sessionStorage.setItem(RUN, started.run);
    follow(started.run);
  });
}

let stream = null;

function follow(run) {
  stream?.close();
  states = {};
  ran = run;
  draw();
  const log = make("p", "progress", "Started…", { role: "status" });
  const out = make("div", "writing");
  const link = make("a", "", "The whole run", { href: "/console/runs/" + run });
  const stop = make("button", "danger small", "Cancel", { type: "button" });
  stop.addEventListener("click", () => {
    const form = new FormData();
    form.set("do", "cancel");
    post(link.getAttribute("href"), form);
  });
  openStep = "";
  show(make("h2", "", "Run"), log, out, stop, link);
  stream = new EventSource(`/api/v1/workflow_executions/${run}/events`);
  const on = (kind, act) => stream.addEventListener(kind, (event) => act(JSON.parse(event.data)));
  const mark = (state) => (item) => {
    const id = item.path.split("/")[0].replace(/\[.*/, "");
    states[id] = state;
    log.textContent = `${nameOf(id)}: ${WORDS[state]}`;
    draw();
  };
  on("node_started", mark("running"));
  on("node_retry", mark("retry"));
  on("node_finished", mark("done"));
  on("node_failed", mark("failed"));
  on("delta", (item) => (out.textContent += item.data.text || ""));
  on("paused", (item) => {
    mark("paused")(item);
    question(run, out);
  });
  on("run_finished", async (item) => {
    stream.close();
    stop.remove();
    log.textContent = "Run: " + (item.data.state || "over") + (item.data.state === "failed" ? ". " + item.message : "");
    const page = await pageOf("/console/runs/" + run);
    const text = page?.querySelector(".answer .writing")?.textContent;
    if (text) out.textContent = text;
  });
}

async function question(run, out) {
  for (let tries = 0; tries < 20; tries++) {
    const page = await pageOf("/console/runs/" + run);
    const form = page?.querySelector('form:has(input[name="do"][value="reply"])');
    if (form) {
      const part = document.adoptNode(form.closest("section"));
      const asked = part.querySelector("form");
      asked.addEventListener("submit", async (event) => {
        event.preventDefault();
        const data = new FormData(asked);
        if (event.submitter?.name) data.set(event.submitter.name, event.submitter.value);
        if (await post(asked.getAttribute("action"), data)) part.remove();
      });
      out.after(part);
      return asked.querySelector("input:not([type=hidden]), button")?.focus();
    }
    await new Promise((wake) => setTimeout(wake, 250));
  }
}

// The list: its forms change the same draft

async function fromList(event) {
  const form = event.target.closest("form");
  event.preventDefault();
  const data = new FormData(form);
  if (event.submitter?.name) data.set(event.submitter.name, event.submitter.value);
  const what = event.submitter?.value, step = data.get("step");
  const state = await post(path, data);
  if (!state) return;
  done.push(flow);
  adopt(state);
  tell(state.told);
  const row = document.getElementById("step-" + (state.at_step || ""));
  (row?.querySelector(`button[value="${what}"]`) || row?.querySelector("a") || document.getElementById("add-type"))?.focus();
  if (what === "add") inspect(state.at_step, true);
  else if (what === "remove" && step === openStep) close();
}
document.getElementById("list").addEventListener("submit", fromList);
adding.addEventListener("submit", fromList);

// Begin

async function begin() {
  const response = await fetch(path + "/draft");
  const state = await response.json();
  if (!response.ok) return;
  editor.hidden = false;
  let kept = null;
  try {
    kept = JSON.parse(sessionStorage.getItem(KEPT));
  } catch {
    kept = null;
  }
  adopt(state);
  if (kept?.flow?.components && !same(kept.flow, state.flow) && !same(kept.flow, kept.base)) {
    base = kept.base;
    rev = kept.rev;
    change(kept.flow);
    tell("What you had not saved is back.");
  } else saved.textContent = "Saved";
  look();
  fit();
  const run = sessionStorage.getItem(RUN);
  if (run) follow(run);
  setTimeout(watch, LOOK_MS);
}
begin();
