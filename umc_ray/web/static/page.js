// @ts-check
// The desk: one key labels and shows the next item, which is there already. What was answered goes
// into an outbox that survives reloads; the server does each entry once, however often it is sent.

const { kind, root, batch, csrf, person, campaign, guideline } = document.body.dataset;
const AHEAD = kind === "group" ? 1 : 6; // items that are fetched before they are needed
const HISTORY = 10;
const IDLE_MS = 30_000; // after that long without input nobody is at work
const FEEDS = { label: "items", group: "groups/next", review: "review/items" };

const stage = byId("stage");
const waiting = /** @type {HTMLElement[]} */ ([]);
const answered = /** @type {{node: HTMLElement, label: string, samples: number, seconds: number}[]} */ ([]);
const taken = new Set(); // items that this page has had, so that none comes twice
let current = /** @type {HTMLElement | null} */ (null);
let fetching = false;
let count = 0; // samples answered since the page was loaded, and the time at work on them
let total = 0;
let spent = 0; // at work on the current item, in ms

/** @param {string} id */
function byId(id) {
  return /** @type {HTMLElement} */ (document.getElementById(id));
}

/** @param {string} path @param {Record<string, string>} [extra] */
function url(path, extra = {}) {
  const query = new URLSearchParams(batch ? { batch, ...extra } : extra).toString();
  return `${root}/${path}${query ? `?${query}` : ""}`;
}

/** @param {string} text @param {boolean} [problem] */
function say(text, problem = false) {
  const status = byId("status");
  status.textContent = text;
  status.classList.toggle("problem", problem);
}

function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");
}

/** @param {number} ms */
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

// ---- the outbox ---------------------------------------------------------------------------------

const OUTBOX = `umc_ray/${campaign}/${batch}/${person}`;
const outbox = /** @type {{path: string, body: object}[]} */ (JSON.parse(localStorage.getItem(OUTBOX) ?? "[]"));
let draining = /** @type {Promise<any> | null} */ (null);

/** @param {string} path @param {object} body */
function send(path, body) {
  outbox.push({ path, body: { client_key: newKey(), ...body } });
  localStorage.setItem(OUTBOX, JSON.stringify(outbox));
  return drain();
}

/** @param {string} path @param {object} [body] */
function post(path, body) {
  return fetch(url(`api/${path}`), {
    method: "POST",
    headers: { "content-type": "application/json", "x-csrf-token": csrf ?? "" },
    body: body && JSON.stringify(body),
    keepalive: true,
  });
}

/** Send what is in the outbox, in order, until it is empty; returns the last answer. */
function drain() {
  draining ??= sendAll().finally(() => (draining = null));
  return draining;
}

async function sendAll() {
  let last = null;
  for (let wait = 500; outbox.length; ) {
    const response = await post(outbox[0].path, outbox[0].body).catch(() => null);
    if (response?.status === 401) return logIn();
    if (!response || response.status >= 500) {
      say(`Not saved yet: ${outbox.length}. Trying again.`, true);
      await pause(wait);
      wait = Math.min(2 * wait, 15_000);
      continue;
    }
    const content = response.status === 204 ? null : await response.json().catch(() => null);
    if (!response.ok) say(content?.detail ?? `Refused: ${response.status}`, true);
    else if (byId("status").textContent?.startsWith("Not saved")) say("Everything is saved.");
    last = response.ok ? content : null;
    outbox.shift();
    localStorage.setItem(OUTBOX, JSON.stringify(outbox));
  }
  return last;
}

/** What is in the outbox stays there until the person is back. */
function logIn() {
  location.assign(`${root}/login?next=${encodeURIComponent(location.pathname + location.search)}`);
  return null;
}

// ---- what comes next ----------------------------------------------------------------------------

/** @param {HTMLElement} node */
const nameOf = (node) => node.dataset.bulk ?? `${node.dataset.task}/${node.dataset.sample}`;

/** Fetch items, and have their images decoded before they are needed. @param {string} path */
async function fetchItems(path, extra = {}) {
  const response = await fetch(url(path, extra));
  if (response.status === 401) logIn();
  if (!response.ok) throw new Error(`${response.status}`);
  showProgress(Number(response.headers.get("x-done")), Number(response.headers.get("x-asked")));
  const template = document.createElement("template");
  template.innerHTML = await response.text(); // the server's own markup: samples are escaped there
  const nodes = [...template.content.querySelectorAll("article")].map((node) => document.importNode(node, true));
  await Promise.all(nodes.flatMap((node) => [...node.querySelectorAll("img")].map((img) => img.decode().catch(() => {}))));
  return nodes;
}

async function refill() {
  if (fetching || waiting.length >= AHEAD) return;
  fetching = true;
  try {
    const extra = kind === "group" ? { after: [...taken].join(" ") } : { n: String(2 * AHEAD) };
    const nodes = (await fetchItems(FEEDS[/** @type {keyof FEEDS} */ (kind)], extra)).filter((node) => !taken.has(nameOf(node)));
    for (const node of nodes) {
      taken.add(nameOf(node));
      waiting.push(node);
    }
    if (!current && waiting.length) next();
  } catch {
    say("The server does not answer. Trying again.", true);
  }
  fetching = false;
  byId("empty").hidden = current !== null;
}

function next() {
  show(waiting.shift() ?? null);
  void refill();
}

/** @param {HTMLElement | null} node */
function show(node) {
  current = node;
  spent = 0;
  stage.className = "";
  stage.replaceChildren(...(node ? [node] : []));
  document.body.classList.toggle("with-image", node?.querySelector(".picture") != null);
  if (!node) return;
  byId("empty").hidden = true;
  node.classList.toggle("veiled", node.dataset.mode === "after_first_choice");
  node.querySelectorAll("[aria-pressed]").forEach((button) => button.removeAttribute("aria-pressed"));
  // Whoever walks through the page's links stays there: an item that arrives late takes no focus.
  if (document.activeElement === document.body) node.querySelector("h1")?.focus({ preventScroll: true });
}

/** @param {number} done @param {number} asked */
function showProgress(done, asked) {
  const bar = /** @type {HTMLProgressElement} */ (byId("progress"));
  bar.max = asked || 1;
  bar.value = done;
  byId("counts").textContent = `${done} of ${asked}`;
}

// ---- answers ------------------------------------------------------------------------------------

/** @param {HTMLElement} node */
function asked(node) {
  const { task, domain, sample, round } = node.dataset;
  return { task, domain, sample_id: sample, round }; // ids are too large for numbers here
}

/** @param {HTMLElement} node */
function samplesOf(node) {
  const boxes = /** @type {HTMLElement[]} */ ([...node.querySelectorAll("input:checked")]);
  return node.dataset.bulk ? boxes.map((box) => asked({ ...box, dataset: { task: node.dataset.task, ...box.dataset } })) : [asked(node)];
}

/** @param {string | null} label @param {string | null} [reason] */
function answer(label, reason = null) {
  const node = current;
  if (!node) return;
  const samples = samplesOf(node);
  if (node.dataset.bulk && label === null) return next(); // a skipped group is asked one by one
  if (!samples.length) return say("Nothing is selected.", true);
  tick();
  const seconds = Math.min(spent / 1000, 3600);
  const seen = node.dataset.mode !== "hidden";
  next();
  record(node, samples, label, reason, seconds, seen);
}

/**
 * @param {HTMLElement} node @param {object[]} samples @param {string | null} label
 * @param {string | null} reason @param {number} seconds @param {boolean} seen
 */
function record(node, samples, label, reason, seconds, seen) {
  if (kind === "review") {
    void send("decisions", { sample: samples[0], label });
  } else {
    const bulk = node.dataset.bulk ?? null;
    void send("answers", { samples, label, reason, seconds, seen, bulk, guideline: guideline || null });
  }
  answered.push({ node, label: label ?? "skipped", samples: samples.length, seconds });
  if (answered.length > HISTORY) answered.shift();
  showWork(samples.length, seconds);
}

/** @param {number} samples @param {number} seconds */
function showWork(samples, seconds) {
  count += samples;
  total += seconds;
  byId("speed").textContent = count > 0 ? `${count} by you, ${(total / count).toFixed(1)} s each` : "";
  showHistory();
}

/** Label, or in a veiled item first only choose. @param {HTMLElement} button */
function choose(button) {
  const node = current;
  if (node?.classList.contains("veiled")) {
    node.classList.remove("veiled");
    button.setAttribute("aria-pressed", "true");
    say("Press it again, or choose another label.");
    return;
  }
  say("");
  answer(button.dataset.label ?? "");
}

async function undo() {
  const before = answered.pop();
  if (before) {
    if (current) waiting.unshift(current);
    show(before.node);
    showWork(-before.samples, -before.seconds);
    say(`Taken back: ${before.label}`);
    await send("undo", {});
    return;
  }
  await drain();
  const undone = await send("undo", {});
  if (!undone?.samples?.length) return say("There is nothing to take back.");
  if (kind === "group") return location.reload();
  const { task, sample_id } = undone.samples[0];
  const [node] = await fetchItems(`items/${encodeURIComponent(task)}/${sample_id}`);
  if (current) waiting.unshift(current);
  taken.add(nameOf(node));
  show(node);
}

function showHistory() {
  byId("history").replaceChildren(
    ...answered.toReversed().map(({ node, label }) => {
      const line = document.createElement("li");
      const [given, text] = [document.createElement("b"), document.createElement("span")];
      given.textContent = label;
      text.textContent = node.dataset.snippet ?? "";
      line.append(given, text);
      return line;
    }),
  );
}

// ---- dialogs and keys ---------------------------------------------------------------------------

/** Ask in a dialog; returns the value of the button that closed it, "" for none. @param {string} id */
function ask(id) {
  const dialog = /** @type {HTMLDialogElement} */ (byId(id));
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((done) => dialog.addEventListener("close", () => done(dialog.returnValue), { once: true }));
}

/** @param {"flag" | "note"} id */
async function remark(id) {
  const node = current;
  const text = /** @type {HTMLTextAreaElement} */ (byId(id).querySelector("textarea"));
  text.value = "";
  if ((await ask(id)) && node && text.value.trim()) {
    void send("remarks", { sample: asked(node), kind: id, text: text.value.trim() });
    say(id === "flag" ? "Flagged." : "Noted.");
  }
}

async function skip() {
  if (kind === "group") return answer(null);
  const reason = await ask("skip");
  if (reason) answer(null, reason === "none" ? null : reason);
}

/** Step through the classes name-0, name-1, ... @param {string[]} names */
function cycle(names) {
  const now = names.findIndex((name) => stage.classList.contains(name));
  stage.classList.remove(...names);
  if (now + 1 < names.length) stage.classList.add(names[now + 1]);
}

const ACTIONS = /** @type {Record<string, () => unknown>} */ ({
  skip,
  undo,
  flag: () => remark("flag"),
  note: () => remark("note"),
  zoom: () => cycle(["zoom-2", "zoom-4"]),
  contrast: () => cycle(["contrast-1", "contrast-2"]),
  guidelines: () => ask("guidelines"),
  help: () => ask("help"),
});
const KEYS = /** @type {Record<string, string>} */ ({
  s: "skip", u: "undo", Backspace: "undo", f: "flag", n: "note", z: "zoom", c: "contrast", g: "guidelines", "?": "help",
});

/** @param {KeyboardEvent} event */
function digit(event) {
  const found = /^(?:Digit|Numpad)(\d)$/.exec(event.code);
  return found ? ((Number(found[1]) + 9) % 10) + (event.shiftKey ? 10 : 0) : -1;
}

/** @param {KeyboardEvent} event */
function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  const target = /** @type {HTMLElement} */ (event.target);
  if (document.querySelector("dialog[open]") || target.matches("textarea, select, input:not([type=checkbox])")) return;
  const buttons = /** @type {HTMLElement[]} */ ([...(current?.querySelectorAll(".choice") ?? [])]);
  const action = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (buttons[digit(event)]) choose(buttons[digit(event)]);
  else if (event.key === "Enter" && !target.matches("button, a, summary, input")) accept();
  else if (action && document.querySelector(`[data-do="${action}"]`)) void ACTIONS[action]();
  else if (!move(event)) return;
  event.preventDefault();
}

function accept() {
  const button = /** @type {HTMLElement | null | undefined} */ (current?.querySelector(".choice.suggested"));
  if (button && !current?.classList.contains("veiled") && current?.dataset.mode !== "hidden") choose(button);
}

/** Move between the samples of a group. @param {KeyboardEvent} event */
function move(event) {
  const step = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
  const boxes = /** @type {HTMLElement[]} */ ([...(current?.querySelectorAll(".grid input") ?? [])]);
  if (!step || !boxes.length) return false;
  const now = boxes.indexOf(/** @type {HTMLElement} */ (document.activeElement));
  boxes[now < 0 ? 0 : (now + step + boxes.length) % boxes.length].focus();
  return true;
}

document.addEventListener("keydown", onKey);
document.addEventListener("click", (event) => {
  const button = /** @type {HTMLElement} */ (event.target).closest("button");
  if (button?.matches(".choice")) choose(button);
  else if (button?.dataset.do) void ACTIONS[button.dataset.do]();
});
for (const dialog of document.querySelectorAll("dialog")) {
  dialog.addEventListener("keydown", (event) => {
    const typing = /** @type {HTMLElement} */ (event.target).matches("textarea");
    const by = typing ? (event.ctrlKey && event.key === "Enter" ? '[value="save"]' : null) : `[data-key="${CSS.escape(event.key)}"]`;
    const button = by && /** @type {HTMLElement | null} */ (dialog.querySelector(by));
    if (button) {
      event.preventDefault();
      event.stopPropagation(); // the dialog closes now: the key must not label what is behind it
      button.click();
    }
  });
}

// ---- time at work, leases -----------------------------------------------------------------------

let lastInput = performance.now();
for (const type of ["keydown", "pointerdown", "pointermove", "scroll"]) {
  addEventListener(type, () => (lastInput = performance.now()), { passive: true, capture: true });
}
let lastTick = performance.now();
function tick() {
  const now = performance.now();
  const atWork = document.visibilityState === "visible" && document.hasFocus() && now - lastInput < IDLE_MS;
  if (atWork) spent += now - lastTick;
  lastTick = now;
}
setInterval(tick, 1000);
setInterval(() => current && void post("heartbeat").catch(() => {}), 60_000);
setInterval(() => current || void refill(), 5_000);
addEventListener("beforeunload", (event) => outbox.length && event.preventDefault());
addEventListener("pageshow", (event) => event.persisted && location.reload());

void drain().then(refill);
