/**
 * `main.ts [--minutes 60] [--rate 1000] [--hidden] [--restarts 0]`: a page in Chromium under load, for so long, with `--hidden`
 * in the background; ends with 1 when its memory grows.
 */
import process from "node:process";
import { parseArgs } from "node:util";
import { runPage } from "./memory.ts";

const { values: { minutes, rate, hidden, restarts } } = parseArgs({
  options: {
    ...{ minutes: { type: "string", default: "60" }, rate: { type: "string", default: "1000" } },
    ...{ hidden: { type: "boolean", default: false }, restarts: { type: "string", default: "0" } },
  },
});
const load = { seconds: Number(minutes) * 60, rate: Number(rate), looks: 20, hidden, restarts: Number(restarts) };
const { isFlat, returns } = await runPage(load, ({ heap, received, published, rings }) => {
  const timers = rings === undefined ? "" : `, timers rang ${rings} times in a minute`;
  console.log(`${(heap / 1e6).toFixed(2)} MB, ${received} received, ${published} published${timers}`);
});
for (const time of returns) console.log(`connected ${(time / 1000).toFixed(1)} s after the broker was started again`);
console.log(isFlat ? "flat" : "GROWN");
process.exitCode = isFlat ? 0 : 1;
