// The card of an answer: what `ask` returned, with its quotes. It talks to its host alone, in JSON-RPC
// over postMessage (MCP Apps, 2026-01-26), asks no other host for anything, and writes text only.
"use strict";
(() => {
  const OUTCOMES = {
    answered: "Answer",
    maybe: "This may be it: the sources do not clearly say so",
    not_found: "Not found in what you may read",
  };
  const waiting = new Map();
  const offers = { links: false, tools: false, messages: true };
  let last = 0;

  const byId = (id) => document.getElementById(id);
  const send = (message) => parent.postMessage({ jsonrpc: "2.0", ...message }, "*");

  function ask(method, params) {
    last += 1;
    const id = last;
    return new Promise((resolve, reject) => {
      waiting.set(id, { resolve, reject });
      send({ id, method, params });
    });
  }

  function element(name, text, className) {
    const made = document.createElement(name);
    if (text) made.textContent = text;
    if (className) made.className = className;
    return made;
  }

  function button(label, act, name) {
    const made = element("button", label);
    made.type = "button";
    if (name) made.setAttribute("aria-label", name);
    made.addEventListener("click", () => act(made));
    return made;
  }

  // The text of an answer: paragraphs, lists, code and stress, with its marks as buttons.

  function withMarks(into, text, known) {
    for (const part of text.split(/(\[\d+\]|\*\*[^*]+\*\*|`[^`]+`)/)) {
      const n = Number(/^\[(\d+)\]$/.exec(part)?.[1]);
      if (known.has(n)) {
        const mark = button(String(n), () => show(n), `Source ${n}`);
        mark.classList.add("mark");
        into.append(mark);
      } else if (/^\*\*.+\*\*$/.test(part)) {
        into.append(element("strong", part.slice(2, -2)));
      } else if (/^`.+`$/.test(part)) {
        into.append(element("code", part.slice(1, -1)));
      } else if (part) {
        into.append(part);
      }
    }
  }

  function written(into, text, known) {
    for (const [at, block] of text.split("```").entries()) {
      if (at % 2) {
        into.append(element("pre", block.replace(/^\w*\n/, "")));
        continue;
      }
      for (const paragraph of block.split(/\n{2,}/)) {
        if (!paragraph.trim()) continue;
        into.append(...blocks(paragraph.trim().split("\n"), known));
      }
    }
  }

  function blocks(lines, known) {
    const made = [];
    for (const line of lines) {
      const item = /^\s*(?:[-*•]|(\d+)[.)])\s+(.*)$/.exec(line);
      const kind = item ? (item[1] ? "OL" : "UL") : "P";
      const open = made.at(-1)?.tagName === kind ? made.at(-1) : null;
      const into = open ?? element(kind.toLowerCase());
      if (!open) made.push(into);
      if (item) {
        const entry = element("li");
        withMarks(entry, item[2], known);
        into.append(entry);
      } else {
        if (open) into.append(document.createElement("br"));
        withMarks(into, line, known);
      }
    }
    return made;
  }

  function show(n) {
    for (const source of document.querySelectorAll(".source")) {
      const wanted = source.id === `source-${n}`;
      source.classList.toggle("shown", wanted);
      if (wanted) {
        source.focus();
        source.scrollIntoView({ block: "nearest" });
      }
    }
  }

  function source(cited) {
    const made = element("li", "", "source");
    made.id = `source-${cited.n}`;
    made.tabIndex = -1;
    made.append(element("h2", `${cited.n}. ${cited.title || "Untitled"}`));
    const about = [cited.where, cited.author, (cited.posted_at || "").slice(0, 10)];
    made.append(element("div", about.filter(Boolean).join(" · "), "quiet"));
    made.append(element("blockquote", cited.quote));
    const doing = element("div", "", "doing");
    if (offers.links && /^https?:\/\//.test(cited.url || "")) {
      const open = () => ask("ui/open-link", { url: cited.url }).catch(() => {});
      doing.append(button("Open", open, `Open source ${cited.n}`));
    }
    if (offers.tools) {
      const more = (pressed) => like(cited, made, pressed);
      doing.append(button("More like this", more, `More like source ${cited.n}`));
    }
    made.append(doing);
    return made;
  }

  async function like(cited, into, pressed) {
    pressed.disabled = true;
    const list = element("ul", "", "more");
    try {
      const found = await ask("tools/call", {
        name: "search",
        arguments: { query: cited.quote.slice(0, 300) },
      });
      const hits = (found.structuredContent?.results ?? []).filter((hit) => hit.title !== cited.title);
      for (const hit of hits.slice(0, 5)) list.append(element("li", hit.title || hit.id));
    } catch {
      pressed.disabled = false;
    }
    if (!list.children.length) list.append(element("li", "Nothing else was found."));
    into.querySelector(".more")?.remove();
    into.append(list);
  }

  function result(params) {
    const said = params.structuredContent;
    if (!said || typeof said.answer !== "string" || params.isError) {
      const text = (params.content ?? []).map((block) => block.text ?? "").join("\n");
      byId("outcome").textContent = "No answer";
      byId("answer").replaceChildren(element("p", text));
      return;
    }
    const cited = Array.isArray(said.citations) ? said.citations : [];
    byId("outcome").textContent = OUTCOMES[said.outcome] ?? "Answer";
    byId("answer").replaceChildren();
    written(byId("answer"), said.answer, new Set(cited.map((one) => one.n)));
    for (const choice of said.choices ?? []) {
      const content = [{ type: "text", text: choice }];
      const choose = () => ask("ui/message", { role: "user", content }).catch(() => {});
      byId("answer").append(button(choice, choose));
    }
    byId("sources").replaceChildren(...cited.map(source));
  }

  function dressed(context) {
    if (!context) return;
    if (context.theme) document.documentElement.style.colorScheme = context.theme;
    for (const [name, value] of Object.entries(context.styles?.variables ?? {})) {
      if (name.startsWith("--") && value) document.documentElement.style.setProperty(name, value);
    }
  }

  const told = {
    "ui/notifications/tool-input": (params) => {
      byId("question").textContent = params.arguments?.question ?? "";
    },
    "ui/notifications/tool-result": result,
    "ui/notifications/tool-cancelled": () => {
      byId("outcome").textContent = "Stopped";
    },
    "ui/notifications/host-context-changed": dressed,
  };

  addEventListener("message", (event) => {
    const message = event.data;
    if (event.source !== parent || message?.jsonrpc !== "2.0") return;
    if (message.method && message.id !== undefined) {
      send({ id: message.id, result: {} }); // a ping, or that this card will be taken down
    } else if (message.method) {
      told[message.method]?.(message.params ?? {});
    } else if (waiting.has(message.id)) {
      const { resolve, reject } = waiting.get(message.id);
      waiting.delete(message.id);
      if (message.error) reject(new Error(message.error.message));
      else resolve(message.result);
    }
  });

  new ResizeObserver(() => {
    const { scrollWidth: width, scrollHeight: height } = document.documentElement;
    send({ method: "ui/notifications/size-changed", params: { width, height } });
  }).observe(document.body);

  ask("ui/initialize", {
    protocolVersion: "2026-01-26",
    appInfo: { name: "scrubjay-answer", version: "1" },
    appCapabilities: { availableDisplayModes: ["inline"] },
  })
    .then((host) => {
      offers.links = Boolean(host.hostCapabilities?.openLinks);
      offers.tools = Boolean(host.hostCapabilities?.serverTools);
      dressed(host.hostContext);
      send({ method: "ui/notifications/initialized", params: {} });
    })
    .catch(() => {});
})();
