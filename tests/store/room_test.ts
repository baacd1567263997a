/** A disk that is full, and memory that is bounded. */
import { appendFileSync, mkdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { assertEquals, assertLess, assertMatch, assertStringIncludes, assertThrows } from "@std/assert";
import { MqttError } from "../../mod.ts";
import { run } from "../support/process.ts";
import { command, runScript } from "../support/spawn.ts";
import { bytes, filesIn, inFolder, numbers, read, write } from "./support.ts";

const child = "tests/store/child.ts";
const isWindows = process.platform === "win32";

/**
 * Gives `use` a folder of 1 MiB with 400 KiB of something else in it. Not every user can mount one, and then nothing is done:
 * the tests with a file that may not grow are for everybody.
 */
async function inSmallFolder(use: (folder: string) => void | Promise<void>): Promise<void> {
  await inFolder(async (folder) => {
    const small = join(folder, "small");
    mkdirSync(small);
    if (process.platform !== "linux") return;
    const { code } = await run("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", small]);
    if (code !== 0) return;
    try {
      writeFileSync(join(small, "ballast"), new Uint8Array(400 * 1024));
      await use(small);
    } finally {
      assertEquals((await run("umount", [small])).code, 0);
    }
  });
}

for (const more of ["os", "os blocking", "disk", "disk blocking"]) {
  test(`store: a full disk rejects, loses nothing that was, and goes on when there is room (${more})`, async () => {
    await inSmallFolder(async (folder) => {
      const path = join(folder, "store");
      const { code, stdout, stderr } = await runScript(child, ["full", path, more]);
      assertEquals([code, stderr], [0, ""]);
      const [failed, message, again, replaced, read] = stdout.split("\n");
      assertEquals(failed, "store true", "the file is as it was");
      assertStringIncludes(
        message!,
        `Cannot keep this in the store ${path}, which has all that it kept before: `,
      );
      assertMatch(message!, /ENOSPC|os error 28/);
      assertEquals([again, replaced, read], ["again: store", "replaced: store false", "read: true "]);
    });
  });

  const limited = `store: a file that may not grow rejects, and is made smaller by a replacement (${more})`;
  test(limited, { skip: isWindows }, () =>
    inFolder(async (folder) => {
      const path = join(folder, "store");
      const [program, args] = command(child, ["full", path, more]);
      // 1 MiB, in blocks of 512 bytes; the signal that comes with the error would end the process.
      const script = `trap "" XFSZ; ulimit -f 2048; exec "$0" "$@"`;
      const { code, stdout, stderr } = await run("sh", ["-c", script, program, ...args]);
      assertEquals([code, stderr], [0, ""]);
      const [failed, message, again, replaced, read] = stdout.split("\n");
      assertEquals(failed, "store true");
      assertMatch(message!, /EFBIG|os error 27/);
      assertEquals([again, replaced, read], ["again: store", "replaced: done", "read: true "]);
      assertLess(statSync(path).size, 100_000);
    }));
}

test("store: a damaged one on a full disk is read, goes on as it is, and is mended when there is room", async () => {
  await inSmallFolder((folder) => {
    const path = join(folder, "store"), ballast = join(folder, "ballast");
    const records = numbers(1, 100).map((number) => number.padEnd(4000));
    write(path, records.map(bytes));
    const changed = new Uint8Array(readFileSync(path));
    changed[200_000]! ^= 1;
    writeFileSync(path, changed);
    // Two pages are left, which the lock takes.
    const fill = () => appendFileSync(ballast, new Uint8Array(4096));
    while (assertNoRoom(fill) === undefined);
    truncateSync(ballast, statSync(ballast).size - 8192);
    const expected = records.filter((_, i) => i !== Math.floor(200_000 / 4016));
    const found = read(path);
    assertEquals(found.texts, expected);
    assertEquals(found.messages.length, 2);
    assertStringIncludes(found.messages[1]!, "goes on with its damage, as it cannot be mended now");
    assertEquals(filesIn(folder), ["ballast", "store"]);
    write(path, [bytes("more")]);
    rmSync(ballast);
    assertStringIncludes(read(path).messages[1]!, "was mended");
    assertEquals([read(path).texts, read(path).messages], [[...expected, "more"], []]);
  });
});

test("store: a disk on which there is no room for a lock is told, and nothing is left there", async () => {
  await inSmallFolder((folder) => {
    const path = join(folder, "store");
    write(path, [bytes("1")]);
    while (assertNoRoom(() => appendFileSync(join(folder, "ballast"), new Uint8Array(4096))) === undefined);
    const error = assertThrows(() => read(path), MqttError, `Cannot lock the store ${path}`);
    assertEquals(error.code, "store");
    assertEquals(filesIn(folder), ["ballast", "store"]);
    rmSync(join(folder, "ballast"));
    assertEquals(read(path).texts, ["1"]);
  });
});

/** What an action throws when the disk is full; undefined if it does not. */
function assertNoRoom(act: () => void): unknown {
  try {
    return act() as undefined;
  } catch (error) {
    assertMatch(String(error), /ENOSPC|os error 28/);
    return error;
  }
}

test("store: 1,000,000 records are opened in bounded memory", () =>
  inFolder(async (folder) => {
    const { code, stdout, stderr } = await runScript(child, ["many", join(folder, "store"), "1000000"]);
    assertEquals([code, stderr], [0, ""]);
    const { count, isRight, grown } = JSON.parse(stdout);
    assertEquals([count, isRight], [1_000_000, true]);
    // The file has 116 MB.
    assertLess(grown, 64);
  }));
