/** A log that is replaced while it is used. */
import * as fs from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setImmediate } from "node:timers";
import { assert, assertEquals, assertGreater, assertRejects, assertThrows } from "@std/assert";
import { fileStore, MqttError } from "../../mod.ts";
import { bytes, filesIn, inFolder, keep, numbers, read, Recorder } from "./support.ts";

const turn = () => new Promise<void>((resolve) => void setImmediate(resolve));

/** So many records of 10 KB, which are asked for one by one. */
function* large(count: number, asked: () => void = () => undefined): Generator<Uint8Array> {
  for (const number of numbers(1, count)) {
    asked();
    yield bytes(number.padEnd(10_000));
  }
}

for (const sync of ["os", "disk"] as const) {
  test(`store: replaced by portions (${sync}), with appends and flushes meanwhile`, () =>
    inFolder(async (folder) => {
      const path = join(folder, "store");
      const store = fileStore(path, { sync });
      await store.open(new Recorder(false));
      await keep(store, ["gone", "gone"]);
      let asked = 0, most = 0, before = 0, isDone = false, added = 10_000;
      const count = sync === "os" ? 500 : 2000; // a disk that is fast keeps few groups meanwhile
      const replaced = Promise.resolve(store.replace(large(count, () => asked++))).then(() => isDone = true);
      assertThrows(() => store.replace([]), MqttError, "is being replaced already");
      for (let turns = 0; !isDone; turns++) {
        most = Math.max(most, asked - before);
        before = asked;
        const group = [`${++added}`, `${++added}`.padEnd(turns % 10 === 0 ? 100_000 : 10)];
        await keep(store, group);
        if (sync === "os") await turn();
      }
      await replaced;
      assertGreater(added, 10_010);
      if (sync === "os") assert(most <= 30, `${most} records in a turn are more than a portion`);
      await keep(store, ["after"]);
      await store.close();
      const found = read(path);
      assertEquals(found.messages, []);
      const expected = [...numbers(1, count), ...numbers(10_001, added), "after"];
      assertEquals(found.texts.map((text) => text.trim()), expected);
      assertEquals(filesIn(folder), ["store"]);
    }));

  test(`store: replaced at one go where the reader blocks (${sync})`, () =>
    inFolder((folder) => {
      const path = join(folder, "store");
      const store = fileStore(path, { sync });
      store.open(new Recorder());
      keep(store, ["gone"]);
      assertEquals(store.replace(large(100)), undefined);
      keep(store, ["after"]);
      store.replace(["1", "2"].map(bytes));
      store.append(bytes("3"));
      store.close();
      assertEquals(read(path).texts, ["1", "2", "3"]);
      assert(fs.statSync(path).size < 200);
    }));

  test(`store: a replacement that fails leaves the log as it was (${sync})`, () =>
    inFolder(async (folder) => {
      const path = join(folder, "store");
      for (const blocking of [true, false]) {
        const store = fileStore(path, { sync });
        await store.open(new Recorder(blocking));
        await store.replace([]);
        await keep(store, ["1"]);
        const failing = function* () {
          yield* large(100);
          throw new RangeError("of the records");
        };
        const replaced = assertRejects(async () => await store.replace(failing()), RangeError, "of the records");
        store.append(bytes("2"));
        await store.flush();
        await replaced;
        // Something is in the way of the new file; and of its name, when it is complete.
        fs.mkdirSync(`${path}.new`);
        const error = await assertRejects(async () => await store.replace(large(100)), MqttError, `${path}.new`);
        assertEquals(error.code, "store");
        fs.rmdirSync(`${path}.new`);
        const removing = function* () {
          yield* large(100);
          fs.rmSync(`${path}.new`);
        };
        await assertRejects(async () => await store.replace(removing()), MqttError, `Cannot replace the store ${path}`);
        await keep(store, ["3"]);
        assertEquals(filesIn(folder), ["store", "store.lock"]);
        await store.close();
        assertEquals(read(path).texts, ["1", "2", "3"]);
      }
    }));

  test(`store: closed during a replacement, the log is as it was, with what was flushed and appended (${sync})`, () =>
    inFolder(async (folder) => {
      const path = join(folder, "store");
      const store = fileStore(path, { sync });
      await store.open(new Recorder(false));
      await keep(store, ["1"]);
      const replaced = assertRejects(async () => await store.replace(large(500)), MqttError, "is not open");
      await turn();
      const flushed = keep(store, ["2"]);
      store.append(bytes("3"));
      const closing = store.close();
      assertEquals(store.close(), closing);
      await Promise.all([replaced, flushed, closing]);
      assertEquals(filesIn(folder), ["store"]);
      assertEquals(read(path).texts, ["1", "2", "3"]);
    }));
}
