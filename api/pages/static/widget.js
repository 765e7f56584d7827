// <script src="https://SERVER/widget.js" data-widget="ID" async></script>
// Puts a button and a frame on the page, or the frame alone into data-target. Everything is in a
// shadow tree: the page's styles don't reach it, and its own don't reach the page.
(() => {
  "use strict";
  const script = document.currentScript;
  const { widget, target, label = "Ask a question" } = script.dataset;
  const home = new URL(script.src).origin;
  if (!widget) return console.error("Scrubjay: the script tag needs data-widget.");

  const start = () => {
    const place = target ? document.querySelector(target) : document.body;
    if (!place) return console.error(`Scrubjay: there is no ${target} on this page.`);
    const host = document.createElement("div");
    const tree = host.attachShadow({ mode: "open" });
    place.append(host);
    const frame = document.createElement("iframe");
    const address = `${home}/embed/${encodeURIComponent(widget)}`;
    frame.title = label;
    style(frame, { border: "0", width: "100%", height: "100%", colorScheme: "normal" });
    if (target) {
      style(host, { display: "block", height: "100%", minHeight: "24rem" });
      frame.src = address;
      return tree.append(frame);
    }

    const panel = document.createElement("div");
    panel.hidden = true;
    const corner = { position: "fixed", insetInlineEnd: "1rem", zIndex: "2147483000" };
    style(panel, {
      ...corner, bottom: "5rem", width: "min(24rem, calc(100vw - 2rem))", overflow: "hidden",
      height: "min(36rem, calc(100vh - 7rem))", borderRadius: "14px", background: "Canvas",
      boxShadow: "0 8px 32px rgb(0 0 0 / 25%)", border: "1px solid rgb(128 128 128 / 40%)",
    });
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = label;
    button.setAttribute("aria-expanded", "false");
    style(button, {
      ...corner, bottom: "1rem", font: "600 1rem/1.2 system-ui, sans-serif", border: "0", cursor: "pointer",
      padding: "0.9rem 1.3rem", borderRadius: "999px", background: "#1f5f9f", color: "#fff",
    });
    const show = (open) => {
      if (open && !frame.src) frame.src = `${address}?floating`;
      panel.hidden = !open;
      button.setAttribute("aria-expanded", String(open));
      if (!open) button.focus();
    };
    button.addEventListener("click", () => show(panel.hidden));
    addEventListener("message", (event) => {
      if (event.origin === home && event.source === frame.contentWindow && event.data === "scrubjay-close") show(false);
    });
    panel.append(frame);
    tree.append(panel, button);
  };

  // Set one by one: a page's content security policy may forbid style attributes.
  const style = (element, values) => Object.assign(element.style, values);
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
