// What the front page gains from a script: the state of ingestion moves, and what is to be pasted can
// be copied. Without it the form still asks and the page still tells.
"use strict";

function element(name, classes) {
  const made = document.createElement(name);
  made.className = classes;
  return made;
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
