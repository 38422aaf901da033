// Follows a plan with mqtt.js and tells what happened, one JSON object a line.
// The plan comes on stdin: {url, options, steps: [{subscribe} | {publish, payload, qos} | {receive: count} | {ended: true}]}
"use strict";
const fs = require("fs");
const mqtt = require("mqtt");

const plan = JSON.parse(fs.readFileSync(0, "utf8"));
const tell = (event, rest) => console.log(JSON.stringify({ event, ...rest }));
const client = mqtt.connect(plan.url, { reconnectPeriod: 0, connectTimeout: 15000, ...plan.options });
const code = (packet) => packet.reasonCode ?? packet.returnCode ?? 0;
const messages = [];
let wanted = null;

const once = (name) => new Promise((resolve) => client.once(name, resolve));
const ended = once("close");

client.on("error", (error) => tell("error", { code: error.code ?? null, message: error.message }));
client.on("disconnect", (packet) => tell("disconnect", { code: packet.reasonCode, reason: packet.properties?.reasonString }));
client.on("message", (topic, payload, packet) => {
  messages.push({ topic, payload: payload.toString(), properties: packet.properties ?? {} });
  if (wanted && messages.length >= wanted.count) wanted.resolve();
});

async function follow(step) {
  if (step.subscribe) {
    const granted = await new Promise((resolve) => {
      client.subscribe(step.subscribe, { qos: 1 }, (error, list, packet) => resolve({ error: error?.message, codes: packet?.granted }));
    });
    tell("subscribe", granted);
  } else if (step.publish) {
    const answer = await new Promise((resolve) => {
      client.publish(step.publish, step.payload, { qos: step.qos ?? 1, properties: step.properties }, (error, packet) =>
        resolve({ code: error?.code ?? packet?.reasonCode ?? 0 }));
    });
    tell("publish", answer);
  } else if (step.receive) {
    if (messages.length < step.receive) {
      await new Promise((resolve) => { wanted = { count: step.receive, resolve }; });
    }
    for (const message of messages) tell("message", message);
  } else if (step.ended) {
    await ended;
    tell("ended", { at: Date.now() / 1000 });
  }
}

async function main() {
  const connack = await Promise.race([once("connect"), ended]);
  if (!connack) return;
  tell("connect", { code: code(connack) });
  for (const step of plan.steps) await follow(step);
  client.end(true);
}

main();
