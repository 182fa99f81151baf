// Random windows, requests and failures against the outbox; returns what went wrong, by seed.
async ({url, seeds}) => {
  const { Outbox } = await import(url);
  const failures = [];
  for (let seed = 1; seed <= seeds; seed++) {
    let state = seed * 2654435761 % 2147483647;
    const random = (n) => ((state = state * 48271 % 2147483647) % n);

    // What the server does: it keeps each client key once, and refuses what it is told to.
    const server = { stored: [], refused: new Set(), mode: "up" };
    const reply = (status, headers = {}) => new Response(status === 204 ? null : "{}", { status, headers });
    const post = async (path, body) => {
      const mode = server.mode === "up" && random(4) === 0 ? ["lost", "down", "busy"][random(3)] : server.mode;
      if (mode === "down") throw new TypeError("no connection");
      if (mode === "busy") return reply(503);
      if (mode === "out") return reply(401);
      if (mode === "stale") return reply(403, { "x-session": "old" });
      if (body.refuse) return server.refused.add(body.client_key), reply(409);
      if (!server.stored.some((each) => each.client_key === body.client_key)) server.stored.push(body);
      if (mode === "lost") throw new TypeError("the answer got lost");
      return reply(200);
    };

    const memory = {};
    const storage = Object.defineProperties(memory, Object.fromEntries(Object.entries({
      getItem: (key) => memory[key] ?? null,
      setItem: (key, value) => void (memory[key] = value),
      removeItem: (key) => void delete memory[key],
    }).map(([name, value]) => [name, { value, enumerable: false }])));
    const open = () => new Outbox(`person ${seed}`, storage, post, () => Promise.resolve(), () => {});
    let windows = [open(), open()];
    const ids = new Map();
    const idOf = (window) => ids.get(window) ?? (ids.set(window, ids.size), ids.size - 1);
    const given = new Map();
    for (let step = 0; step < 25; step++) {
      const window = windows[random(windows.length)];
      const what = random(8);
      if (what < 4) {
        const refuse = random(6) === 0;
        given.set(window.add("answers", { n: step, by: idOf(window), refuse }), refuse);
      } else if (what === 4) windows = [...windows.slice(1), open()]; // one is closed, another opened
      else if (what === 5) server.mode = ["out", "stale"][random(2)];
      else if (what === 6) server.mode = "up";
      if (server.mode === "up" && random(2)) await Promise.all(windows.map((each) => each.drain()));
      else if (server.mode !== "up") await window.drain();
    }
    server.mode = "up";
    const ends = await Promise.all(windows.map((each) => each.drain()));
    const stored = server.stored.map((each) => each.client_key);
    const meant = [...given].filter(([, refuse]) => !refuse).map(([key]) => key);
    const rejected = open().rejected().map((each) => each.body.client_key).sort();
    const turnedDown = [...given].filter(([, refuse]) => refuse).map(([key]) => key).sort();
    if (ends.some((each) => each !== "empty") || open().waiting().length) failures.push([seed, "left", ends]);
    if (stored.length !== meant.length || meant.some((key) => !stored.includes(key))) failures.push([seed, "stored"]);
    if (`${rejected}` !== `${turnedDown}`) failures.push([seed, "rejected"]);
    for (const id of ids.values()) { // windows add at the same millisecond: each has an order of its own
      const order = server.stored.filter((each) => each.by === id).map((each) => each.n);
      if (order.some((n, i) => i && n < order[i - 1])) failures.push([seed, "order", order]);
    }
  }
  return failures;
}
