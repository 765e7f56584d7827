// The page in a widget's frame: asks, and reads the answer as it comes.
"use strict";

const log = document.getElementById("log");
const form = document.getElementById("ask");
const close = document.getElementById("close");
const said = document.getElementById("status");
const csrf = document.querySelector("meta[name=csrf-token]");
let conversation = "";

if (parent !== window && new URLSearchParams(location.search).has("floating")) {
  close.hidden = false;
  close.addEventListener("click", leave);
  addEventListener("keydown", (press) => press.key === "Escape" && leave());
}

if (form) {
  const box = document.getElementById("question");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const question = box.value.trim();
    if (question && !form.querySelector("button").disabled) ask(question);
  });
  log.addEventListener("click", (event) => {
    if (event.target.matches(".choice") && !form.querySelector("button").disabled) ask(event.target.textContent);
    const ref = event.target.closest("a.ref");
    if (!ref) return;
    // Each answer numbers its sources anew, so the number is looked up in its own.
    event.preventDefault();
    const source = ref.closest("article").querySelector(`li[value="${ref.textContent}"]`);
    source.closest("details").open = true;
    source.scrollIntoView({ block: "nearest" });
  });

  async function ask(question) {
    const button = form.querySelector("button");
    button.disabled = true;
    box.value = "";
    document.getElementById("examples")?.remove();
    log.append(made("p", "asked", question));
    const answer = made("div", "", "…");
    log.append(answer);
    said.textContent = "Looking for an answer";
    answer.scrollIntoView({ block: "end" });
    try {
      await read(answer, question);
      said.textContent = "";
    } catch (error) {
      answer.replaceChildren(made("p", "notice", error.message || "The server can't be reached."));
      said.textContent = answer.textContent;
    }
    button.disabled = false;
    box.focus({ preventScroll: true });
  }

  async function read(answer, question) {
    const headers = { "Content-Type": "application/json", Accept: "text/event-stream" };
    if (csrf) headers["X-CSRF-Token"] = csrf.content;
    const body = JSON.stringify({ question, conversation });
    const response = await fetch(form.action, { method: "POST", headers, body }).catch(() => {
      throw new Error("The server can't be reached. Try again.");
    });
    if (!response.ok) {
      const problem = await response.json().catch(() => ({}));
      if (response.status === 404) conversation = "";
      throw new Error(problem.detail || "The question was refused.");
    }
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let unread = "", text = "", whole = false;
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      unread += value;
      for (let end; (end = unread.indexOf("\n\n")) >= 0; unread = unread.slice(end + 2)) {
        const lines = unread.slice(0, end).split("\n");
        const part = (name) => lines.find((line) => line.startsWith(name + ": "))?.slice(name.length + 2);
        const kind = part("event");
        if (!kind) continue;
        const data = JSON.parse(part("data"));
        if (kind === "error") throw new Error(data.detail);
        if (kind === "delta") answer.textContent = text += data.text;
        if (kind === "answered") {
          answer.innerHTML = data.html; // rendered by our own server, from escaped text
          conversation = data.conversation;
          whole = true;
        }
      }
    }
    if (!whole) throw new Error("The answer broke off. Try again.");
  }
}

function leave() {
  parent.postMessage("scrubjay-close", "*"); // says nothing that a page must not know
}

function made(name, classes, text) {
  const element = document.createElement(name);
  if (classes) element.className = classes;
  element.textContent = text;
  return element;
}
