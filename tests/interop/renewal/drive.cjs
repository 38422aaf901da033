// Holds clients and does what lines on stdin ask, one JSON object each: {as, do: "open", options, origin,
// speed} makes a stand-in for the official client, {as, do: "open", kind: "auth"} one that renews by AUTH;
// any other `do` is a call of it with `with`, a list.
// Answers are {as, answer} or {as, failed}; what a client tells meanwhile is {as, event, ...}.
"use strict";
const readline = require("readline");
const { AuthClient } = require("./auth_client.cjs");
const { Clock, OfficialClient } = require("./client.cjs");

const clients = new Map();
const write = (as, what) => process.stdout.write(JSON.stringify({ as, ...what }) + "\n");

function open({ as, kind, options, origin, speed }) {
  const tell = (event, about) => write(as, { event, ...about });
  if (kind === "auth") return new AuthClient({ tell });
  return new OfficialClient({ ...options, clock: new Clock(origin, speed), tell });
}

async function perform(request) {
  const { as, do: verb, with: words } = request;
  if (verb !== "open") return clients.get(as)[verb](...words);
  clients.set(as, open(request));
}

readline.createInterface({ input: process.stdin }).on("line", async (line) => {
  const request = JSON.parse(line);
  try {
    write(request.as, { answer: (await perform(request)) ?? null });
  } catch ({ message, type = null, status = null }) {
    write(request.as, { failed: { message, type, status } });
  }
}).on("close", () => process.exit(0));
