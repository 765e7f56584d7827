// Passkeys: asks the server for a challenge, the browser for an answer, and puts it into the form.
"use strict";

const bytes = (text) => {
  const plain = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(plain, (char) => char.charCodeAt(0));
};
const text = (buffer) => {
  const plain = String.fromCharCode(...new Uint8Array(buffer));
  return btoa(plain).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
};
const described = (items) => (items || []).map((item) => ({ ...item, id: bytes(item.id) }));

async function challenge(path) {
  const csrf = document.querySelector('meta[name="csrf-token"]');
  const headers = csrf ? { "X-CSRF-Token": csrf.content } : {};
  const reply = await fetch(path, { method: "POST", headers });
  const said = await reply.json();
  if (!reply.ok) throw new Error(said.detail);
  return said.options;
}

async function created(options) {
  const publicKey = {
    ...options,
    challenge: bytes(options.challenge),
    user: { ...options.user, id: bytes(options.user.id) },
    excludeCredentials: described(options.excludeCredentials),
  };
  return navigator.credentials.create({ publicKey });
}

async function chosen(options) {
  const publicKey = {
    ...options,
    challenge: bytes(options.challenge),
    allowCredentials: described(options.allowCredentials),
  };
  return navigator.credentials.get({ publicKey });
}

function told(credential) {
  const response = {};
  for (const name of ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"]) {
    if (credential.response[name]) response[name] = text(credential.response[name]);
  }
  const { id, type } = credential;
  return JSON.stringify({ id, rawId: text(credential.rawId), type, response });
}

for (const form of document.querySelectorAll("form[data-passkey]")) {
  form.hidden = !window.PublicKeyCredential;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const said = form.querySelector("[role=status]");
    const button = form.querySelector("button");
    button.disabled = true;
    said.textContent = "";
    try {
      const options = await challenge(form.dataset.passkey);
      const make = form.dataset.makes ? created : chosen;
      form.elements.credential.value = told(await make(options));
      form.submit();
    } catch (error) {
      const refused = error.name === "NotAllowedError" || error.name === "AbortError";
      const known = error.name === "InvalidStateError";
      said.textContent = refused
        ? "No passkey was used."
        : known
          ? "This device has a passkey for this account already."
          : error.message;
      button.disabled = false;
    }
  });
}
