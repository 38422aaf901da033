// Runs in Node and in a page: gets a token, connects, and tells what happens until it is told to end.
// It answers each message on replyTopic, if there is one.
// plan: {tokenServiceUrl, getTokenUrl?, organizationId?, externalToken?, url, topic, end: n messages}
export async function run(mqtt, TokenSource, plan, tell) {
  const getToken = plan.getTokenUrl && (() => fetch(plan.getTokenUrl, { method: "POST" }).then((answer) => answer.json()));
  const source = new TokenSource({ ...plan, getToken });
  for (const name of ["refreshed", "error", "ended"])
    source.addEventListener(name, ({ detail }) => tell({ event: name, what: detail.message ?? detail.token_id }));
  const first = await source.start();
  tell({ event: "token", what: first.token_id });
  const client = mqtt.connect(plan.url, { ...source.credentials, protocolVersion: 5, manualConnect: true, clean: false,
    clientId: plan.clientId, properties: { sessionExpiryInterval: 300 } });
  client.on("connect", ({ sessionPresent }) => tell({ event: "connected", what: sessionPresent }));
  client.on("close", () => tell({ event: "closed" }));
  let received = 0;
  const done = new Promise((resolve) => client.on("message", async (topic, payload) => {
    tell({ event: "message", what: payload.toString() });
    if (plan.replyTopic) await client.publishAsync(plan.replyTopic, `got ${payload}`, { qos: 1 });
    if (payload.toString() === "renew") source.renew().catch(() => {});
    if (++received === plan.end) resolve();
  }));
  client.on("connect", () => client.subscribe(plan.topic, { qos: 1 }, () => tell({ event: "subscribed" })));
  source.attach(client);
  await Promise.race([done, new Promise((resolve) => source.addEventListener("ended", resolve))]);
  source.stop();
  await client.endAsync(true);
  tell({ event: "done" });
}
