import { test } from "node:test";
import { assertMatch } from "@std/assert";
import { needs } from "../support/process.ts";
import { Random } from "../support/random.ts";
import { faults, round, swapCertificate } from "./faults.ts";

for (const name of Object.keys(faults)) {
  test(
    `faults: mosquitto is ${name}: every message arrives or goes with its connection`,
    needs("mosquitto"),
    async () => {
      assertMatch(await round(name, new Random(1)), /^\d+ messages: \d+ arrived, \d+ lost with \d+ connections$/);
    },
  );
}

test(
  "faults: mosquitto comes back with another certificate and gets no credentials",
  needs("mosquitto", "openssl"),
  swapCertificate,
);
