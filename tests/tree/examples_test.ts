/** The examples are short, and say what they show. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { assert, assertGreater, assertLess, assertStringIncludes } from "@std/assert";

const folder = join(import.meta.dirname!, "..", "..", "examples");

test("each example has fewer than 40 lines, and says at the top what it shows and how it is run", () => {
  const files = readdirSync(folder).filter((file) => file.endsWith(".ts") && file !== "demo.ts");
  assertGreater(files.length, 4);
  for (const file of files) {
    const source = readFileSync(join(folder, file), "utf8");
    assertLess(source.trimEnd().split("\n").length, 40, file);
    assert(source.startsWith("// "), file);
    // The module of worker.ts is no program.
    if (file !== "worker_onpub.ts") {
      assertStringIncludes(source.split("\nimport")[0]!, `//     deno run -A examples/${file}`);
    }
  }
});
