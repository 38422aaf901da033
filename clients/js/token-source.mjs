// Tokens for plain mqtt.js, in browsers and Node: fetches and renews them in time, reconnects with the newest
// and never with one that is past or refused, shows a token of a new family to the broker. Needs nothing else.
//   const source = new TokenSource({ tokenServiceUrl, organizationId, externalToken });  // or { getToken }
//   await source.start();
//   source.attach(mqtt.connect(url, { ...source.credentials, protocolVersion: 5, manualConnect: true }));
// getToken asks your backend for the answer of POST /v2/tokens, each time. Events: refreshed, error, ended.
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const backoff = (failures) => Math.random() * Math.min(60_000, 1000 * 2 ** failures);

export class TokenError extends Error { // status, isFinal, retryAfterMs
  constructor(message, told) { Object.assign(super(message), { name: "TokenError", isFinal: false, retryAfterMs: 0 }, told); }
}
export class TokenSource extends EventTarget {
  token; #options; #clients = new Set(); #timer; #renewing; #wall = 0; #mono = 0; #dueAt = Infinity; #endsAt = 0; #failures = 0;
  constructor(options) { super(); this.#options = options; }
  /** Username and password of the newest token, as mqtt.js names them. */
  get credentials() { return { ...this.token.mqtt_credentials }; }
  get isPast() { return this.#elapsed >= this.#endsAt - 2000; }
  /** Since the newest token came, ms: one clock may stand still while a machine sleeps, the other may be set. */
  get #elapsed() { return Math.max(Date.now() - this.#wall, performance.now() - this.#mono); }
  /** Get the first token, and renew from then on until stop(). Throws TokenError. */
  async start() { await this.renew(); this.#wait(); return this.token; }
  stop() { clearTimeout(this.#timer); this.#timer = undefined; this.#clients.clear(); }
  /** Renew now; all who ask meanwhile share it. Throws TokenError. */
  renew() { return (this.#renewing ??= this.#renew().finally(() => { this.#renewing = undefined; })); }
  /** Keep a client of mqtt.js connected; its reconnecting is done here from now on. */
  attach(client) {
    let refusals = 0, tries = 0, stale = false, held;
    this.#clients.add(client); client.options.reconnectPeriod = 0;
    client.on("connect", () => { held = setTimeout(() => { refusals = tries = 0; }, 30_000); });
    client.on("error", ({ code }) => { if ([4, 5, 0x86, 0x87].includes(code)) { stale = true; refusals++; } });
    client.on("disconnect", ({ reasonCode: code }) => { if ([0x87, 0xa0].includes(code)) { stale = true; refusals += code === 0x87; } });
    client.on("close", async () => {
      clearTimeout(held);
      const isOver = () => client.disconnecting || !this.#clients.has(client);
      if (isOver()) return;
      await sleep(stale && !tries ? 0 : backoff(tries)); tries++;
      while (!isOver() && (stale || this.isPast)) {
        if (refusals > 1) return this.#end(client, new TokenError("the broker refuses a fresh token too", { isFinal: true }));
        try { await this.renew(); stale = false; } catch (error) {
          if (error.isFinal) return this.#end(client, error);
          await sleep(error.retryAfterMs + backoff(tries++));
        }
      }
      if (!isOver()) this.#reconnect(client);
    });
    client.connect();
  }
  #reconnect(client) { // With its own stores: without them mqtt.js forgets what is not acknowledged yet.
    Object.assign(client.options, this.credentials);
    client.reconnect({ incomingStore: client.incomingStore, outgoingStore: client.outgoingStore });
  }
  #end(client, detail) { client.end(true); this.#clients.delete(client); this.#tell("ended", detail); }
  #tell(name, detail) { this.dispatchEvent(new CustomEvent(name, { detail })); }

  async #renew() {
    const before = this.token;
    try { this.#take(await this.#next(before)); } catch (error) {
      this.#dueAt = error.isFinal ? Infinity : this.#elapsed + (error.retryAfterMs ?? 0) + backoff(this.#failures++);
      this.#tell("error", error);
      throw error instanceof TokenError ? error : new TokenError(`no token: ${error.message}`);
    }
    // A refresh moves connections by itself; a token of a new family is shown to the broker, or connected with.
    for (const client of before && before.token_id !== this.token.token_id ? this.#clients : [])
      if (client.connected) client.publish("$auth/token", this.credentials.password, { qos: 1 }, (error) => error && this.#reconnect(client));
    if (before) this.#tell("refreshed", this.token);
  }
  async #next(before) {
    const { getToken, organizationId, externalToken } = this.#options;
    if (getToken) return await getToken();
    try {
      if (before) return await this.#post("refresh", { token_id: before.token_id, current_token_password: before.access_token });
    } catch (error) { if (!error.isFinal) throw error; }
    return this.#post("exchange", { organization_id: organizationId, token: externalToken });
  }
  async #post(call, body) {
    const answer = await fetch(`${this.#options.tokenServiceUrl.replace(/\/$/, "")}/v2/tokens/${call}`,
      { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), signal: AbortSignal.timeout(10_000) });
    const told = await answer.json().catch(() => ({})), { status } = answer;
    if (answer.ok && told.access_token) return told;
    throw new TokenError(told.detail ?? `the token service answered ${status}`, { status,
      isFinal: status >= 400 && status < 500 && ![408, 429].includes(status), retryAfterMs: 1000 * (Number(answer.headers.get("Retry-After")) || 0) });
  }
  #take(token) { // The service's dates are compared with each other only: our own clock may be wrong.
    const left = 1000 * token?.expires_in, { username, password } = token?.mqtt_credentials ?? {};
    if (!(left > 0 && username && password)) throw new TokenError("that is no answer of POST /v2/tokens");
    if (password === this.token?.mqtt_credentials.password) throw new TokenError("the same token is given again");
    const early = Date.parse(token.expires_at) - Date.parse(token.refresh_recommended_at);
    this.token = token; [this.#failures, this.#wall, this.#mono, this.#endsAt] = [0, Date.now(), performance.now(), left];
    this.#dueAt = Math.max(Math.min(left - (early || 0), 0.9 * left) - Math.random() * 0.05 * left, Math.min(5000, left / 2), 1000);
  }
  #wait() { // Timers stand still while a machine sleeps, so the clocks are looked at every half minute.
    const timer = this.#timer = setTimeout(async () => {
      if (this.#elapsed >= this.#dueAt) await this.renew().catch(() => {});
      if (this.#timer === timer) this.#wait();
    }, Math.min(Math.max(this.#dueAt - this.#elapsed, 0), 30_000));
  }
}
