// @ts-check
// Writing an answer, or editing the one that is suggested. What is in the field is kept when it is
// left, and when the item comes back.

/** The form of an item that asks for a text. @param {HTMLElement | null} item */
function formOf(item) {
  const form = /** @type {HTMLElement | null | undefined} */ (item?.querySelector(".text-form"));
  const field = /** @type {HTMLTextAreaElement | null | undefined} */ (form?.querySelector(".written"));
  return form && field ? { form, field } : null;
}

/** Whether an item asks for a text. @param {HTMLElement | null} item */
export const asksForText = (item) => formOf(item) !== null;

/** What is suggested, if a person sees it. @param {HTMLElement | null} item */
function seenSuggestion(item) {
  const isSeen = item?.dataset.mode !== "hidden" && !item?.classList.contains("concealed");
  return (isSeen && formOf(item)?.form.dataset.suggested) || "";
}

/** The answer: what is written or, if nothing is, the suggestion. @param {HTMLElement | null} item */
export const textOf = (item) => formOf(item)?.field.value.trim() || seenSuggestion(item);

/** By how many bytes an answer is too long; 0: it is not. @param {HTMLElement | null} item @param {string} text */
export function excessOf(item, text) {
  const longest = Number(formOf(item)?.field.dataset.longest ?? Infinity);
  return Math.max(0, new TextEncoder().encode(text).length - longest);
}

/** Go to the field; an empty one gets the suggestion, to be edited. @param {HTMLElement | null} item */
export function startWriting(item) {
  const { field } = formOf(item) ?? {};
  if (!field) return;
  field.value ||= seenSuggestion(item);
  field.focus();
  showWritten(item);
}

/** Say on the button what it does. @param {HTMLElement | null} item */
export function showWritten(item) {
  const { form, field } = formOf(item) ?? {};
  const said = form?.querySelector(".confirm span");
  if (!said || !field) return;
  const suggestion = seenSuggestion(item);
  const text = field.value.trim();
  const isSame = suggestion !== "" && (!text || text === suggestion);
  said.textContent = isSame ? "accept the suggestion" : text ? "answer with what is written" : "nothing is written";
}

/** Keys in the field: confirm, or leave it; returns whether the key did something. @param {KeyboardEvent} event @param {() => void} confirm */
export function onTextKey(event, confirm) {
  const field = /** @type {HTMLElement} */ (event.target);
  if (!field.matches(".text-form .written")) return false;
  if (event.key === "Escape") field.blur();
  else if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !event.repeat) confirm();
  else return true; // any other key writes
  event.preventDefault();
  return true;
}
