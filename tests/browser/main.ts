/** `main.ts [--minutes 60] [--rate 1000]`: a page in Chromium under load, for so long; ends with 1 when its memory grows. */
import process from "node:process";
import { parseArgs } from "node:util";
import { runPage } from "./memory.ts";

const { values } = parseArgs({
  options: { minutes: { type: "string", default: "60" }, rate: { type: "string", default: "1000" } },
});
const seconds = Number(values.minutes) * 60;
const { isFlat } = await runPage({ seconds, rate: Number(values.rate), looks: 20 }, ({ heap, received, published }) => {
  console.log(`${(heap / 1e6).toFixed(2)} MB, ${received} received, ${published} published`);
});
console.log(isFlat ? "flat" : "GROWN");
process.exitCode = isFlat ? 0 : 1;
