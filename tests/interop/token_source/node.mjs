import fs from "node:fs";
import { createRequire } from "node:module";
import { run } from "./page.mjs";

const mqtt = createRequire(`${process.env.NODE_PATH}/`)("mqtt");
const plan = JSON.parse(fs.readFileSync(0, "utf8"));
const { TokenSource } = await import(plan.source);
await run(mqtt, TokenSource, plan, (what) => console.log(JSON.stringify(what)));
