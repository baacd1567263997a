/** Connects with the permissions it is given, and prints why it cannot; run by advice_test.ts and unix_test.ts: `denied.ts <address>`. */
import process from "node:process";
import { modes } from "./modes.ts";

const [address = ""] = process.argv.slice(2);
for (const [mode, open] of modes) {
  await open(address, undefined, { timeout: 5000 }).catch(({ code, message }) => {
    process.stdout.write(`${mode}: ${code}: ${message}\n`);
  });
}
process.exit(0);
