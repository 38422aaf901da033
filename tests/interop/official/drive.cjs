// Holds stand-ins for the official client and does what lines on stdin ask, one JSON object each:
// {as, do: "open", options, origin, speed} makes one, any other `do` is a call of it with `with`, a list.
// Answers are {as, answer} or {as, failed}; what a client tells meanwhile is {as, event, ...}.
"use strict";
const readline = require("readline");
const { Clock, OfficialClient } = require("./client.cjs");

const clients = new Map();
const write = (as, what) => process.stdout.write(JSON.stringify({ as, ...what }) + "\n");

async function perform({ as, do: verb, with: words = [], options, origin, speed }) {
  if (verb !== "open") return clients.get(as)[verb](...words);
  const tell = (event, about) => write(as, { event, ...about });
  clients.set(as, new OfficialClient({ ...options, clock: new Clock(origin, speed), tell }));
}

readline.createInterface({ input: process.stdin }).on("line", async (line) => {
  const request = JSON.parse(line);
  try {
    write(request.as, { answer: (await perform(request)) ?? null });
  } catch ({ message, type = null, status = null }) {
    write(request.as, { failed: { message, type, status } });
  }
}).on("close", () => process.exit(0));
