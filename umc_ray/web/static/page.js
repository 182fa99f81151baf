// @ts-check
// Labeling by keyboard: one key labels an item and shows the next one, which is prefetched. Answers
// leave through an outbox that reloads and other windows do not disturb.

import { newKey, oneWindow, Outbox } from "./outbox.js";
import { asksForSpan, markWord, nameOfSpan, rememberSelection, spanOf, suggestedSpan } from "./span.js";
import { asksForText, excessOf, onTextKey, showWritten, startWriting, textOf } from "./text.js";

const { kind, root, batch, csrf, person, campaign, guideline } = document.body.dataset;
const AHEAD = kind === "group" ? 1 : 6; // number of items to prefetch
const HISTORY = 10; // answers in the list, and undo steps without asking the server
const IDLE_MS = 30_000; // without input for this long, time does not count as work
/** @typedef {string | string[] | null} Label a label, several, or null for a skip */

const FEEDS = { label: "items", group: "groups/next", review: "review/items" };

const stage = byId("stage");
const waiting = /** @type {HTMLElement[]} */ ([]);
const answered = /** @type {{node: HTMLElement, key: string, label: string, samples: number, seconds: number}[]} */ ([]);
const fetched = new Set(); // names of all items fetched so far, so that none is shown twice
let current = /** @type {HTMLElement | null} */ (null);
let fetching = false;
let answeredCount = 0; // samples answered since the page was loaded
let givenBefore = 0; // samples answered today before that
let answeredSeconds = 0; // working time spent on them
let activeMs = 0; // working time on the current item

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
function showStatus(text, problem = false) {
  const status = byId("status");
  status.textContent = text;
  status.classList.toggle("problem", problem);
}

/** @param {number} ms */
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// ---- outbox -------------------------------------------------------------------------------------

const PLACE = `umc_ray/${campaign}/${batch}`;
const NAME = `${PLACE}/${person}`; // what windows of one person share
/** Wait, but not longer than until there is a network again. @param {number} ms */
const pause = (ms) => Promise.race([sleep(ms), new Promise((resolve) => addEventListener("online", resolve, { once: true }))]);
const outbox = new Outbox(NAME, localStorage, post, pause, showUnsent);
let leaving = false; // on purpose, so nobody need be asked

/** @param {string} path @param {object} [body] */
function post(path, body) {
  return fetch(url(`api/${path}`), {
    method: "POST",
    headers: { "content-type": "application/json", "x-csrf-token": csrf ?? "" },
    body: body && JSON.stringify(body),
    keepalive: true,
  });
}

/** Keep a request until the server has it; returns its client key. @param {string} path @param {object} body */
function send(path, body) {
  const key = outbox.add(path, body);
  void drain();
  return key;
}

async function drain() {
  const outcome = await outbox.drain();
  if (outcome === "login") logIn();
  if (outcome === "reload" && !leaving) {
    leaving = true;
    location.reload(); // somebody logged in meanwhile; what is in the outbox stays there
  }
}

function showUnsent() {
  const [unsent, rejected] = [outbox.waiting().length, outbox.rejected()];
  const offline = unsent > 0 && !outbox.isOnline;
  if (offline) showStatus(`${counted(unsent, "answer")} not sent yet. Trying again.`, true);
  else if (!unsent && byId("status").textContent?.includes("not sent yet")) showStatus("Everything is saved.");
  byId("rejected").hidden = !rejected.length;
  byId("reasons").textContent = `${counted(rejected.length, "answer")} not accepted. ${rejected[0]?.reason ?? ""}`;
}

/** @param {number} n @param {string} noun */
const counted = (n, noun) => `${n} ${noun}${n === 1 ? "" : "s"}`;

/** Say that answers of others wait in this browser. */
function showOthers() {
  const others = new Set();
  for (const key of Object.keys(localStorage)) {
    const [name] = key.startsWith(`${PLACE}/`) ? key.slice(PLACE.length + 1).split("/outbox/") : [];
    if (key.includes("/outbox/") && name !== person) others.add(name);
  }
  if (others.size) showStatus(`Answers of ${[...others].join(", ")} wait in this browser until the next login.`);
}

/** Go to the login page; the outbox is kept until the person returns. */
function logIn() {
  leaving = true;
  location.assign(`${root}/login?next=${encodeURIComponent(location.pathname + location.search)}`);
}

// ---- fetching and showing items -----------------------------------------------------------------

/** @param {HTMLElement} node */
const nameOf = (node) => node.dataset.bulk ?? `${node.dataset.task}/${node.dataset.sample}`;

/** Fetch items and decode their images ahead of time. @param {string} path */
async function fetchItems(path, extra = {}) {
  const response = await fetch(url(path, extra));
  if (response.status === 401) logIn();
  if (!response.ok) throw new Error(`${response.status}`);
  showProgress(Number(response.headers.get("x-done")), Number(response.headers.get("x-asked")));
  const template = document.createElement("template");
  template.innerHTML = await response.text(); // safe: the server escapes all samples
  const nodes = [...template.content.querySelectorAll("article")].map((node) => document.importNode(node, true));
  await Promise.all(nodes.flatMap((node) => [...node.querySelectorAll("img")].map((img) => img.decode().catch(() => {}))));
  return nodes;
}

async function refill() {
  if (fetching || waiting.length >= AHEAD) return;
  fetching = true;
  try {
    await oneWindow(`${NAME}/items`, fetchMore); // so that no other window fetches the same ones
    showEmpty(true);
    if (!current && waiting.length) next();
  } catch {
    showEmpty(false);
  }
  fetching = false;
}

/** Show what the address asks for before all else: an answer that is to be changed. */
async function showWanted() {
  const [task, sample] = (new URLSearchParams(location.search).get("item") ?? "").split("/");
  if (!sample) return;
  history.replaceState(null, "", url(""));
  const path = `${kind === "review" ? "review/" : ""}items/${encodeURIComponent(task)}/${encodeURIComponent(sample)}`;
  const [node] = await fetchItems(path).catch(() => []);
  if (!node) return showStatus("This question is not there any more.", true);
  fetched.add(nameOf(node));
  show(node);
  if (kind === "label") showStatus("Answer again to change your answer.");
}

/** Ask the server how far this person is today; the window counts on from there. */
async function showOwnProgress() {
  const midnight = new Date().setHours(0, 0, 0, 0) / 1000;
  const response = await fetch(url("api/progress", { since: String(midnight) })).catch(() => null);
  if (!response?.ok || outbox.waiting().length) return;
  const { by_you, left_for_you } = await response.json();
  givenBefore = by_you - answeredCount;
  byId("left").textContent = left_for_you ? `${left_for_you} left for you` : "";
  addWork(0, 0);
}

async function fetchMore() {
  const extra = { elsewhere: [...shownElsewhere()].join(" ") };
  const more = kind === "group" ? { after: [...fetched].join(" ") } : { n: String(2 * AHEAD) };
  const nodes = await fetchItems(FEEDS[/** @type {keyof FEEDS} */ (kind)], { ...extra, ...more });
  for (const node of nodes.filter((each) => !fetched.has(nameOf(each)))) {
    fetched.add(nameOf(node));
    waiting.push(node);
  }
  announce();
  void showOwnProgress();
}

/** Say that there is nothing to label, or that nobody can tell. @param {boolean} isConnected */
function showEmpty(isConnected) {
  byId("empty").hidden = current !== null || !isConnected;
  byId("offline").hidden = current !== null || isConnected;
}

const WINDOW = `${NAME}/window/${newKey()}`;
const FORGOTTEN_MS = 180_000; // a window that has not been heard of for so long was closed

/** Tell other windows what this one shows or will show. */
function announce() {
  const samples = [...waiting, ...(current ? [current] : [])].flatMap((node) => allSamplesOf(node).map(nameOfSample));
  localStorage.setItem(WINDOW, JSON.stringify({ at: Date.now(), samples }));
}

/** Names of samples that other windows show, or whose answers are on their way. */
function shownElsewhere() {
  const names = new Set(outbox.waiting().flatMap(({ body }) => (body.samples ?? [body.sample ?? []].flat()).map(nameOfSample)));
  for (const key of Object.keys(localStorage).filter((each) => each.startsWith(`${NAME}/window/`) && each !== WINDOW)) {
    const { at, samples } = JSON.parse(localStorage.getItem(key) ?? '{"at": 0, "samples": []}');
    if (Date.now() - at < FORGOTTEN_MS) samples.forEach((/** @type {string} */ each) => names.add(each));
    else localStorage.removeItem(key);
  }
  return names;
}

function next() {
  show(waiting.shift() ?? null);
  void refill();
}

/** @param {HTMLElement | null} node */
function show(node) {
  current = node;
  activeMs = 0;
  announce();
  stage.className = "";
  stage.replaceChildren(...(node ? [node] : []));
  document.body.classList.toggle("with-image", node?.querySelector(".picture") != null);
  document.body.classList.toggle("with-synthetic", node?.dataset.made != null);
  if (!node) return;
  showEmpty(true);
  byId("skip-name").textContent = node.dataset.made ? "Reject" : "Skip";
  byId("skip-title").textContent = node.dataset.made ? "Why reject?" : "Why skip?";
  for (const image of node.querySelectorAll("img")) void image.decode().then(() => sharpen(image), () => {});
  node.classList.toggle("concealed", node.dataset.mode === "after_first_choice");
  offerRecent(node);
  node.querySelectorAll("[aria-pressed]").forEach((button) => button.removeAttribute("aria-pressed"));
  // An item that arrives late must not take the focus from a link or button.
  if (document.activeElement === document.body) node.querySelector("h1")?.focus({ preventScroll: true });
}

/** @param {number} done @param {number} total */
function showProgress(done, total) {
  const bar = /** @type {HTMLProgressElement} */ (byId("progress"));
  bar.max = total || 1;
  bar.value = done;
  byId("counts").textContent = `${done} of ${total}`;
}

// ---- answers ------------------------------------------------------------------------------------

/** @param {HTMLElement} node */
function questionRef(node) {
  const { task, domain, sample, round } = node.dataset;
  return { task, domain, sample_id: sample, round }; // ids exceed the precision of JS numbers
}

/** @param {{task?: string, sample_id?: string}} sample */
const nameOfSample = ({ task, sample_id }) => `${task}/${sample_id}`;

/** @param {HTMLElement} node @param {string} [boxes] which samples of a group */
function samplesOf(node, boxes = ".grid input:checked") {
  if (!node.dataset.bulk) return [questionRef(node)];
  return /** @type {HTMLElement[]} */ ([...node.querySelectorAll(boxes)]).map(questionRef);
}

/** @param {HTMLElement} node */
const allSamplesOf = (node) => samplesOf(node, ".grid input");

/** What an answer is called on the page. @param {Label} label */
const nameOfLabel = (label) => (label === null ? "skipped" : [label].flat().map(nameOfSpan).join(", ") || "no label");

/** @param {Label} label @param {string | null} [reason] */
function answer(label, reason = null) {
  const node = current;
  if (!node) return;
  const samples = samplesOf(node);
  if (node.dataset.bulk && label === null) return next(); // its samples come back one by one
  if (!samples.length) return showStatus("No sample is selected.", true);
  tick();
  const seconds = Math.min(activeMs / 1000, 3600);
  const seen = node.dataset.mode !== "hidden";
  remember(node, label);
  next();
  record(node, samples, label, reason, seconds, seen);
}

/**
 * @param {HTMLElement} node @param {object[]} samples @param {Label} label
 * @param {string | null} reason @param {number} seconds @param {boolean} seen
 */
function record(node, samples, label, reason, seconds, seen) {
  const bulk = node.dataset.bulk ?? null;
  const key =
    kind === "review"
      ? send("decisions", { sample: samples[0], label, reason })
      : send("answers", { samples, label, reason, seconds, seen, bulk, guideline: guideline || null });
  const name = label === null && node.dataset.made ? "rejected" : nameOfLabel(label);
  answered.push({ node, key, label: name, samples: samples.length, seconds });
  if (answered.length > HISTORY) answered.shift();
  addWork(samples.length, seconds);
}

/** @param {number} samples @param {number} seconds */
function addWork(samples, seconds) {
  answeredCount += samples;
  answeredSeconds += seconds;
  const each = answeredCount > 0 ? `, ${(answeredSeconds / answeredCount).toFixed(1)} s each` : "";
  const today = Math.max(0, givenBefore + answeredCount);
  byId("speed").textContent = today ? `${today} by you today${each}` : "";
  showHistory();
}

/** Answer with a label, or check its box. @param {HTMLElement} choice */
function choose(choice) {
  const box = choice.querySelector("input");
  if (box) return box.click();
  if (reveal("Press the key again to confirm, or choose another label.")) choice.setAttribute("aria-pressed", "true");
  else answer(choice.dataset.label ?? "");
}

/** Show the suggestion if it is concealed until the first choice; returns whether it was. @param {string} next */
function reveal(next) {
  const concealed = current?.classList.contains("concealed") ?? false;
  current?.classList.remove("concealed");
  showStatus(concealed ? next : "");
  return concealed;
}

/** @param {HTMLElement | null} node */
const checkedLabels = (node) => [...(node?.querySelectorAll(".choices input:checked") ?? [])].map((box) => /** @type {HTMLInputElement} */ (box).value);

/** Answer with the labels whose boxes are checked, of which there may be none, or with the number. */
function confirmLabels() {
  const form = numberForm();
  if (form) return confirmNumber(form);
  if (asksForSpan(current)) return confirmSpan();
  if (asksForText(current)) return confirmText();
  if (!reveal("Confirm again, or change the labels.")) answer(checkedLabels(current));
}

/** Answer with what is marked or, if nothing is, with what is suggested and seen. */
function confirmSpan() {
  const isSeen = current?.dataset.mode !== "hidden" && !current?.classList.contains("concealed");
  const span = spanOf(current) ?? (isSeen ? suggestedSpan(current) : null);
  if (!span) return showStatus("Nothing is marked: mark the answer in the text, or say that there is none.", true);
  if (!reveal("Confirm again, or mark another answer.")) answer(span);
}

/** Answer with what is written or, if nothing is, with what is suggested and seen. */
function confirmText() {
  const text = textOf(current);
  const excess = excessOf(current, text);
  if (!text) return showStatus("Nothing is written: press e to write the answer.", true);
  if (excess) return showStatus(`The answer is ${excess} bytes too long for this task.`, true);
  if (!reveal("Confirm again, or change the text.")) answer(text);
}

// ---- numbers ------------------------------------------------------------------------------------

/** The field and the slider of a number, which follow each other; a suggestion, if there is one. */
function numberForm() {
  const form = /** @type {HTMLElement | null | undefined} */ (current?.querySelector(".number-form"));
  const field = /** @type {HTMLInputElement} */ (form?.querySelector(".value"));
  return form ? { field, slider: /** @type {HTMLInputElement} */ (form.querySelector(".slider")), suggested: form.dataset.suggested } : null;
}

/** Answer with the number in the field or, if it is empty, with the one that is suggested and seen. @param {NonNullable<ReturnType<typeof numberForm>>} form */
function confirmNumber({ field, suggested }) {
  const isSeen = current?.dataset.mode !== "hidden" && !current?.classList.contains("concealed");
  const text = field.value.trim() || (isSeen ? suggested : "") || "";
  const [low, high] = [Number(field.dataset.low), Number(field.dataset.high)];
  if (!text || !(Number(text) >= low && Number(text) <= high)) {
    field.focus();
    return showStatus(`${text || "Nothing"} is not a number from ${low} to ${high}.`, true);
  }
  if (!reveal("Confirm again, or change the number.")) answer(text);
}

/** Let the slider or the field follow the other one. @param {HTMLElement} input */
function follow(input) {
  const { field, slider } = numberForm() ?? {};
  if (!field || !slider) return;
  if (input === slider) field.value = slider.value;
  if (input === field && Number.isFinite(Number(field.value))) slider.value = field.value || "";
  const text = current?.querySelector(".confirm span");
  if (text) text.textContent = field.value.trim() || "no number";
}

/** Begin to type a number, wherever the focus is. @param {KeyboardEvent} event */
function startNumber(event) {
  const { field } = numberForm() ?? {};
  if (!field || !/^[0-9.-]$/.test(event.key)) return false;
  field.focus();
  field.select(); // the key replaces what was there
  return true;
}

/** @param {KeyboardEvent} event @param {HTMLInputElement} field */
function onNumberKey(event, field) {
  if (event.key !== "Enter" && event.key !== "Escape") return;
  event.preventDefault();
  if (event.repeat) return;
  if (event.key === "Escape") return field.blur();
  confirmLabels();
}

let undoing = false;
let undoKey = newKey(); // the same until it is known to be done: a repeated request undoes nothing more

async function undo() {
  const last = answered.pop();
  if (last) {
    if (current) waiting.unshift(current);
    show(last.node);
    addWork(-last.samples, -last.seconds);
    showStatus(`Undone: ${last.label}`);
    if (kind === "review") send("decisions/undo", { sample: questionRef(last.node) });
    else send("undo", { answer: last.key });
    return;
  }
  if (kind === "review") return showStatus("Nothing to undo.");
  // What it takes back depends on what the server has: nothing may be under way, nor come in between.
  if (outbox.waiting().length || undoing) return showStatus("Answers are not sent yet: undo later.", true);
  undoing = true;
  const response = await post("undo", { client_key: undoKey }).catch(() => null);
  const undone = await response?.json().catch(() => null);
  undoing = false;
  if (!response?.ok) return showStatus(undone?.detail ?? "No connection: try to undo again.", true);
  undoKey = newKey();
  if (!undone.samples.length) return showStatus("Nothing to undo.");
  givenBefore -= undone.samples.length;
  addWork(0, 0);
  if (kind === "group") return location.reload();
  const { task, sample_id } = undone.samples[0];
  const [node] = await fetchItems(`items/${encodeURIComponent(task)}/${sample_id}`);
  if (current) waiting.unshift(current);
  fetched.add(nameOf(node));
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

const opened = /** @type {Map<string, (value: string) => void>} */ (new Map()); // who waits for a dialog

/** Open a dialog; resolves to the value of the button that closed it, "" for none. @param {string} id */
function openDialog(id) {
  const dialog = /** @type {HTMLDialogElement} */ (byId(id));
  opened.get(id)?.(""); // it was closed a moment ago, and its event is still on its way
  dialog.returnValue = "";
  dialog.showModal();
  return /** @type {Promise<string>} */ (new Promise((resolve) => opened.set(id, resolve)));
}

/** Tell who waits for a dialog how it was closed. @param {HTMLDialogElement} dialog */
function onClosed(dialog) {
  if (dialog.open) return; // it was opened again before its event came
  opened.get(dialog.id)?.(dialog.returnValue);
  opened.delete(dialog.id);
}

const drafts = /** @type {Map<string, string>} */ (new Map()); // what was typed and not saved, by item

/** @param {"flag" | "note"} id */
async function remark(id) {
  const node = current;
  const text = /** @type {HTMLTextAreaElement} */ (byId(id).querySelector("textarea"));
  const draft = node ? `${id} ${nameOf(node)}` : id;
  text.value = drafts.get(draft) ?? "";
  text.oninput = () => drafts.set(draft, text.value);
  const saved = await openDialog(id);
  if (saved) drafts.delete(draft);
  const said = saved && (text.value.trim() || (id === "flag" ? "no reason given" : ""));
  if (said && node) {
    send("remarks", { sample: questionRef(node), kind: id, text: said });
    showStatus(id === "flag" ? "Flagged." : "Note saved.");
  }
}

async function rate() {
  const node = current;
  if (!node?.dataset.made) return;
  const score = await openDialog("rating");
  if (!score) return;
  send("remarks", { sample: questionRef(node), kind: "rating", text: score });
  showStatus(`Quality: ${score} of 5.`);
}

async function skip() {
  if (kind === "group") return answer(null);
  const node = current;
  if (!node) return;
  const reason = await openDialog("skip");
  if (!reason || current !== node) return;
  if (reason !== "ask") return answer(null, reason === "none" ? null : reason);
  send("reask", { sample: questionRef(node) });
  showStatus("One more person is asked.");
  next();
}

/** Step through the classes name-0, name-1, ... @param {string[]} names */
function cycle(names) {
  const now = names.findIndex((name) => stage.classList.contains(name));
  stage.classList.remove(...names);
  if (now + 1 < names.length) stage.classList.add(names[now + 1]);
}

// ---- images -------------------------------------------------------------------------------------

const MOST_ZOOM = 32; // screen pixels per pixel of the image
const STEP = 1.25;
const CONTRASTS = ["contrast-1", "contrast-2"];

function picture() {
  const box = /** @type {HTMLElement | null} */ (stage.querySelector(".picture"));
  const image = box?.querySelector("img");
  return box && image?.naturalWidth ? { box, image } : null;
}

/** Screen pixels per pixel where the whole image is shown. @param {HTMLElement} box @param {HTMLImageElement} image */
const fitOf = (box, image) => Math.min(box.clientWidth / image.naturalWidth, box.clientHeight / image.naturalHeight);

/**
 * Show an image at a scale, 0: the whole of it; the point at x, y of the box stays where it is.
 * @param {HTMLElement} box @param {HTMLImageElement} image @param {number} scale @param {number} [x] @param {number} [y]
 */
function setScale(box, image, scale, x = box.clientWidth / 2, y = box.clientHeight / 2) {
  const zoomed = Number(box.dataset.zoom ?? 0);
  const before = zoomed || fitOf(box, image);
  const left = Math.max(0, box.clientWidth - before * image.naturalWidth) / 2;
  const top = zoomed ? 0 : (box.clientHeight - before * image.naturalHeight) / 2; // a zoomed image is at the top
  const at = { x: (box.scrollLeft + x - left) / before, y: (box.scrollTop + y - top) / before };
  box.dataset.zoom = String(scale);
  box.classList.toggle("zoomed", scale > 0);
  image.style.width = scale ? `${scale * image.naturalWidth}px` : "";
  image.style.height = scale ? `${scale * image.naturalHeight}px` : "";
  box.scrollTo(scale * at.x - x, scale * at.y - y);
  sharpen(image);
}

/** Zoom to the image's own pixels or, if it is shown larger than that, farther; then twice as far; then back. */
function zoom() {
  const { box, image } = picture() ?? {};
  if (!box || !image) return;
  const first = 2 ** Math.max(0, Math.floor(Math.log2(fitOf(box, image))) + 1);
  setScale(box, image, { 0: first, [first]: 2 * first }[Number(box.dataset.zoom ?? 0)] ?? 0);
}

/** Zoom by some steps, not farther out than to the whole image. @param {number} steps @param {number} [x] @param {number} [y] */
function zoomBy(steps, x, y) {
  const { box, image } = picture() ?? {};
  if (!box || !image) return;
  const fit = fitOf(box, image);
  const scale = Math.min((Number(box.dataset.zoom ?? 0) || fit) * STEP ** steps, MOST_ZOOM);
  setScale(box, image, scale > 1.01 * fit ? scale : 0, x, y);
}

document.addEventListener( // the stage has no box of its own, so no wheel turns in it
  "wheel",
  (event) => {
    const box = /** @type {HTMLElement} */ (event.target).closest(".picture");
    if (!box || !picture() || !event.deltaY) return;
    event.preventDefault();
    const { left, top } = box.getBoundingClientRect();
    zoomBy(event.deltaY < 0 ? 1 : -1, event.clientX - left, event.clientY - top);
  },
  { passive: false },
);
stage.addEventListener("dragstart", (event) => event.preventDefault());
stage.addEventListener("pointerdown", (event) => {
  const box = /** @type {HTMLElement | null} */ (/** @type {HTMLElement} */ (event.target).closest(".picture.zoomed"));
  if (!box || event.pointerType === "touch") return; // which scrolls by itself
  box.classList.add("dragged");
  const move = (/** @type {PointerEvent} */ each) => box.scrollBy(-each.movementX, -each.movementY);
  addEventListener("pointermove", move);
  addEventListener("pointerup", () => (removeEventListener("pointermove", move), box.classList.remove("dragged")), { once: true });
});

/** @typedef {{distance: number, x: number, y: number}} Fingers two of them, and the point between them */

/** @param {TouchList} touches @returns {Fingers} */
function fingers([a, b]) {
  const distance = Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
  return { distance, x: (a.clientX + b.clientX) / 2, y: (a.clientY + b.clientY) / 2 };
}

let pinch = /** @type {Fingers | null} */ (null);

/** Two fingers zoom and move an image: what is between them stays there. @param {TouchEvent} event */
function onTouch(event) {
  const { box, image } = picture() ?? {};
  const onPicture = box?.contains(/** @type {Node} */ (event.target));
  const now = onPicture && event.touches.length === 2 ? fingers(event.touches) : null;
  if (now && pinch && box && image) {
    const { left, top } = box.getBoundingClientRect();
    box.scrollBy(pinch.x - now.x, pinch.y - now.y);
    zoomBy(Math.log(now.distance / pinch.distance) / Math.log(STEP), now.x - left, now.y - top);
  }
  if (now) event.preventDefault(); // the page itself is not zoomed
  pinch = now;
}

for (const type of ["touchstart", "touchmove", "touchend", "touchcancel"]) {
  document.addEventListener(type, (event) => onTouch(/** @type {TouchEvent} */ (event)), { passive: false });
}

const LEVELS = /** @type {NodeListOf<HTMLInputElement>} */ (document.querySelectorAll(".level"));

/** Show images as bright and with as much contrast as the sliders say. */
function setLevels() {
  for (const each of LEVELS) stage.style.setProperty(`--${each.name}`, each.value);
  stage.classList.toggle("adjusted", [...LEVELS].some((each) => each.value !== each.defaultValue));
}

for (const each of LEVELS) each.addEventListener("input", setLevels);

/** Show the whole image, as it is. */
function resetView() {
  const { box, image } = picture() ?? {};
  if (box && image) setScale(box, image, 0);
  for (const each of LEVELS) each.value = each.defaultValue;
  stage.classList.remove(...CONTRASTS);
  setLevels();
}

/** Show the pixels of an image that is much larger than its own size. @param {HTMLImageElement} image */
function sharpen(image) {
  const scale = Math.min(image.clientWidth / image.naturalWidth, image.clientHeight / image.naturalHeight);
  image.classList.toggle("enlarged", scale >= 2);
}

const ACTIONS = /** @type {Record<string, () => unknown>} */ ({
  skip,
  undo,
  flag: () => remark("flag"),
  note: () => remark("note"),
  rating: rate,
  zoom,
  "zoom-in": () => zoomBy(2),
  "zoom-out": () => zoomBy(-2),
  contrast: () => cycle(CONTRASTS),
  reset: resetView,
  guidelines: () => openDialog("guidelines"),
  help: () => openDialog("help"),
  split,
  confirm: confirmLabels,
  dismiss: () => outbox.dismiss(),
});
const KEYS = /** @type {Record<string, string>} */ ({
  s: "skip", u: "undo", Backspace: "undo", f: "flag", n: "note", q: "rating", z: "zoom", "+": "zoom-in", "-": "zoom-out", c: "contrast", "=": "reset", g: "guidelines", "?": "help", x: "split",
});

/** Return the label that a key is for, if there is one. @param {KeyboardEvent} event */
function choiceOf(event) {
  const match = /^(?:Digit|Numpad)(\d)$/.exec(event.code);
  const letter = /^[a-z]$/i.test(event.key) && event.key.toLowerCase(); // named by the campaign
  const key = match ? (event.shiftKey ? `⇧${match[1]}` : match[1]) : letter;
  return key && /** @type {HTMLElement | null | undefined} */ (current?.querySelector(`.choice[data-key="${key}"]`));
}

// ---- many labels --------------------------------------------------------------------------------

const RECENT = `${NAME}/recent`;
const RECENT_KEYS = ["6", "7", "8", "9", "0"]; // the most probable labels have the others

/** Give keys to the labels that were used last, below those that are most probable. @param {HTMLElement} node */
function offerRecent(node) {
  const list = node.querySelector(".choices.many");
  for (const choice of node.querySelectorAll(".choice[data-recent]")) {
    choice.querySelector("kbd")?.remove();
    choice.removeAttribute("data-recent");
    choice.setAttribute("data-key", "");
  }
  const used = /** @type {string[]} */ (JSON.parse(localStorage.getItem(`${RECENT}/${node.dataset.task}`) ?? "[]"));
  const plain = used.map((label) => choiceNamed(node, label)).filter((choice) => choice?.dataset.key === "");
  const first = list?.querySelector('.choice[data-key=""]') ?? null;
  const before = first?.previousElementSibling?.matches(".of-group") ? first.previousElementSibling : first;
  for (const [i, choice] of plain.slice(0, RECENT_KEYS.length).entries()) {
    if (!list || !choice) continue;
    choice.dataset.key = RECENT_KEYS[i];
    choice.dataset.recent = "";
    const key = document.createElement("kbd");
    key.textContent = RECENT_KEYS[i];
    choice.querySelector(".name")?.before(key);
    list.insertBefore(choice, before === choice ? before.nextSibling : before);
  }
}

/** @param {HTMLElement} node @param {string} label */
const choiceNamed = (node, label) => choicesOf(node).find((choice) => nameOfChoice(choice) === label);

/** @param {HTMLElement | null} node */
const choicesOf = (node) => /** @type {HTMLElement[]} */ ([...(node?.querySelectorAll(".choice") ?? [])]);

/** @param {HTMLElement} choice */
const nameOfChoice = (choice) => choice.dataset.label ?? choice.querySelector("input")?.value ?? "";

/** Remember what was chosen, newest first. @param {HTMLElement} node @param {Label} label */
function remember(node, label) {
  if (!node.querySelector(".choices.many") || label === null) return;
  const place = `${RECENT}/${node.dataset.task}`;
  const used = new Set([label].flat().concat(JSON.parse(localStorage.getItem(place) ?? "[]")));
  localStorage.setItem(place, JSON.stringify([...used].slice(0, 2 * RECENT_KEYS.length)));
}

/** Show the labels that contain a text, and mark the one that Enter chooses. @param {HTMLInputElement} find */
function search(find) {
  const wanted = find.value.trim().toLocaleLowerCase();
  const found = choicesOf(current).filter((choice) => {
    choice.hidden = !nameOfChoice(choice).toLocaleLowerCase().includes(wanted);
    choice.classList.remove("best");
    return !choice.hidden;
  });
  const starts = found.find((choice) => nameOfChoice(choice).toLocaleLowerCase().startsWith(wanted));
  for (const heading of /** @type {HTMLElement[]} */ ([...(current?.querySelectorAll(".of-group") ?? [])])) heading.hidden = wanted !== "";
  const best = wanted ? (starts ?? found[0]) : undefined;
  best?.classList.add("best");
  return best;
}

/** @param {KeyboardEvent} event @param {HTMLInputElement} find */
function onSearchKey(event, find) {
  if (event.key !== "Enter" && event.key !== "Escape") return;
  event.preventDefault();
  if (event.repeat) return;
  const best = event.key === "Enter" ? search(find) : undefined;
  find.value = "";
  search(find);
  if (event.key === "Escape") find.blur();
  if (best) choose(best);
}

/** @param {KeyboardEvent} event */
function onKey(event) {
  if (!event.isComposing && onTextKey(event, confirmLabels)) return;
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  const target = /** @type {HTMLElement} */ (event.target);
  if (target.matches(".find")) return onSearchKey(event, /** @type {HTMLInputElement} */ (target));
  if (target.matches(".number-form .value")) return onNumberKey(event, /** @type {HTMLInputElement} */ (target));
  const isSlider = target.matches(".slider"); // which has arrow keys of its own
  if (document.querySelector("dialog[open]") || target.matches("textarea, select, input:not([type=checkbox], .slider)")) return;
  if (markWord(event, current)) return event.preventDefault();
  if (startNumber(event) || (isSlider && isScroll(event))) return;
  if (event.repeat) {
    if (move(event) || !isScroll(event)) event.preventDefault();
    return; // a held key is one answer
  }
  const action = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  const choice = choiceOf(event);
  if (choice) choose(choice);
  else if (event.key === "/" && current?.querySelector(".find")) /** @type {HTMLElement} */ (current.querySelector(".find")).focus();
  else if (event.key.toLowerCase() === "e" && asksForText(current)) startWriting(current);
  else if (event.key === "Enter" && !target.matches("button, a, summary")) accept();
  else if (action && (action.startsWith("zoom-") || document.querySelector(`[data-do="${action}"]`))) void ACTIONS[action]();
  else if (!move(event)) return;
  event.preventDefault();
}

/** @param {KeyboardEvent} event */
const isScroll = (event) => /^(Arrow|Page|Home|End|Tab)/.test(event.key);

/** Confirm the checked labels, or take over the suggestion where there is one label. */
function accept() {
  if (current?.querySelector(".confirm")) return confirmLabels();
  const button = /** @type {HTMLElement | null | undefined} */ (current?.querySelector(".choice.suggested"));
  if (button && !current?.classList.contains("concealed") && current?.dataset.mode !== "hidden") choose(button);
}

/** Move the focus between the samples of a group. @param {KeyboardEvent} event */
function move(event) {
  const step = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
  const boxes = /** @type {HTMLElement[]} */ ([...(current?.querySelectorAll(".grid input") ?? [])]);
  if (!step || !boxes.length) return false;
  const now = boxes.indexOf(/** @type {HTMLElement} */ (document.activeElement));
  boxes[now < 0 ? 0 : (now + step + boxes.length) % boxes.length].focus();
  return true;
}

/** In a group, select the samples with the next of their predictions, and no others. */
function split() {
  const boxes = /** @type {HTMLInputElement[]} */ ([...(current?.querySelectorAll(".grid input[data-predicted]") ?? [])]);
  const predictions = [...new Set(boxes.map((box) => box.dataset.predicted))];
  const checked = new Set(boxes.filter((box) => box.checked).map((box) => box.dataset.predicted));
  if (!predictions.length) return showStatus("Nothing is predicted for these samples.");
  const now = checked.size === 1 ? predictions.indexOf([...checked][0]) : -1;
  const wanted = predictions[(now + 1) % predictions.length];
  for (const box of boxes) box.checked = box.dataset.predicted === wanted;
  showStatus(`Selected: predicted ${wanted}`);
}

document.addEventListener("keydown", onKey);
document.addEventListener("selectionchange", () => rememberSelection(current));
document.addEventListener("input", (event) => {
  const find = /** @type {HTMLInputElement} */ (event.target);
  if (find.matches(".find")) search(find);
  if (find.matches(".number-form input")) follow(find);
  if (find.matches(".written")) showWritten(current);
});
document.addEventListener("change", () => {
  const text = current?.querySelector(".choices .confirm span");
  if (text) text.textContent = nameOfLabel(checkedLabels(current));
});
document.addEventListener("click", (event) => {
  const button = /** @type {HTMLElement} */ (event.target).closest("button");
  if (button?.matches(".choice")) choose(button);
  else if (button?.dataset.do) void ACTIONS[button.dataset.do]();
});
for (const dialog of document.querySelectorAll("dialog")) {
  dialog.addEventListener("close", () => onClosed(dialog));
  dialog.addEventListener("keydown", (event) => {
    const typing = /** @type {HTMLElement} */ (event.target).matches("textarea");
    if (event.repeat && !typing && !isScroll(event)) return event.preventDefault();
    const selector = typing ? (event.ctrlKey && event.key === "Enter" ? '[value="save"]' : null) : `[data-key="${CSS.escape(event.key)}"]`;
    const button = selector && /** @type {HTMLElement | null} */ (dialog.querySelector(selector));
    if (button) {
      event.preventDefault();
      event.stopPropagation(); // the dialog closes now: the key must not label the item behind it
      button.click();
    }
  });
}

// ---- working time, leases -----------------------------------------------------------------------

let lastInput = performance.now();
for (const type of ["keydown", "pointerdown", "pointermove", "scroll"]) {
  addEventListener(type, () => (lastInput = performance.now()), { passive: true, capture: true });
}
let lastTick = performance.now();
function tick() {
  const now = performance.now();
  const isActive = document.visibilityState === "visible" && document.hasFocus() && now - lastInput < IDLE_MS;
  if (isActive) activeMs += now - lastTick;
  lastTick = now;
}
setInterval(tick, 1000);
setInterval(() => current && void post("heartbeat").catch(() => {}), 60_000);
setInterval(() => current || void refill(), 5_000);
setInterval(announce, 30_000);
addEventListener("beforeunload", (event) => !leaving && outbox.waiting().length && event.preventDefault());
addEventListener("pagehide", giveBack);
addEventListener("pageshow", (event) => event.persisted && location.reload());

/** Let others have what this window will not answer. */
function giveBack() {
  const kept = new Set(outbox.waiting().flatMap(({ body }) => (body.samples ?? []).map(nameOfSample)));
  const open = [...waiting, ...(current ? [current] : [])].flatMap(allSamplesOf);
  const samples = open.filter((each) => !kept.has(nameOfSample(each)));
  localStorage.removeItem(WINDOW);
  if (samples.length) void post("release", { samples }).catch(() => {});
}

showUnsent();
showOthers();
void drain();
void showWanted().then(refill);
