"use strict";
// The desk: every scan arrives, in order, once; the field always has the focus; nothing else ever gets a scan's Enter.
const $ = id => document.getElementById(id);
const field = $("scan"), form = $("scanform"), kept = $("kept");
const GAP = Number(localStorage.getItem("scanner-gap")) || 35, MIN = 5, TWICE = 1500, AWAY = 90000;
const queue = [];
let isSending = false, lastSent = {code: "", at: 0, key: ""}, awayTimer = 0;
const home = () => field.focus({preventScroll: true});

// — the queue: one request at a time; the reader is the one that the answer before named
function enqueue(path, values) {
  const now = performance.now();
  const repeats = values.code && values.code === lastSent.code && now - lastSent.at < TWICE && !values.answer;
  const key = repeats ? lastSent.key : crypto.randomUUID();
  if (values.code) lastSent = {code: values.code, at: now, key, sent: repeats ? lastSent.sent : null};
  queue.push({path, values, key, at: new Date().toTimeString().slice(0, 5), remember: repeats ? lastSent : values.code ? lastSent : null});
  if (!kept.hidden) tellKept();
  send();
}
async function send() {
  if (isSending) return;
  isSending = true;
  while (queue.length) {
    const next = queue[0];
    // A twin must be the same request word for word, though the reader may be known by now.
    const state = next.remember?.sent ?? {card: $("card").value, mode: $("lock").value};
    if (next.remember) next.remember.sent = state;
    try {
      const answer = await fetch(next.path, {method: "POST", headers: {"HX-Request": "true", "Accept": "text/html", "Idempotency-Key": next.key}, body: new URLSearchParams({...state, ...next.values})});
      if (answer.status >= 502 || answer.status === 429) throw new Error(String(answer.status));
      queue.shift();
      show(await answer.text(), answer);
    } catch {
      tellKept();
      await new Promise(later => setTimeout(later, 2000));
      continue;
    }
    if (!kept.hidden) tellKept();
  }
  isSending = false;
}
// Without a connection the scans stand in sight, each with its time, until they are sent.
function tellKept() {
  kept.hidden = !queue.length;
  kept.textContent = kept.hidden ? "" : queue.length === 1 ? field.dataset.keptOne : field.dataset.kept.replace("{n}", String(queue.length));
  const list = document.createElement("ol");
  for (const {at, values} of queue) list.append(Object.assign(document.createElement("li"), {textContent: `${at} ${values.code ?? ""}`}));
  if (!kept.hidden) kept.append(list);
}
addEventListener("beforeunload", event => { if (queue.length) event.preventDefault(); });

// — the answer: verdict, tape, reader, what is next
function show(html, answer) {
  const part = new DOMParser().parseFromString(html, "text/html");
  const root = part.querySelector("[data-kind]");
  if (!root) { $("verdict").className = "verdict stop"; $("verdict").replaceChildren(...part.body.childNodes); sound("stop"); home(); return; }
  const {kind, card, mode, scan} = root.dataset, piece = name => [...root.querySelector(`[data-part=${name}]`).childNodes];
  const isRepeated = answer.headers.get("Repeated") === "true";
  if (isRepeated) { sound("repeat"); $("tape").firstElementChild?.classList.add("again"); $("verdict").querySelector(".obj")?.append(" " + field.dataset.repeated); setTimeout(() => $("tape").firstElementChild?.classList.remove("again"), 400); home(); return; }
  const verdict = $("verdict");
  verdict.className = "verdict " + kind; verdict.replaceChildren(...piece("verdict"));
  $("alert").textContent = kind === "stop" ? verdict.querySelector(".say").textContent : "";
  $("mode").replaceChildren(...piece("mode")); $("reader").replaceChildren(...piece("reader"));
  $("card").value = card; $("lock").value = mode;
  if (kind === "undone") document.querySelector(`#tape [data-scan="${scan}"]`)?.classList.add("struck");
  else { $("tape").prepend(...piece("row")); while ($("tape").children.length > 60) $("tape").lastElementChild.remove(); }
  const rows = [...document.querySelectorAll("#tape [data-scan]:not(.struck)")].filter(row => row.dataset.scan);
  $("last").value = rows[0]?.dataset.scan ?? "";
  const issued = rows.filter(row => row.matches(".ok")).length, back = rows.filter(row => row.matches(".back,.hold,.move")).length;
  $("tally").textContent = `${issued} ${$("tally").dataset.issued}, ${back} ${$("tally").dataset.back}`;
  sound(kind); home(); stayed();
}
function stayed() { clearTimeout(awayTimer); if ($("card").value) awayTimer = setTimeout(done, AWAY); }
function done() { enqueue("/desk/scans", {code: "*DONE*"}); }

form.addEventListener("submit", event => {
  event.preventDefault();
  const code = field.value.trim(); field.value = "";
  if (code === "*PRINT*") print_slip(); else if (code === "*UNDO*") undo(); else if (code) enqueue("/desk/scans", {code});
});
addEventListener("submit", event => {
  if (event.target === form || !event.target.matches("[data-desk]")) return;
  event.preventDefault();
  if (event.target.id === "undoform") undo(); else answer(event.target, event.submitter);
}, true);
function undo() { if ($("last").value) enqueue("/desk/undo", {scan_id: $("last").value}); home(); }
function answer(asked, button) {
  const values = Object.fromEntries(new FormData(asked)); if (button?.name) values[button.name] = button.value;
  delete values.card; delete values.mode; values.answer ??= "chosen"; enqueue("/desk/scans", values); home();
}
addEventListener("click", event => { if (event.target.closest("[data-leave]")) { $("verdict").querySelector("[data-answers]").remove(); home(); } if (event.target.closest("#done")) { event.preventDefault(); done(); home(); } });
function print_slip() { const link = $("slip"); if (link) open(link.href, "_blank"); }

// — keys: none on letters; digits and Ctrl Z only while the field is empty
addEventListener("keydown", event => {
  const isEmpty = document.activeElement === field && !field.value, question = $("verdict").querySelector("[data-answers]");
  const act = {
    F2: () => enqueue("/desk/scans", {code: "*RETURN*"}), F4: () => $("open") && location.assign($("open").href), F8: print_slip, F9: cycle_sound,
    Escape: () => { if (document.querySelector("dialog[open]")) return; if (field.value) field.value = ""; else if ($("card").value) done(); },
  }[event.key];
  if (act) { if (event.key !== "Escape" || !document.querySelector("dialog[open]")) event.preventDefault(); act(); return; }
  if (event.ctrlKey && event.key.toLowerCase() === "z" && isEmpty) { event.preventDefault(); undo(); }
  if (question && isEmpty && (event.key === "1" || event.key === "2")) waiting_digit(event.key, question);
});
// A digit alone answers; the first digit of a scan does not: what follows within a scanner's gap takes it along.
function waiting_digit(key, question) {
  setTimeout(() => { if (field.value !== key) return; field.value = ""; question.querySelectorAll("button")[Number(key) - 1]?.click(); }, GAP * 4);
}

// — a scan that arrives while focus is elsewhere is brought home; its Enter never presses a button
let buffer = "", before = 0, gaps = [];
const typing = element => element instanceof HTMLElement && element !== field && (element.isContentEditable || element.matches("input:not([type=checkbox],[type=radio],[type=button],[type=submit]),textarea"));
addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || document.activeElement === field || typing(document.activeElement)) return;
  const gap = event.timeStamp - before; before = event.timeStamp;
  if (event.key === "Enter" || event.key === "Tab") {
    const middle = gaps.sort((a, b) => a - b)[gaps.length >> 1] ?? 1e9;
    if (buffer.length >= MIN && middle <= GAP && gap <= 100) { event.preventDefault(); event.stopImmediatePropagation(); document.querySelector("dialog[open]")?.close("scan"); home(); enqueue("/desk/scans", {code: buffer}); }
    buffer = ""; gaps = []; return;
  }
  if (event.key.length !== 1) return;
  if (gap > GAP * 3) { buffer = ""; gaps = []; } else { gaps.push(gap); if (event.key === " ") event.preventDefault(); }
  buffer += event.key;
}, true);
addEventListener("focusout", () => setTimeout(() => { if (document.activeElement === document.body && !document.querySelector("dialog[open]")) home(); }, 0));
addEventListener("afterprint", home);
$("branch").addEventListener("change", event => event.target.form.requestSubmit());

// — sounds, told apart by rhythm; a setting of this device
const TUNES = {ok: [[880, 60]], back: [[660, 60]], hold: [[660, 90], [990, 120]], move: [[520, 70], [520, 70], [780, 110]], query: [[740, 110], [587, 140]], stop: [[196, 160], [196, 160]], repeat: [[1200, 15]], undone: [[587, 60], [440, 60]]};
const LEVELS = {off: 0, quiet: .05, loud: .15};
let audio = null, level = localStorage.getItem("sound") || "off";
const write_level = () => { $("sound").textContent = $("sound").dataset[level]; };
function cycle_sound() { const names = Object.keys(LEVELS); level = names[(names.indexOf(level) + 1) % names.length]; localStorage.setItem("sound", level); write_level(); sound("ok"); }
function sound(kind) {
  if (!LEVELS[level] || !TUNES[kind]) return;
  audio ??= new AudioContext();
  let at = audio.currentTime;
  for (const [hertz, ms] of TUNES[kind]) {
    const tone = audio.createOscillator(), gain = audio.createGain();
    tone.frequency.value = hertz; gain.gain.setValueAtTime(0, at); gain.gain.linearRampToValueAtTime(LEVELS[level], at + .005); gain.gain.setValueAtTime(0, at + ms / 1000);
    tone.connect(gain).connect(audio.destination); tone.start(at); tone.stop(at + ms / 1000); at += ms / 1000 + .04;
  }
}
write_level(); home(); stayed();

// — the camera, where the browser reads barcodes itself
(async () => {
  if (!("BarcodeDetector" in window) || !navigator.mediaDevices || !(await BarcodeDetector.getSupportedFormats()).includes("code_128")) return;
  const button = $("camera"), view = $("view"), detector = new BarcodeDetector({formats: ["code_128", "ean_13", "code_39", "codabar"]});
  button.hidden = false;
  let stream = null, seen = "";
  button.addEventListener("click", async () => {
    if (stream) { stream.getTracks().forEach(track => track.stop()); stream = null; view.hidden = true; home(); return; }
    stream = await navigator.mediaDevices.getUserMedia({video: {facingMode: "environment"}});
    view.srcObject = stream; view.hidden = false; await view.play();
    const look = async () => {
      if (!stream) return;
      const [found] = await detector.detect(view).catch(() => []);
      if (found && found.rawValue !== seen) { seen = found.rawValue; setTimeout(() => { seen = ""; }, 3000); enqueue("/desk/scans", {code: found.rawValue}); }
      setTimeout(look, 150);
    };
    look();
  });
})();
