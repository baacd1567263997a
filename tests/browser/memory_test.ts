import { test } from "node:test";
import { assert } from "@std/assert";
import { needs } from "../support/process.ts";
import { runtime } from "../support/spawn.ts";
import { runPage } from "./memory.ts";

if (runtime === "deno") {
  test(
    "page: 1,000 messages a second for 20 seconds leave its memory flat, and none is lost",
    needs("chromium", "mosquitto"),
    async () => {
      const { isFlat } = await runPage({ seconds: 20, rate: 1000, looks: 5 });
      assert(isFlat, "it grows");
    },
  );
}
