"use strict";
// Passkeys: to sign in, and to add one on the security page. Without a script, or a browser that knows them, nothing is missing.
const bytes = text => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), letter => letter.charCodeAt(0));
const text = buffer => btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
const post = async (path, body) => {
  const answer = await fetch(path, {method: "POST", headers: {"Content-Type": "application/json", "HX-Request": "true"}, body: JSON.stringify(body)});
  if (!answer.ok) throw new Error(String(answer.status));
  return answer.json();
};
const button = document.getElementById("passkey");
if (button && window.PublicKeyCredential) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const isNew = button.dataset.add !== undefined;
    try {
      const {token, options} = await post(isNew ? "/me/security/passkeys/options" : "/login/passkey/options", {});
      const key = {...options, challenge: bytes(options.challenge)};
      if (isNew) { key.user = {...options.user, id: bytes(options.user.id)}; key.excludeCredentials = (options.excludeCredentials || []).map(each => ({...each, id: bytes(each.id)})); }
      const made = isNew ? await navigator.credentials.create({publicKey: key}) : await navigator.credentials.get({publicKey: key});
      const response = {};
      for (const name of ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"]) if (made.response[name]) response[name] = text(made.response[name]);
      const credential = {id: made.id, rawId: text(made.rawId), type: made.type, response, clientExtensionResults: {}};
      const {location: target} = await post(isNew ? "/me/security/passkeys" : "/login/passkey", isNew ? {token, credential, name: button.dataset.add} : {token, credential});
      location.href = target;
    } catch (error) { button.setAttribute("aria-describedby", "passkey-error"); document.getElementById("passkey-error")?.removeAttribute("hidden"); }
  });
}
