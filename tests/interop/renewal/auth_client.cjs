// A client of MQTT 5 over mqtt.js that connects by an authentication method, and renews by AUTH 0x19.
"use strict";
const mqtt = require("mqtt");

const authenticationMethod = "JWT";
const RE_AUTHENTICATE = 0x19;

class AuthClient {
  constructor({ tell }) {
    this.tell = tell;
  }

  // Resolves with the code of CONNACK.
  connect({ host, token, clientId }) {
    const properties = { authenticationMethod, authenticationData: Buffer.from(token) };
    const link = mqtt.connect(host, { protocolVersion: 5, clientId, properties, reconnectPeriod: 0 });
    this.link = link;
    link.on("disconnect", ({ reasonCode: code }) => this.tell("disconnect", { code }));
    link.on("message", (topic, payload) => this.tell("message", { topic, payload: payload.toString() }));
    return new Promise((resolve) => {
      link.on("connect", () => resolve(0));
      link.on("error", ({ code }) => resolve(code));
    });
  }

  subscribe(topic) {
    return this.link.subscribeAsync(topic, { qos: 1 });
  }

  publish(topic, payload) {
    return this.link.publishAsync(topic, payload, { qos: 1 });
  }

  // Resolves with the code of the broker's AUTH.
  renew(token) {
    const properties = { authenticationMethod, authenticationData: Buffer.from(token) };
    const answered = new Promise((resolve) => {
      this.link.handleAuth = (packet, done) => {
        resolve(packet.reasonCode);
        done(null);
      };
    });
    this.link._sendPacket({ cmd: "auth", reasonCode: RE_AUTHENTICATE, properties });
    return answered;
  }
}

module.exports = { AuthClient };
