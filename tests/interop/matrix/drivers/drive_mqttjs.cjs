// Drives mqtt.js. Requests and answers are those of requests_on_stdin.py.
"use strict";
const fs = require("fs");
const readline = require("readline");
const mqtt = require("mqtt");

const clients = new Map();
const tell = (as, what) => process.stdout.write(JSON.stringify({ as, ...what }) + "\n");

function options(wanted) {
  const is5 = wanted.version === 5;
  const [topic, payload] = wanted.will ?? [];
  const authority = wanted.authority && fs.readFileSync(wanted.authority);
  return {
    protocolVersion: wanted.version,
    clientId: wanted.client_id,
    username: wanted.username,
    password: wanted.password,
    clean: wanted.clean,
    reconnectPeriod: 0,
    ...(authority && { ca: authority, wsOptions: { ca: authority } }),
    ...(is5 && { properties: { sessionExpiryInterval: wanted.expiry } }),
    ...(wanted.will && { will: { topic, payload, qos: 1 } }),
  };
}

function connect(as, wanted) {
  const scheme = (wanted.is_websocket ? "ws" : "mqtt") + (wanted.authority ? "s" : "");
  // A name, for Node sends no IP address in the handshake of TLS.
  const host = wanted.authority ? "localhost" : wanted.host;
  const url = `${scheme}://${host}:${wanted.port}${wanted.is_websocket ? "/mqtt" : ""}`;
  return new Promise((resolve, reject) => {
    const client = mqtt.connect(url, options(wanted));
    client.on("message", (topic, payload, packet) => {
      tell(as, { message: { topic, payload: payload.toString("base64"), qos: packet.qos, retain: packet.retain } });
    });
    client.once("connect", async (connack) => {
      clients.set(as, client);
      const [topicFilter, qos] = wanted.subscribe ?? [];
      const granted = topicFilter && (await client.subscribeAsync(topicFilter, { qos }))[0].qos;
      resolve({ code: 0, session_present: connack.sessionPresent, granted: granted ?? null });
    });
    client.on("error", (error) => (error.code > 0 ? resolve({ code: error.code }) : reject(error)));
  });
}

async function perform(request) {
  const client = clients.get(request.as);
  switch (request.do) {
    case "connect":
      return connect(request.as, request);
    case "publish":
      await client.publishAsync(request.topic, Buffer.from(request.payload, "base64"), { qos: request.qos, retain: request.retain });
      return null;
    case "disconnect":
      clients.delete(request.as);
      await client.endAsync();
      return null;
  }
}

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const request = JSON.parse(line);
    try {
      tell(request.as, { answer: await perform(request) });
    } catch (error) {
      tell(request.as, { failed: error.stack });
    }
  }
  process.exit(0);
}

main();
