// The source without a broker: what it does with answers that are none, and when a machine has slept.
import assert from "node:assert/strict";
import { EventEmitter } from "node:events";

const { TokenSource, TokenError } = await import(process.argv[2]);
Math.random = () => 0;

let number = 0;
const answer = (life = 60) => ({
  token_id: `tok_${++number}`, expires_in: life,
  expires_at: new Date(life * 1000).toISOString(), refresh_recommended_at: new Date(life * 900).toISOString(),
  mqtt_credentials: { username: "alice@org_x", password: `password-${number}` },
});

/** A client of mqtt.js, as far as the source sees it. */
class Line extends EventEmitter {
  options = {}; opened = [];
  connect() { this.opened.push(this.options.password); }
  reconnect() { this.connect(); this.emit("reconnected"); }
  end() { this.disconnecting = true; }
}
const next = (emitter, event) => new Promise((resolve) => emitter.once(event, resolve));

for (const bad of [undefined, null, {}, { error: "unavailable" }, { ...answer(), expires_in: undefined },
  { ...answer(), mqtt_credentials: undefined }, "a.b.c"]) {
  const source = new TokenSource({ getToken: () => bad });
  await assert.rejects(source.start(), TokenError);
  assert.equal(source.token, undefined);
}

{ // An hour of sleep, in which this clock stood still and only the other went on.
  const source = new TokenSource({ getToken: () => answer() }), line = new Line(), { now } = Date;
  await source.start();
  Object.assign(line.options, source.credentials);
  source.attach(line);
  Date.now = () => now() + 3_600_000;
  assert.equal(source.isPast, true);
  line.emit("close");
  await next(line, "reconnected");
  assert.equal(new Set(line.opened).size, 2);
  assert.equal(line.opened[1], source.credentials.password);
  source.stop();
  Date.now = now;
}

{ // A backend that gives again what the broker has refused: nobody connects with it.
  const kept = answer(), source = new TokenSource({ getToken: () => kept }), line = new Line();
  await source.start();
  Object.assign(line.options, source.credentials);
  source.attach(line);
  const told = next({ once: (name, done) => source.addEventListener(name, done, { once: true }) }, "error");
  line.emit("disconnect", { reasonCode: 0x87 });
  line.emit("close");
  assert.match((await told).detail.message, /same token/);
  assert.deepEqual(line.opened, [kept.mqtt_credentials.password]);
  source.stop();
}

{ // Stopped in the midst of a renewal it renews no more: this program ends by itself.
  let asked = 0;
  const source = new TokenSource({ getToken: async () => {
    if (++asked === 2) source.stop();
    return answer(2);
  } });
  await source.start();
  while (asked < 2) await new Promise((resolve) => setTimeout(resolve, 20));
  await new Promise((resolve) => setTimeout(resolve, 0));
}
console.log("good");
