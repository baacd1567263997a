/** What only a process of its own can show: `child.ts <scenario> <path> [more]`. It says what happens line by line. */
import { existsSync, rmSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import process from "node:process";
import { fileStore, type MqttError, type SessionStore } from "../../mod.ts";
import { writeNow } from "../support/write_now.ts";
import { bytes, keep, numbers, read, Recorder } from "./support.ts";

const [scenario = "", path = "", more = ""] = process.argv.slice(2);
const sync = more.includes("disk") ? "disk" : "os";
const blocking = more.includes("blocking");

/** At once: what was said before the process was killed, was said. */
function say(text: string): void {
  writeNow(`${text}\n`);
}

/** How many records are alive, where they are replaced by those. */
const ALIVE = 50;

async function opened(): Promise<{ store: SessionStore; recorder: Recorder }> {
  const recorder = new Recorder(blocking);
  const store = fileStore(path, { sync });
  await store.open(recorder);
  return { store, recorder };
}

const scenarios: Record<string, () => void | Promise<void>> = {
  /** Has it open until it is killed. */
  async hold() {
    await opened();
    say("opened");
    setInterval(() => undefined, 1000);
  },

  /** Tries to open it. */
  async open() {
    try {
      const { store, recorder } = await opened();
      say(`opened ${recorder.records.length}`);
      await store.close();
    } catch (error) {
      say(`${(error as MqttError).code}: ${(error as MqttError).message}`);
    }
  },

  /** Appends numbers, says which are kept, and waits to be killed. */
  async append() {
    const { store, recorder } = await opened();
    for (let number = recorder.records.length + 1;;) {
      const group = numbers(number, number + number % 7).map((number) => number.padEnd(Number(number) % 500));
      await keep(store, group);
      number += group.length;
      say(`${number - 1}`);
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
  },

  /** The same, while the log is replaced again and again by the last records that are kept. */
  async replace() {
    const { store, recorder } = await opened();
    let last = Number(recorder.texts.at(-1) ?? 0), isOver = true;
    const alive = function* (until: number) {
      for (const number of numbers(Math.max(1, until - ALIVE + 1), until)) yield bytes(number.padEnd(20_000));
    };
    for (;;) {
      if (isOver) {
        isOver = false;
        void Promise.resolve(store.replace(alive(last))).then(() => isOver = true);
      }
      await keep(store, [`${last + 1}`, `${last + 2}`]);
      last += 2;
      say(`${last}`);
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
  },

  /** Tries to open one after the other, each at a time when many do, and keeps those that it has got. */
  race() {
    for (let round = 0; round < Number(more); round++) {
      say(`ready ${round}`);
      while (!existsSync(`${path}-${round}.go`));
      try {
        fileStore(`${path}-${round}`).open(new Recorder());
        say(`got ${round}`);
      } catch (error) {
        say(`not ${round} ${(error as Error).message}`);
      }
    }
    setInterval(() => undefined, 1000);
  },

  /** Fills the disk, or what a file may have; makes room; goes on. */
  async full() {
    const { store } = await opened();
    const written: string[] = [];
    const next = () => [`${written.length}`.padEnd(3000), `${written.length + 1}`.padEnd(70)];
    let failure: MqttError | undefined;
    while (failure === undefined) {
      const group = next();
      const { size } = statSync(path);
      try {
        await keep(store, group);
        written.push(...group);
      } catch (error) {
        failure = error as MqttError;
        say(`${failure.code} ${statSync(path).size === size}`);
      }
    }
    say(failure.message);
    // What was appended for it is forgotten, and it may be tried again.
    const again = await Promise.resolve().then(() => keep(store, next())).then(() => "kept", (error) => error.code);
    say(`again: ${again}`);
    const replaced = await Promise.resolve().then(() => store.replace(written.map(bytes)))
      .then(() => "done", (error: MqttError) => `${error.code} ${existsSync(`${path}.new`)}`);
    say(`replaced: ${replaced}`);
    const ballast = join(dirname(path), "ballast");
    if (existsSync(ballast)) rmSync(ballast);
    else await store.replace(written.splice(0, written.length, ...written.slice(-10)).slice(-10).map(bytes));
    const after = next();
    await keep(store, after);
    await store.close();
    const found = read(path);
    say(`read: ${JSON.stringify(found.texts) === JSON.stringify([...written, ...after])} ${found.messages.join()}`);
  },

  /** Opens a store of many records, and says by how many MiB the process has grown at the most. */
  many() {
    const store = fileStore(path);
    store.open(new Recorder());
    const record = new Uint8Array(100);
    for (let i = 0; i < Number(more); i++) {
      record.set([i >> 16, i >> 8, i]);
      store.append(record);
      if (i % 1000 === 999) store.flush();
    }
    store.close();
    const before = process.memoryUsage().rss;
    let count = 0, isRight = true, most = before;
    store.open({
      blocking: true,
      read(record) {
        isRight &&= record[0] === (count >> 16) && record[1] === (count >> 8 & 255) && record[2] === (count & 255);
        if (++count % 10_000 === 0) most = Math.max(most, process.memoryUsage().rss);
      },
      told: (error) => say(error.message),
    });
    store.close();
    say(JSON.stringify({ count, isRight, grown: Math.round((most - before) / 2 ** 20) }));
  },
};

void scenarios[scenario]!();
