/** What a store does with the file that it finds, and with arguments. */
import * as fs from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { assert, assertEquals, assertIsError, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { fileStore, MqttError, type SessionStore } from "../../mod.ts";
import { crc32 } from "../../src/store/crc32.ts";
import { bytes, filesIn, inFolder, keep, numbers, read, Recorder, text, write } from "./support.ts";

const isWindows = process.platform === "win32";

test("store: records come back in order, over any number of openings, blocking or not, os or disk", () =>
  inFolder(async (folder) => {
    const path = join(folder, "store");
    const expected: string[] = [];
    for (const sync of ["os", "disk"] as const) {
      for (const blocking of [true, false]) {
        const recorder = new Recorder(blocking);
        const store = fileStore(path, { sync });
        const opened = store.open(recorder);
        assertEquals(opened instanceof Promise, !blocking);
        await opened;
        assertEquals([recorder.texts, recorder.errors], [expected, []]);
        const added = numbers(expected.length, expected.length + 99);
        const kept = keep(store, added);
        assertEquals(kept instanceof Promise, sync === "disk" && !blocking, "only the disk is waited for");
        await kept;
        assertEquals(store.flush(), undefined, "nothing is left to do");
        for (const record of ["a", ""]) store.append(bytes(record));
        expected.push(...added, "a", "");
        await store.close(); // which flushes
        await store.close();
        assertEquals(filesIn(folder), ["store"]);
      }
    }
    assertEquals(read(path).texts, expected);
  }));

test("store: what is appended during a flush is for the next one", () =>
  inFolder(async (folder) => {
    const path = join(folder, "store");
    const store = fileStore(path, { sync: "disk" });
    await store.open(new Recorder(false));
    // What the file has at any time is a store, which can be looked at in a copy.
    const kept = () => {
      fs.copyFileSync(path, join(folder, "copy"));
      return read(join(folder, "copy")).texts;
    };
    const flushing = keep(store, ["1", "2"]);
    store.append(bytes("3"));
    await flushing;
    assertEquals(kept(), ["1", "2"]);
    const next = store.flush();
    store.append(bytes("4"));
    const closing = store.close(); // during a flush
    await next;
    await closing;
    assertEquals(kept(), ["1", "2", "3", "4"]);
  }));

test("store: the memory of a record is the caller's again, and that of one read is the store's", () =>
  inFolder((folder) => {
    const path = join(folder, "store");
    const store = fileStore(path);
    store.open(new Recorder());
    const record = bytes("first");
    store.append(record);
    record.set(bytes("other"));
    store.append(record);
    store.flush();
    store.close();
    assertEquals(read(path).texts, ["first", "other"]);
  }));

test("store: a file that is missing, empty, or was being made is a new store", () =>
  inFolder((folder) => {
    const path = join(folder, "store");
    const begun = () => fs.readFileSync(path).subarray(0, 20);
    for (const content of [undefined, new Uint8Array(), bytes("mqtt3c"), () => begun()]) {
      if (content !== undefined) fs.writeFileSync(path, content instanceof Function ? content() : content);
      fs.writeFileSync(`${path}.new`, "left by a process that was killed");
      write(path, [bytes("1")]);
      assertEquals([read(path).texts, read(path).messages], [["1"], []]);
      if (!isWindows) assertEquals((fs.statSync(path).mode & 0o777).toString(8), "600", "it holds messages");
      assertEquals(filesIn(folder), ["store"]);
    }
  }));

test("store: a foreign file is kept aside and told, and a new store is begun", () =>
  inFolder((folder) => {
    const path = join(folder, "store");
    const foreign = [bytes("hi"), bytes("{}".repeat(1000)), new Uint8Array(5000)];
    for (const [i, content] of foreign.entries()) {
      fs.writeFileSync(path, content);
      const { texts, messages } = read(path);
      assertEquals([texts, messages.length], [[], 1]);
      assertStringIncludes(messages[0]!, `store: The file ${path} is no store: it is kept as ${path}.foreign-${i + 1}`);
      assertEquals(new Uint8Array(fs.readFileSync(`${path}.foreign-${i + 1}`)), content);
      write(path, [bytes("1")]);
      assertEquals(read(path).texts, ["1"]);
    }
    assertEquals(filesIn(folder), ["store", "store.foreign-1", "store.foreign-2", "store.foreign-3"]);
  }));

/** Makes a header one of another version. */
function setVersion(path: string, version: number): void {
  const changed = new Uint8Array(fs.readFileSync(path));
  const view = new DataView(changed.buffer);
  for (const at of [0, 32]) {
    view.setUint32(at + 8, version);
    view.setUint32(at + 28, crc32(changed, at, at + 28));
  }
  fs.writeFileSync(path, changed);
}

test("store: a file of a newer version is refused, and nothing is touched", () =>
  inFolder((folder) => {
    const path = join(folder, "store");
    write(path, [bytes("1")]);
    setVersion(path, 2);
    fs.writeFileSync(`${path}.new`, "its own");
    const before = fs.readFileSync(path);
    const error = assertThrows(() => read(path), MqttError, "a newer version of this library has made it, in format 2");
    assertEquals(error.code, "store");
    assertEquals([filesIn(folder), fs.readFileSync(path)], [["store", "store.new"], before]);
  }));

test("store: a folder that is missing, a path that is no file, and a file that cannot be opened are told", () =>
  inFolder(async (folder) => {
    const missing = join(folder, "missing", "store");
    for (const blocking of [true, false]) {
      const open = async (path: string) => await fileStore(path).open(new Recorder(blocking));
      const error = await assertRejects(() => open(missing), MqttError);
      assertEquals(error.code, "store");
      assertStringIncludes(
        error.message,
        `Cannot open the store ${missing} as there is no folder ${join(folder, "missing")}`,
      );
      assertIsError(error.cause, Error);
      fs.mkdirSync(join(folder, "folder"), { recursive: true });
      await assertRejects(() => open(join(folder, "folder")), MqttError, "as that is no file");
    }
    assertEquals(filesIn(folder), ["folder"], "no lock is left");
  }));

test("store: what is not open says so, and opening it twice does", () =>
  inFolder(async (folder) => {
    const store: SessionStore = fileStore(join(folder, "store"));
    const calls = [() => store.append(bytes("1")), () => store.replace([])];
    for (const call of calls) assertThrows(call, MqttError, "is not open");
    assertEquals([store.flush(), store.close()], [undefined, undefined]);
    const opening = store.open(new Recorder(false));
    assertThrows(() => store.open(new Recorder()), MqttError, "is in use by this process");
    await opening;
    assertThrows(() => store.open(new Recorder()), MqttError, "is in use by this process");
    await store.close();
    for (const call of calls) assertThrows(call, MqttError, "is not open");
    store.open(new Recorder());
    store.close();
    const cancelled = store.open(new Recorder(false));
    await Promise.all([cancelled, store.close()]);
    assertEquals(filesIn(folder), ["store"]);
  }));

test("store: what the reader throws comes out of open, and the lock is released", () =>
  inFolder(async (folder) => {
    const path = join(folder, "store");
    write(path, [bytes("1")]);
    for (const blocking of [true, false]) {
      const reader = Object.assign(new Recorder(blocking), {
        read() {
          throw new RangeError("of the reader");
        },
      });
      await assertRejects(async () => await fileStore(path).open(reader), RangeError, "of the reader");
      assertEquals(filesIn(folder), ["store"]);
    }
  }));

test(
  "store: a link is followed, and the file that it names is replaced",
  { skip: isWindows },
  () =>
    inFolder((folder) => {
      const path = join(folder, "store");
      write(path, [bytes("1")]);
      fs.symlinkSync("store", join(folder, "link"));
      const store = fileStore(join(folder, "link"));
      store.open(new Recorder());
      assertThrows(() => read(path), MqttError, "in use");
      store.replace([bytes("2")]);
      store.close();
      assert(fs.lstatSync(join(folder, "link")).isSymbolicLink());
      assertEquals(read(path).texts, ["2"]);
    }),
);

test("store: a path is a text or a file: URL, and the options are checked", () =>
  inFolder((folder) => {
    const path = join(folder, "größe %41");
    write(path, [bytes("1")]);
    const { path: found, sync } = fileStore(pathToFileURL(path));
    assertEquals([found, sync], [path, "os"]);
    assertEquals(read(found).texts, ["1"]);
    assertEquals(fileStore(path, { sync: "disk" }).sync, "disk");
    assertEquals(fileStore(path, { sync: undefined }).sync, "os");
    const wrong: [unknown[], string][] = [
      [[], "Cannot use the path of a store as it must be a path or a file: URL: received undefined"],
      [[""], "the path of a store as it must be of a file"],
      [["a\0b"], "the path of a store as it must be of a file"],
      [["file:///store"], "a path, or a URL object of this text"],
      [[new URL("https://example.com/store")], "received https://example.com/store"],
      [[new URL("file://host/store")], "of this machine"],
      [[1], "received a number"],
      [["store", null], "leave it out"],
      [["store", { sink: "os" }], "Cannot use sink as fileStore() has no such option: did you mean sync?"],
      [["store", { fsync: true }], 'use sync: "disk"'],
      [["store", { sync: true }], 'sync as it must be "os" or "disk"'],
    ];
    for (const [args, message] of wrong) {
      assertThrows(() => Reflect.apply(fileStore, undefined, args), TypeError, message);
    }
    assertThrows(
      () => {
        const store = fileStore(path);
        store.open(new Recorder());
        try {
          store.append({ length: 2 ** 30 + 1 } as Uint8Array);
        } finally {
          store.close();
        }
      },
      RangeError,
      "at most 1073741824 bytes",
    );
  }));

test("store: the checksum is CRC-32, whatever the length, and can be continued", () => {
  const all = bytes("123456789".repeat(30));
  assertEquals(crc32(all, 0, 9).toString(16), "cbf43926");
  for (let to = 0; to < all.length; to++) {
    let naive = 0xffffffff;
    for (const byte of all.subarray(0, to)) {
      naive ^= byte;
      for (let bit = 0; bit < 8; bit++) naive = naive & 1 ? naive >>> 1 ^ 0xedb88320 : naive >>> 1;
    }
    assertEquals(crc32(all, 0, to), ~naive >>> 0, text(all.subarray(0, to)));
    assertEquals(crc32(all, to >> 1, to, crc32(all, 0, to >> 1)), ~naive >>> 0);
  }
});
