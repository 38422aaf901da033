// A stand-in for the official JavaScript client, version 2.2.4, over mqtt.js: what that client sends,
// and how it takes the answers, is done here as it does it, faults included. Written from
// observations of its behaviour alone. It runs in Node and, as a script after mqtt.js', in pages.
"use strict";
(function (root) {
const mqtt = root.mqtt ?? require("mqtt");

// A longer delay, and none at all, let setTimeout fire at once.
const LONGEST_DELAY_MS = 2 ** 31 - 1;
const RETRY_DELAY_MS = 5000;
const MAX_RETRIES = 3;

const DESKTOP = {
  protocolVersion: 5, keepalive: 60, connectTimeout: 30000, reconnectPeriod: 5000, maxReconnectAttempts: 50,
  postConnectDelay: 0, resubscribeDelay: 100, subscribeQos: 1, publishQos: 0, maxQueued: 1000,
};
const PRESETS = {
  desktop: DESKTOP,
  mobile: { ...DESKTOP, protocolVersion: 4, reconnectPeriod: 10000, postConnectDelay: 500, resubscribeDelay: 200, publishQos: 1, maxQueued: 500 },
  server: { ...DESKTOP, keepalive: 30, connectTimeout: 10000, reconnectPeriod: 1000, maxReconnectAttempts: 0, resubscribeDelay: 0, publishQos: 1, maxQueued: 10000 },
};

// Authentication is told from everything else by mqtt.js' English.
const AUTH_ERRORS = ["Not authorized", "Bad User Name or Password", "Connection refused: Bad username or password"];

// A wall clock that runs `speed` times as fast as the machine's since the instant `origin` (milliseconds).
class Clock {
  constructor(origin = 0, speed = 1) {
    Object.assign(this, { origin, speed });
  }
  now() {
    return this.origin + (Date.now() - this.origin) * this.speed;
  }
  after(delay, call) {
    const fits = delay <= LONGEST_DELAY_MS;
    return setTimeout(call, fits ? delay / this.speed : 0);
  }
}

class ServiceError extends Error {
  constructor(message, type, status) {
    super(message);
    Object.assign(this, { type, status });
  }
}

function errorType(status, code) {
  if (status === 401) return code === "token_expired" ? "TOKEN_EXPIRED" : "AUTH_FAILED";
  if (status === 404) return code === "provider_not_found" ? "PROVIDER_NOT_FOUND" : "ORG_NOT_FOUND";
  return status === 429 ? "RATE_LIMITED" : "INVALID_RESPONSE";
}

// Holds the newest token and refreshes it when the service said so.
class Tokens {
  constructor(url, clock, tell) {
    Object.assign(this, { url, clock, tell, newest: null, state: "none", isRefreshing: false, retries: 0 });
  }

  async get(fields) {
    const { organizationId: organization_id, integrationId: integration_id } = fields;
    const token = fields.externalToken || fields.idToken;
    if (!token && !(fields.secretKey && fields.userEmail)) {
      throw new Error("Either externalToken or (secretKey + userEmail) required");
    }
    const create = { organization_id, secret_key: fields.secretKey, user_email: fields.userEmail, replace_existing: true, integration_id };
    try {
      this.store(token
        ? await this.post("/v2/tokens/exchange", { organization_id, token, integration_id })
        : await this.post("/v2/tokens/create", create));
    } catch (error) {
      this.state = "error";
      this.tell("tokenError", { type: error.type, message: error.message });
      throw error;
    }
  }

  async post(path, body) {
    let answer, told;
    try {
      const request = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
      answer = await fetch(this.url + path, request);
      told = await answer.json();
    } catch (error) {
      throw new ServiceError(`Network error: ${error.message}`, "NETWORK_ERROR");
    }
    if (answer.ok) return told;
    const message = told.error_description || told.detail || "Request failed";
    throw new ServiceError(message, errorType(answer.status, told.error), answer.status);
  }

  store(answer) {
    this.newest = {
      tokenId: answer.token_id,
      accessToken: answer.access_token,
      mqttCredentials: answer.mqtt_credentials,
      expiresAt: new Date(answer.expires_at),
      refreshRecommendedAt: new Date(answer.refresh_recommended_at),
    };
    this.state = "valid";
    this.arm();
  }

  arm() {
    clearTimeout(this.timer);
    const delay = this.newest.refreshRecommendedAt - this.clock.now();
    if (delay <= 0) return void this.refreshToken(); // inside a refresh this does nothing, and nothing follows
    this.timer = this.clock.after(delay, () => {
      this.state = "expiring";
      this.tell("tokenExpiring", { seconds: this.secondsLeft() });
      this.refreshToken();
    });
  }

  async refreshToken() {
    if (this.isRefreshing) return;
    this.isRefreshing = true;
    const { tokenId: token_id, accessToken: current_token_password } = this.newest;
    try {
      this.store(await this.post("/v2/tokens/refresh", { token_id, current_token_password }));
      this.retries = 0;
      this.tell("tokenRefreshed", { tokenId: this.newest.tokenId });
    } catch (error) {
      this.failed(error);
    } finally {
      this.isRefreshing = false;
    }
  }

  failed(error) {
    if (this.retries < MAX_RETRIES) {
      this.retries += 1;
      this.clock.after(RETRY_DELAY_MS, () => this.refreshToken());
    } else {
      this.state = "error";
      this.tell("tokenError", { type: "REFRESH_FAILED", cause: error.type, message: error.message });
    }
  }

  secondsLeft() {
    return (this.newest.expiresAt - this.clock.now()) / 1000;
  }

  credentials() {
    return this.secondsLeft() > 0 ? this.newest.mqttCredentials : null;
  }

  stop() {
    clearTimeout(this.timer);
  }
}

class OfficialClient {
  // `tell(event, about)` is all of its callbacks in one.
  constructor({ preset = "desktop", tokenServiceUrl = null, clock = new Clock(), tell, ...options }) {
    this.options = { ...PRESETS[preset], ...options };
    this.clock = clock;
    this.tell = tell;
    this.tokens = tokenServiceUrl && new Tokens(tokenServiceUrl, clock, tell);
    this.subscribed = new Map();
    this.queue = [];
    this.attempts = 0;
  }

  async connectWithToken(config) {
    if (!this.tokens) throw new Error("Token service URL not configured");
    await this.tokens.get(config);
    const { username, password } = this.tokens.credentials();
    const { host, clientId, willTopic, willMessage } = config;
    await this.connect({ host, username, password, clientId, willTopic, willMessage });
    return { ...this.tokens.newest, state: this.tokens.state, clientId: this.clientId };
  }

  connect(config) {
    const { host, username, password, willTopic, willMessage } = config;
    const { protocolVersion, keepalive, connectTimeout, reconnectPeriod } = this.options;
    this.config = config; // for ever: what is refreshed later never comes here
    this.clientId = config.clientId ?? "cs_" + Math.random().toString(36).slice(2, 10);
    const link = mqtt.connect(host, {
      protocolVersion, keepalive, connectTimeout, username, password,
      clientId: this.clientId,
      clean: false,
      reconnectPeriod: reconnectPeriod / this.clock.speed,
      reconnectOnConnackError: true, // mqtt.js of that client's time knew nothing else
      ...(willTopic && willMessage && { will: { topic: willTopic, payload: willMessage, qos: 1 } }),
    });
    this.link = link;
    link.on("message", (topic, payload, packet) => this.tell("message", { topic, payload: payload.toString(), dup: packet.dup }));
    link.on("offline", () => this.tell("offline"));
    link.on("disconnect", (packet) => this.tell("disconnect", { code: packet.reasonCode }));
    link.on("reconnect", () => this.reconnecting(link));
    return new Promise((resolve, reject) => {
      link.on("connect", (packet) => {
        this.online(packet);
        this.clock.after(this.options.postConnectDelay, resolve);
      });
      link.on("error", (error) => reject(this.refused(link, error)));
    });
  }

  online({ sessionPresent }) {
    this.attempts = 0;
    this.tell("online", { sessionPresent });
    const topics = [...this.subscribed];
    this.subscribed.clear();
    topics.forEach(([topic, qos], place) => {
      this.clock.after(place * this.options.resubscribeDelay, () => this.subscribe(topic, qos).catch(() => {}));
    });
    for (const [topic, payload, qos] of this.queue.splice(0)) this.transmit(topic, payload, qos).catch(() => {});
  }

  refused(link, error) {
    this.tell("refused", { message: error.message });
    if (!AUTH_ERRORS.some((text) => error.message.includes(text))) return error;
    link.end(true);
    this.tell("authError", { message: error.message });
    return new Error("Authentication failed: incorrect username or password");
  }

  reconnecting(link) {
    this.attempts += 1;
    this.tell("reconnecting", { attempt: this.attempts });
    if (this.attempts === this.options.maxReconnectAttempts) link.end(true);
  }

  subscribe(topic, qos = this.options.subscribeQos) {
    return new Promise((resolve, reject) => {
      this.link.subscribe(topic, { qos }, (error) => {
        if (error) return reject(error);
        this.subscribed.set(topic, qos);
        resolve();
      });
    });
  }

  // Whether it was acknowledged; what is queued resolves at once.
  transmit(topic, payload, qos = this.options.publishQos) {
    if (!this.link.connected) {
      if (this.queue.length === this.options.maxQueued) this.queue.shift();
      this.queue.push([topic, payload, qos]);
      return Promise.resolve(false);
    }
    return new Promise((resolve, reject) => {
      this.link.publish(topic, payload, { qos }, (error) => (error ? reject(error) : resolve(true)));
    });
  }

  refreshToken() {
    return this.tokens.refreshToken();
  }

  forceReconnect() {
    this.link.end(true);
    return this.connect(this.config);
  }

  // The refresh timer goes on.
  disconnect() {
    return this.link.endAsync();
  }

  destroy() {
    this.tokens?.stop();
    this.link?.end(true);
  }
}

root.official = { Clock, OfficialClient, Tokens };
if (typeof module === "object") module.exports = root.official;
})(globalThis);
