// @ts-check
// Answers on their way to the server. Each has a place of its own in localStorage, so windows share
// the outbox without overwriting each other, and a reload or a new login in between loses nothing.
// Any window may send any entry, even twice: the server ignores repeated requests.

/** @typedef {{key: string, path: string, body: Record<string, any>}} Entry */
/** @typedef {"empty" | "sent" | "retry" | "login" | "reload"} Outcome */

const RETRY = [408, 425, 429]; // and 500 or more

export function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");
}

/** Let one window at a time do something, where browsers have locks. @template T @param {string} name @param {() => Promise<T>} work */
export const oneWindow = (name, work) => (navigator.locks ? navigator.locks.request(name, work) : work());

export class Outbox {
  /**
   * @param {string} name of the person and the queue
   * @param {Storage} storage
   * @param {(path: string, body: object) => Promise<Response>} post
   * @param {(ms: number) => Promise<unknown>} pause
   * @param {() => void} changed called when something was added, sent or rejected
   */
  constructor(name, storage, post, pause, changed) {
    this.name = name;
    this.storage = storage;
    this.post = post;
    this.pause = pause;
    this.changed = changed;
    this.isOnline = true;
    this.added = 0; // entries of one millisecond stay in their order
    this.sending = /** @type {Promise<Outcome> | null} */ (null);
  }

  /** Add a request; returns its client key. @param {string} path @param {object} body */
  add(path, body) {
    const client_key = newKey();
    const order = `${String(Date.now()).padStart(15, "0")}-${String(this.added++).padStart(6, "0")}`;
    this.storage.setItem(`${this.name}/outbox/${order}-${client_key}`, JSON.stringify({ path, body: { client_key, ...body } }));
    this.changed();
    return client_key;
  }

  /** The requests that are not sent yet, oldest first. */
  waiting() {
    return this._entries("outbox");
  }

  /** The requests that the server will never take, each with its reason. */
  rejected() {
    return this._entries("rejected");
  }

  /** Forget the requests that the server will never take. */
  dismiss() {
    for (const { key } of this.rejected()) this.storage.removeItem(key);
    this.changed();
  }

  /** Send everything in order; resolves to why it ended: the outbox is empty, or the page must be left. */
  drain() {
    this.sending ??= this._sendAll().finally(() => (this.sending = null));
    return this.sending;
  }

  async _sendAll() {
    for (let wait = 500; ; ) {
      const outcome = await oneWindow(`${this.name}/outbox`, () => this._sendFirst());
      this.isOnline = outcome !== "retry";
      this.changed();
      if (outcome === "retry") {
        await this.pause(wait);
        wait = Math.min(2 * wait, 15_000);
      } else if (outcome === "sent") wait = 500;
      else return outcome;
    }
  }

  /** @returns {Promise<Outcome>} */
  async _sendFirst() {
    const [first] = this.waiting();
    if (!first) return "empty";
    const response = await this.post(first.path, first.body).catch(() => null);
    if (!response || response.status >= 500 || RETRY.includes(response.status)) return "retry";
    if (response.status === 401) return "login";
    if (response.headers.get("x-session") === "old") return "reload";
    if (!response.ok) {
      const content = await response.json().catch(() => null);
      const reason = content?.detail ?? `The server rejected it (${response.status}).`;
      this.storage.setItem(first.key.replace("/outbox/", "/rejected/"), JSON.stringify({ ...first, reason }));
    }
    this.storage.removeItem(first.key);
    return "sent";
  }

  /** @param {"outbox" | "rejected"} place @returns {(Entry & {reason?: string})[]} */
  _entries(place) {
    const start = `${this.name}/${place}/`;
    return Object.keys(this.storage)
      .filter((key) => key.startsWith(start))
      .sort()
      .flatMap((key) => {
        const stored = this.storage.getItem(key); // another window may have removed it
        return stored === null ? [] : [{ ...JSON.parse(stored), key }];
      });
  }
}
