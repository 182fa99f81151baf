// @ts-check
// Marking the answer to a question in its context, with the mouse or by keys. What is marked is the
// selection of the page; it is remembered, because a click on a button may take it away.

/** @typedef {{start: number, text: string}} Span the first character, and what stands there */

let marked = /** @type {{node: Text, from: number, to: number} | null} */ (null);

/** The text in which spans are marked. @param {HTMLElement | null} item */
function contextOf(item) {
  const texts = item?.querySelector(".span-form") ? item.querySelectorAll(".sample .text") : [];
  return /** @type {Text | null} */ (texts[texts.length - 1]?.firstChild ?? null);
}

/** Whether an item asks for a span. @param {HTMLElement | null} item */
export const asksForSpan = (item) => contextOf(item) !== null;

/** What is marked in an item, without blanks at its ends. @param {HTMLElement | null} item */
function markedIn(item) {
  const node = contextOf(item);
  if (!node || marked?.node !== node) return null;
  const text = node.data.slice(marked.from, marked.to);
  const from = marked.from + text.length - text.trimStart().length;
  // Characters are counted as Python does, not in units of UTF-16.
  return text.trim() ? { start: [...node.data.slice(0, from)].length, text: text.trim() } : null;
}

/** The answer that is marked, as the server reads it. @param {HTMLElement | null} item */
export function spanOf(item) {
  const span = markedIn(item);
  return span && JSON.stringify(span);
}

/** The answer that is suggested. @param {HTMLElement | null} item */
export const suggestedSpan = (item) => /** @type {HTMLElement | null | undefined} */ (item?.querySelector(".span-form"))?.dataset.suggested ?? null;

/** What an answer is called on the page; other answers are called by their text. @param {string} label */
export function nameOfSpan(label) {
  if (!label.startsWith('{"start"')) return label;
  const span = /** @type {Span} */ (JSON.parse(label));
  return `“${span.text}”`;
}

/** Remember what is selected in the text of an item, and say so on its button. @param {HTMLElement | null} item */
export function rememberSelection(item) {
  const node = contextOf(item);
  const range = document.getSelection()?.rangeCount ? document.getSelection()?.getRangeAt(0) : null;
  if (!node || !range || range.collapsed || range.startContainer !== node || range.endContainer !== node) return;
  marked = { node, from: range.startOffset, to: range.endOffset };
  const shown = item?.querySelector(".confirm span");
  if (shown) shown.textContent = markedIn(item)?.text ?? "nothing is marked";
}

/** Mark the next or the previous word or, with Shift, one word more or less. @param {KeyboardEvent} event @param {HTMLElement | null} item */
export function markWord(event, item) {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  const node = contextOf(item);
  if (!node || !step) return false;
  const words = [...node.data.matchAll(/\S+/g)].map((word) => [word.index, word.index + word[0].length]);
  if (!words.length) return false;
  const known = marked?.node === node ? marked : null;
  const first = known ? words.findIndex(([, end]) => end > known.from) : -1;
  const last = known ? words.findIndex(([, end]) => end >= known.to) : -1;
  const within = (/** @type {number} */ place) => Math.min(Math.max(place, 0), words.length - 1);
  const to = within(known ? last + step : 0);
  const from = event.shiftKey && known ? Math.min(first, to) : to;
  document.getSelection()?.setBaseAndExtent(node, words[from][0], node, words[to][1]);
  rememberSelection(item);
  node.parentElement?.scrollIntoView({ block: "nearest" });
  return true;
}
