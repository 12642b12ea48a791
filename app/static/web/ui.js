"use strict";
// What every page does besides HTML: the lamp without a reload, suggestions by keyboard, live availability, help on "?".
document.getElementById("lamp")?.addEventListener("click", event => {
  event.preventDefault();
  const root = document.documentElement, lamp = event.currentTarget;
  const isDark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme:dark)").matches;
  root.dataset.theme = isDark ? "light" : "dark";
  lamp.setAttribute("aria-pressed", String(!isDark));
  fetch("/light", {method: "POST", redirect: "manual", body: new URLSearchParams({light: root.dataset.theme, next: "/"})});
});

const box = document.querySelector("[role=combobox]");
if (box) {
  const list = document.getElementById(box.getAttribute("aria-controls"));
  const options = () => [...list.querySelectorAll("[role=option]")];
  let at = -1;
  const mark = to => {
    at = to;
    options().forEach((option, index) => option.setAttribute("aria-selected", String(index === at)));
    if (at >= 0) box.setAttribute("aria-activedescendant", options()[at].id); else box.removeAttribute("aria-activedescendant");
  };
  const open = is => { list.hidden = !is; box.setAttribute("aria-expanded", String(is)); if (!is) mark(-1); };
  new MutationObserver(() => { open(options().length > 0 && document.activeElement === box); }).observe(list, {childList: true});
  box.addEventListener("keydown", event => {
    const count = options().length;
    if (event.key === "ArrowDown" && count) { event.preventDefault(); open(true); mark((at + 1) % count); }
    else if (event.key === "ArrowUp" && count) { event.preventDefault(); open(true); mark((at + count - 1) % count); }
    else if (event.key === "Enter" && at >= 0 && !list.hidden) { event.preventDefault(); location.href = options()[at].dataset.href; }
    else if (event.key === "Escape" && !list.hidden) { event.preventDefault(); open(false); }
  });
  box.addEventListener("blur", () => setTimeout(() => open(false), 150));
  list.addEventListener("pointerdown", event => { const option = event.target.closest("[role=option]"); if (option) location.href = option.dataset.href; });
}

// Live counts: one stream a page; each message loads the part of the page anew, as the server says it.
const live = document.querySelector("[data-live]");
if (live) {
  const stream = new EventSource(live.dataset.live);
  let told = null;
  stream.addEventListener("availability", event => {
    if (told !== null && told !== event.data) htmx.ajax("GET", live.dataset.part, {target: "#" + live.id, swap: "innerHTML"});
    told = event.data;
  });
  addEventListener("pagehide", () => stream.close());
}

// Who signs out is out in every tab: no page of his is shown again, not even by going back while the library is away.
const out = document.getElementById("sign-out");
if (out) {
  const tabs = new BroadcastChannel("sign-out");
  out.addEventListener("submit", () => tabs.postMessage(null));
  const forget = later => { document.body.replaceChildren(); later(); };
  tabs.addEventListener("message", () => forget(() => setTimeout(() => location.replace("/"), 1000)));
  addEventListener("pageshow", event => { if (event.persisted) forget(() => location.reload()); });
}

document.getElementById("problems")?.focus();
document.addEventListener("submit", event => {
  const button = event.submitter;
  if (button && event.target.method === "post" && !event.target.matches("[data-desk]")) setTimeout(() => { button.disabled = true; setTimeout(() => { button.disabled = false; }, 3000); }, 0);
});
document.addEventListener("keydown", event => {
  const where = document.activeElement;
  if (event.key === "?" && !(where instanceof HTMLElement && where.matches("input:not([type=checkbox]),textarea,select") && where.value)) {
    const help = document.getElementById("help");
    if (help) { event.preventDefault(); help.showModal(); }
  }
});
for (const part of document.querySelectorAll("[data-print]")) part.addEventListener("click", () => print());

// Letters carry their code behind the "#", which no server and no log ever sees.
const mailed = document.querySelector("[data-token]");
if (mailed && location.hash.startsWith("#token=")) { mailed.querySelector("input").value = decodeURIComponent(location.hash.slice(7)); mailed.hidden = true; history.replaceState(null, "", location.pathname); }
