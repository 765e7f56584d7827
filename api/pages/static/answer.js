// Reads along with the answer under way. It goes on in the server, so a reload, a second tab or a
// phone that slept read it from its beginning; where the server was stopped, the question is asked again.
"use strict";

const pending = document.getElementById("pending");
const key = "following " + location.pathname;

if (pending) {
  const progress = document.getElementById("progress");
  const answer = document.getElementById("answer");
  let stopped = false;
  sessionStorage.setItem(key, "1");
  pending.querySelector("form").addEventListener("submit", () => {
    stopped = true;
    sessionStorage.removeItem(key);
  });
  follow();

  async function follow() {
    let text = "";
    try {
      const response = await fetch(pending.dataset.events, { headers: { Accept: "text/event-stream" } });
      if (response.status === 200 && (await readEvents(response.body, show))) return;
    } catch {
      // The server is away; the page looks again below.
    }
    // It has ended, or the connection has: the page as the server renders it knows.
    if (!stopped) again();

    function show(kind, data) {
      if (kind === "delta") {
        text += data.text;
        progress.textContent = "Answering…";
        writing().textContent = text;
      } else if (kind === "answered") {
        sessionStorage.removeItem(key);
        // Rendered by our own server, from escaped text.
        answer.innerHTML = data.html;
        done("");
        answer.focus({ preventScroll: true });
      } else if (kind === "error") {
        sessionStorage.removeItem(key);
        done(data.detail);
      }
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

  function done(refusal) {
    progress.textContent = "";
    pending.querySelector("form").remove();
    if (!refusal) return;
    const notice = element("p", "notice");
    notice.setAttribute("role", "alert");
    notice.textContent = refusal;
    answer.replaceChildren(notice);
  }

  async function again() {
    for (;;) {
      try {
        const response = await fetch(location.href, { headers: { Accept: "text/html" } });
        if (response.status < 500) return location.reload();
      } catch {
        progress.textContent = "The server can't be reached. Waiting for it…";
      }
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  }
} else if (document.getElementById("lost") && sessionStorage.getItem(key)) {
  sessionStorage.removeItem(key);
  document.querySelector("#lost form").requestSubmit();
}

function element(name, classes) {
  const made = document.createElement(name);
  made.className = classes;
  return made;
}

// Whether the stream came to its end.
async function readEvents(body, handle) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let unread = "";
  let ended = false;
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return ended;
    unread += value;
    let end;
    while ((end = unread.indexOf("\n\n")) >= 0) {
      const lines = unread.slice(0, end).split("\n");
      unread = unread.slice(end + 2);
      const part = (name) => lines.find((line) => line.startsWith(name + ": "))?.slice(name.length + 2);
      const kind = part("event");
      ended = ended || kind === "answered" || kind === "error";
      if (kind) handle(kind, JSON.parse(part("data")));
    }
  }
}
