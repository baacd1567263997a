/** One process at a time has a store, and one that was killed has it no more. */
import * as fs from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { assert, assertEquals, assertMatch, assertStringIncludes, assertThrows } from "@std/assert";
import { fileStore, MqttError } from "../../mod.ts";
import { FileStore } from "../../src/store/file_store.ts";
import { makeToken, releaseLock } from "../../src/store/lock.ts";
import type { Owner } from "../../src/store/owner.ts";
import { run, startProcess } from "../support/process.ts";
import { command, runScript, runtime, startScript } from "../support/spawn.ts";
import { bytes, filesIn, inFolder, read, Recorder, write } from "./support.ts";

const child = "tests/store/child.ts";
const onLinux = { skip: process.platform !== "linux" };

/** What this process writes into a lock, with some of it changed: of `held`, only Deno sees anything. */
function ownerLike(path: string, changed: Partial<Owner>): string {
  const store = fileStore(path);
  store.open(new Recorder());
  const owner = JSON.parse(fs.readFileSync(`${path}.lock`, "utf8")) as Owner;
  store.close();
  return JSON.stringify({ ...owner, held: false, token: makeToken(), ...changed });
}

/** Opens a store that has this lock: `"taken"` if it could, or what it said. */
function openWith(path: string, lock: string): string {
  fs.writeFileSync(`${path}.lock`, lock);
  try {
    read(path);
    return "taken";
  } catch (error) {
    assert(error instanceof MqttError && error.code === "store");
    assertEquals(fs.readFileSync(`${path}.lock`, "utf8"), lock, "it is as it was");
    fs.rmSync(`${path}.lock`);
    return error.message;
  }
}

/** The identifier of a process that has ended. */
async function deadPid(): Promise<number> {
  return Number((await run("sh", ["-c", "echo $$"])).stdout);
}

test("store: a second process is told which one has it, and gets it when that has closed it or was killed", () =>
  inFolder(async (folder) => {
    const path = join(folder, "store");
    write(path, [bytes("1")]);
    for (let round = 0; round < 3; round++) {
      const other = await startScript(child, ["hold", path]);
      await other.output(/opened/);
      const error = assertThrows(() => read(path), MqttError, `The store ${path} is in use by process ${other.pid}`);
      assertEquals(error.code, "store");
      assertEquals(
        (await runScript(child, ["open", path])).stdout,
        `store: The store ${path} is in use by process ${other.pid}\n`,
      );
      other.kill("SIGKILL");
      await other.exited;
      assertEquals(read(path).texts, ["1"]);
      assertEquals(filesIn(folder), ["store"]);
    }
    const store = fileStore(path);
    store.open(new Recorder());
    assertStringIncludes((await runScript(child, ["open", path])).stdout, `is in use by process ${process.pid}\n`);
    store.close();
    assertEquals((await runScript(child, ["open", path])).stdout, "opened 1\n");
  }));

test("store: a second store of this process is told that this one has it", () =>
  inFolder((folder) => {
    const path = join(folder, "store");
    const [one, two] = [fileStore(path), fileStore(path)];
    one.open(new Recorder());
    assertThrows(() => two.open(new Recorder()), MqttError, `The store ${path} is in use by this process`);
    one.close();
    two.open(new Recorder());
    two.close();
    assertEquals(filesIn(folder), ["store"]);
  }));

test("store: a process that is killed and not asked for does not have it", onLinux, () =>
  inFolder(async (folder) => {
    const path = join(folder, "store");
    // The child of a shell that becomes a program which does not ask how its children have ended.
    const said = join(folder, "said"), script = `"$@" > "$0" & echo "began $!"; exec sleep 60`;
    const parent = await startProcess("sh", ["-c", script, said, ...command(child, ["hold", path]).flat()]);
    const [, pid] = await parent.output(/began (\d+)\n/);
    const pause = () => new Promise((wake) => setTimeout(wake, 10));
    while (!fs.existsSync(said) || fs.statSync(said).size === 0) await pause();
    process.kill(Number(pid), "SIGKILL");
    // Its other threads have its files until they have ended, too.
    const isOver = () =>
      /\) Z /.test(fs.readFileSync(`/proc/${pid}/stat`, "utf8")) && fs.readdirSync(`/proc/${pid}/task`).length === 1;
    while (!isOver()) await pause();
    assertEquals(read(path).texts, []);
    await parent.stop();
  }));

test(
  "store: repeated process ids do not fool a lock: another start, another boot, another container",
  onLinux,
  () =>
    inFolder(async (folder) => {
      const path = join(folder, "store");
      const lock = (changed: Partial<Owner>) => openWith(path, ownerLike(path, changed));
      assertEquals(lock({}), `The store ${path} is in use by this process`);
      assertEquals(lock({ started: "1" }), "taken");
      assertEquals(lock({ boot: "another" }), "taken");
      assertEquals(lock({ namespace: "pid:[1]" }), "taken", "this container was started again");
      assertEquals(
        lock({ namespace: "pid:[1]", host: "a1b2" }),
        `The store ${path} is in use by process ${process.pid} on a1b2`,
      );
      assertEquals(lock({ pid: await deadPid() }), "taken");
      assertEquals(lock({ pid: 1, started: "" }), `The store ${path} is in use by process 1`);
      assertEquals(lock({ pid: 1, started: "1" }), "taken");
      // What a Node on another system writes, which tells less.
      assertEquals(
        lock({ started: "", boot: "", namespace: "", host: "" }),
        `The store ${path} is in use by this process`,
      );
      assertEquals(filesIn(folder), ["store"]);
    }),
);

test("store: a lock in which nothing can be read was being written when the power went", () =>
  inFolder(async (folder) => {
    const path = join(folder, "store");
    for (const content of ["", "\0".repeat(200), "{", "null", `{"pid":1}`, ownerLike(path, { token: "../x" })]) {
      assertEquals(openWith(path, content), "taken");
    }
    // What a process that was killed while it removed such a lock has left.
    const dead = ownerLike(path, { pid: await deadPid() });
    fs.writeFileSync(`${path}.lock.unreadable`, dead);
    assertEquals(openWith(path, ""), "taken");
    fs.writeFileSync(`${path}.lock.${JSON.parse(dead).token}`, ownerLike(path, { pid: await deadPid() }));
    assertEquals(openWith(path, dead), "taken");
    fs.writeFileSync(`${path}.lock.${JSON.parse(dead).token}`, ownerLike(path, {}));
    assertStringIncludes(openWith(path, dead), "is in use by this process");
    fs.rmSync(`${path}.lock.${JSON.parse(dead).token}`);
    assertEquals(filesIn(folder), ["store"]);
  }));

test("store: of 8 processes that find the lock of a dead one, exactly one gets it, 10 times", () =>
  inFolder(async (folder) => {
    const path = join(folder, "store");
    const rounds = 10;
    const pid = await deadPid();
    for (let round = 0; round < rounds; round++) {
      const lock = ownerLike(`${path}-${round}`, { pid });
      fs.writeFileSync(`${path}-${round}.lock`, lock);
    }
    const racers = await Promise.all(Array.from({ length: 8 }, () => startScript(child, ["race", path, `${rounds}`])));
    for (let round = 0; round < rounds; round++) {
      for (const racer of racers) await racer.output(new RegExp(`ready ${round}\n`));
      fs.writeFileSync(`${path}-${round}.go`, "");
      const said = await Promise.all(racers.map((racer) => racer.output(new RegExp(`(got|not) ${round}( .*)?\n`))));
      assertEquals(said.filter(([, how]) => how === "got").length, 1, said.map(([line]) => line).join(""));
      const others = said.filter(([, how]) => how === "not");
      for (const [, , why] of others) assertMatch(why!, /is in use by process \d+$/);
      const { pid } = JSON.parse(fs.readFileSync(`${path}-${round}.lock`, "utf8"));
      assertEquals(pid, racers.find((_, i) => said[i]![1] === "got")!.pid);
    }
    for (const racer of racers) racer.kill("SIGKILL");
    await Promise.all(racers.map(({ exited }) => exited));
    for (let round = 0; round < rounds; round++) read(`${path}-${round}`);
    assertEquals(filesIn(folder).filter((name) => name.includes(".lock")), []);
  }));

test("store: closing leaves a lock alone that is not its own", () =>
  inFolder((folder) => {
    const path = join(folder, "store");
    const store = fileStore(path);
    store.open(new Recorder());
    const lock = fs.readFileSync(`${path}.lock`, "utf8").replace(/[0-9a-f]{24}/, makeToken());
    fs.rmSync(`${path}.lock`);
    fs.writeFileSync(`${path}.lock`, lock);
    store.close();
    assertEquals(fs.readFileSync(`${path}.lock`, "utf8"), lock);
  }));

test("store: the lock of a thread that died is released by its token, and no other", () =>
  inFolder((folder) => {
    const path = join(folder, "store");
    const token = makeToken();
    const dead = ownerLike(path, { token });
    releaseLock(path, token);
    fs.writeFileSync(`${path}.lock`, dead);
    releaseLock(path, makeToken());
    assertEquals(filesIn(folder), ["store", "store.lock"]);
    if (process.platform === "linux") {
      // Nobody but this process may remove it: it runs.
      assertThrows(() => read(path), MqttError, "in use by this process");
    }
    releaseLock(path, token);
    assertEquals(filesIn(folder), ["store"]);
    const store = new FileStore(path, "os", token);
    store.open(new Recorder());
    assertEquals(JSON.parse(fs.readFileSync(`${path}.lock`, "utf8")).token, token);
    store.close();
  }));

test(
  "store: on Deno a folder is all that it takes, and a lock of another runtime that cannot be judged is left alone",
  {
    skip: runtime !== "deno",
  },
  () =>
    inFolder(async (folder) => {
      const path = join(folder, "store");
      const [program, [, , , file, ...args]] = command(child, ["open", path]) as [string, string[]];
      const open = async (...permissions: string[]) => {
        const rights = ["--no-prompt", `--allow-read=${folder}`, `--allow-write=${folder}`, ...permissions];
        const { stdout, stderr } = await run(program, ["run", "-q", ...rights, file!, ...args]);
        return stdout + stderr;
      };
      assertEquals(await open(), "opened 0\n");
      const other = await startScript(child, ["hold", path]);
      await other.output(/opened/);
      assertEquals(await open(), `store: The store ${path} is in use by process ${other.pid}\n`);
      other.kill("SIGKILL");
      await other.exited;
      assertEquals(await open(), "opened 0\n", "the system holds the lock of a process of Deno's");
      const lock = ownerLike(path, { pid: await deadPid() });
      fs.writeFileSync(`${path}.lock`, lock);
      const { pid } = JSON.parse(lock);
      assertEquals(
        await open(),
        `store: The store ${path} was opened by process ${pid}, and whether that still runs cannot be told without a ` +
          `permission: run with --allow-run, or remove ${path}.lock if it has ended\n`,
      );
      assertEquals(await open("--allow-run"), "opened 0\n");
      assertEquals(filesIn(folder), ["store"]);
    }),
);
