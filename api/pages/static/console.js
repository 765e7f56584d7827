// What the console gains from a script: parts that change by themselves are looked at again, and
// files are sent one after the other with their progress, by drop too. Without it every form works.
"use strict";

const csrf = document.querySelector('meta[name="csrf-token"]');

function element(name, classes, text) {
  const made = document.createElement(name);
  made.className = classes;
  if (text) made.textContent = text;
  return made;
}

// A part with `data-poll` is taken from the page as the server renders it now, unless somebody is
// in it: with the keyboard, or with something chosen.
function isInUse(part) {
  return part.contains(document.activeElement) || part.querySelector("input:checked, details[open]") !== null;
}

async function look(id, seen) {
  const part = document.getElementById(id);
  if (!part || !part.dataset.poll) return;
  const wait = Number(part.dataset.poll);
  if (!document.hidden && !isInUse(part)) {
    try {
      const response = await fetch(location.href, { headers: { Accept: "text/html" } });
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      const now = page.getElementById(id);
      if (response.ok && now && now.outerHTML !== seen && !isInUse(part)) {
        seen = now.outerHTML;
        part.replaceWith(document.adoptNode(now));
      }
    } catch {
      // The server is away; the next look may find it again.
    }
  }
  setTimeout(() => look(id, seen), wait);
}

for (const part of document.querySelectorAll("[data-poll]")) {
  setTimeout(() => look(part.id, part.outerHTML), Number(part.dataset.poll));
}

const upload = document.getElementById("upload");
if (upload) {
  const chooser = upload.querySelector('input[type="file"]');
  const list = upload.querySelector(".uploads");

  upload.addEventListener("submit", (submitted) => {
    submitted.preventDefault();
    send([...chooser.files]);
  });
  for (const kind of ["dragenter", "dragover"]) {
    upload.addEventListener(kind, (over) => {
      over.preventDefault();
      upload.classList.add("over");
    });
  }
  upload.addEventListener("dragleave", () => upload.classList.remove("over"));
  upload.addEventListener("drop", (dropped) => {
    dropped.preventDefault();
    upload.classList.remove("over");
    send([...dropped.dataTransfer.files]);
  });

  async function send(files) {
    let failed = false;
    list.replaceChildren();
    upload.setAttribute("aria-busy", "true");
    for (const file of files) {
      const row = element("li", "", file.name);
      const bar = element("progress", "");
      bar.max = 1;
      bar.value = 0;
      bar.setAttribute("aria-label", "Progress of " + file.name);
      row.append(" ", bar);
      list.append(row);
      const said = await sendOne(file, bar);
      bar.replaceWith(element("span", said ? "why" : "word ready", said || "sent"));
      failed = failed || said !== "";
    }
    upload.removeAttribute("aria-busy");
    if (!failed) location.assign(upload.getAttribute("action").replace(/\/files$/, ""));
  }

  // XMLHttpRequest, because fetch does not tell how far an upload is.
  function sendOne(file, bar) {
    if (file.size > Number(upload.dataset.largest)) {
      return Promise.resolve("too large: at most " + Number(upload.dataset.largest).toLocaleString("en") + " bytes");
    }
    return new Promise((resolve) => {
      const body = new FormData();
      for (const [name, value] of new FormData(upload)) {
        if (name !== "file" && name !== "csrf") body.append(name, value);
      }
      body.append("csrf", csrf ? csrf.content : "");
      body.append("file", file);
      const request = new XMLHttpRequest();
      request.open("POST", upload.getAttribute("action"));
      request.setRequestHeader("Accept", "application/json");
      request.upload.addEventListener("progress", (moved) => {
        if (moved.lengthComputable) bar.value = moved.loaded / moved.total;
      });
      request.addEventListener("error", () => resolve("the server can't be reached"));
      request.addEventListener("load", () => resolve(request.status < 300 ? "" : reason(request)));
      request.send(body);
    });
  }

  function reason(request) {
    try {
      return JSON.parse(request.responseText).detail;
    } catch {
      return "not accepted (" + request.status + ")";
    }
  }
}
