// What a step's form gains from a script: a reference is put where the cursor was, and {{ with
// the arrow down leads to the list of them. Used by a step's own page and by the canvas.
"use strict";

export function enable(root) {
  let last = null;
  root.addEventListener("focusin", (event) => {
    if (event.target.matches("[data-refers]")) last = event.target;
  });
  for (const code of root.querySelectorAll("code[data-insert]")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "plain small";
    button.textContent = code.textContent;
    button.setAttribute("aria-label", "Insert " + code.textContent);
    button.addEventListener("click", () => {
      const field = last || root.querySelector("[data-refers]");
      if (!field) return;
      const text = button.textContent;
      let start = field.selectionStart ?? field.value.length;
      if (field.value.slice(0, start).endsWith("{{")) start -= 2;
      field.setRangeText(text, start, field.selectionEnd ?? start, "end");
      field.dispatchEvent(new Event("input", { bubbles: true }));
      root.querySelector(".references")?.classList.remove("wanted");
      field.focus();
    });
    code.replaceWith(button);
  }
  // After {{ the list is marked, and the arrow down leads into it; typing goes on as it was.
  const list = root.querySelector(".references");
  root.addEventListener("input", (event) => {
    const field = event.target;
    if (!field.matches("textarea[data-refers]")) return;
    list?.classList.toggle("wanted", field.value.slice(0, field.selectionStart).endsWith("{{"));
  });
  root.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" && list?.classList.contains("wanted") && event.target.matches("textarea")) {
      event.preventDefault();
      list.querySelector("button")?.focus();
    }
  });
}

const page = document.querySelector("main > #inspected");
if (page) enable(page);
