// What the front page gains from a script: the answer streams in, the state of ingestion moves,
// and what is to be pasted can be copied. Without it the form still asks and the page still tells.
"use strict";

const form = document.getElementById("ask");
const field = document.getElementById("q");
const button = form.querySelector("button");
const progress = document.getElementById("progress");
const answer = document.getElementById("answer");
const csrf = document.querySelector('meta[name="csrf-token"]');
let asking = null;

form.addEventListener("submit", (submitted) => {
  submitted.preventDefault();
  const data = new URLSearchParams(new FormData(form));
  if (!field.value.trim()) return;
  history.pushState(null, "", "/?" + data);
  ask(data);
});

// Back and forward show the page as the server renders it.
window.addEventListener("popstate", () => {
  if (location.hash === "") location.reload();
});

async function ask(data) {
  if (asking) asking.abort();
  const mine = (asking = new AbortController());
  busy(true, "Searching…");
  answer.replaceChildren();
  try {
    const response = await fetch("/ask", {
      method: "POST",
      body: data,
      headers: { Accept: "text/event-stream", "X-CSRF-Token": csrf ? csrf.content : "" },
      signal: mine.signal,
    });
    if (!response.ok) throw new Error((await response.json()).detail);
    await readEvents(response.body, show);
  } catch (error) {
    if (mine.signal.aborted) return;
    tell(error.message || "The server can't be reached. Is Scrubjay still running?");
  } finally {
    if (asking === mine) {
      asking = null;
      busy(false, "");
    }
  }
}

function show(kind, data) {
  if (kind === "searching") {
    progress.textContent = "Searching…";
  } else if (kind === "delta") {
    progress.textContent = "Answering…";
    writing().textContent += data.text;
  } else if (kind === "answered") {
    // Rendered by our own server, from escaped text.
    answer.innerHTML = data.html;
    answer.focus({ preventScroll: true });
  } else if (kind === "error") {
    tell(data.detail);
  }
}

function writing() {
  let target = answer.querySelector(".writing");
  if (!target) {
    const card = element("article", "answer");
    target = element("div", "prose writing");
    card.append(target);
    answer.replaceChildren(card);
  }
  return target;
}

function tell(text) {
  const notice = element("p", "notice");
  notice.setAttribute("role", "alert");
  notice.textContent = text;
  answer.replaceChildren(notice);
}

function busy(isBusy, text) {
  button.setAttribute("aria-disabled", String(isBusy));
  progress.textContent = text;
}

function element(name, classes) {
  const made = document.createElement(name);
  made.className = classes;
  return made;
}

async function readEvents(body, handle) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let pending = "";
  let ended = false;
  while (true) {
    const { value, done } = await reader.read();
    if (done) break;
    pending += value;
    let end;
    while ((end = pending.indexOf("\n\n")) >= 0) {
      const lines = pending.slice(0, end).split("\n");
      pending = pending.slice(end + 2);
      const part = (name) => lines.find((line) => line.startsWith(name + ": "))?.slice(name.length + 2);
      const kind = part("event");
      ended = ended || kind === "answered" || kind === "error";
      if (kind) handle(kind, JSON.parse(part("data")));
    }
  }
  if (!ended) throw new Error("The answer broke off. Ask again.");
}

// The state of ingestion: often while something is on its way, seldom otherwise.
const state = document.getElementById("state");
let lastState = "";

async function follow() {
  if (!document.hidden) {
    try {
      const response = await fetch("/state");
      if (response.ok) {
        const html = await response.text();
        if (html !== lastState) state.innerHTML = lastState = html;
      }
    } catch {
      // The server is away; the next look may find it again.
    }
  }
  const waiting = Number(state.firstElementChild?.dataset.waiting || 0);
  setTimeout(follow, waiting ? 1500 : 10000);
}
setTimeout(follow, 1500);

for (const paste of document.querySelectorAll(".paste")) {
  const copy = element("button", "");
  copy.type = "button";
  copy.textContent = "Copy";
  copy.setAttribute("aria-label", "Copy: " + paste.querySelector("figcaption").textContent);
  copy.addEventListener("click", async () => {
    await navigator.clipboard.writeText(paste.querySelector("code").textContent);
    copy.textContent = "Copied";
    setTimeout(() => (copy.textContent = "Copy"), 2000);
  });
  paste.append(copy);
}
