// Moves the code of a one-time link from the address into the form, and out of the history.
"use strict";

const code = location.hash.slice(1);
if (code) {
  document.getElementById("link").value = decodeURIComponent(code);
  history.replaceState(null, "", location.pathname);
}
