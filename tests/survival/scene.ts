/** A mosquitto, a long line to it for a child, and a collector that never goes away: it publishes to the child, too. */
import { assertEquals } from "@std/assert";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Client, connect } from "../../mod.ts";
import { within } from "../client/support.ts";
import type { Process } from "../support/process.ts";
import { type ServerProcess, startMosquitto } from "../support/servers.ts";
import { startScript } from "../support/spawn.ts";
import { Account, type Figures, type Treatment } from "./account.ts";
import { type Line, openLine } from "./line.ts";
import { byClient, Packets, type Traffic } from "./packets.ts";
import { contentOf, type Level, levels, readTopic, type Task, topicOf } from "./task.ts";

/** So many messages are sent to a child and not handled, at each QoS. */
const MOST_FED = 8;

export const sleep = (milliseconds: number): Promise<unknown> =>
  new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Waits until it is so. */
export async function until(holds: () => boolean, what: string, deadline = 30_000): Promise<void> {
  const start = performance.now();
  while (!holds()) {
    if (performance.now() - start > deadline) throw new Error(`${what}: not within ${deadline} ms`);
    await sleep(2);
  }
}

/** What there is for the children of a test. */
export class Scene {
  readonly folder: string = mkdtempSync(join(tmpdir(), "mqtt3c-survival-"));
  readonly accounts: Map<string, Account> = new Map();
  readonly #treatment: Treatment;
  #broker!: ServerProcess;
  #line!: Line;
  #collectorLine!: Line;
  #collector!: Client;
  #feeding: { stop(): Promise<void> } | undefined;

  private constructor(treatment: Treatment) {
    this.#treatment = treatment;
  }

  /** Gives `use` a scene, and ends it. */
  static async with<T>(
    { treatment = "stays", delay = 0 }: { treatment?: Treatment; delay?: number },
    use: (scene: Scene) => Promise<T>,
  ): Promise<T> {
    const scene = new Scene(treatment);
    try {
      await scene.#open(delay);
      return await use(scene);
    } finally {
      await scene.#close();
    }
  }

  async #open(delay: number): Promise<void> {
    await this.#startBroker();
    this.#line = await openLine(this.#broker.port, delay);
    this.#collectorLine = await openLine(this.#broker.port);
    const onpub = (topic: string, message: { text(): string }) => {
      const found = readTopic(topic)!;
      this.account(found.id).collected(found.qos, found.number, message.text());
    };
    this.#collector = await connect("127.0.0.1", onpub, {
      port: this.#collectorLine.port,
      id: "collector",
      session: true,
      sessionLost: "resend",
      reconnect: { minDelay: 10, maxDelay: 100 },
    });
    await this.#collector.subscribe("+/out/+/+", { qos: 2 });
  }

  async #startBroker(port?: number): Promise<void> {
    // Killed, it has messages again that it had acknowledged: see tests/restarts/.
    const changes = this.#treatment === "SIGKILL"
      ? ["autosave_interval 1", "autosave_on_changes true", "max_inflight_messages 0"]
      : [];
    const config = ["log_type none", "max_queued_messages 0", ...changes].join("\n");
    this.#broker = await startMosquitto({ data: this.folder, config, ...port && { port } });
  }

  async #close(): Promise<void> {
    await this.#feeding?.stop();
    await this.#collector?.disconnect().catch((error: Error) => `${error.message}: the broker is gone by then`);
    await this.#line?.stop();
    await this.#collectorLine?.stop();
    await this.#broker?.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }

  get port(): number {
    return this.#line.port;
  }

  get line(): Line {
    return this.#line;
  }

  account(id: string): Account {
    const account = this.accounts.get(id) ?? new Account(id);
    this.accounts.set(id, account);
    return account;
  }

  /** Starts a child, and hears what it tells. */
  async start(tasks: readonly Task[]): Promise<Process> {
    const child = await startScript("tests/survival/child.ts", [JSON.stringify(tasks)]);
    child.lines((line) => {
      const [what, id, ...rest] = line.split(" ");
      this.account(id!).told([what!, ...rest]);
    });
    return child;
  }

  /** The next numbers that a child publishes. */
  nextOf(id: string): Task["next"] {
    return { ...this.account(id).next };
  }

  /** Sends a message to a child. */
  feed(id: string, qos: Level): void {
    const topic = topicOf(id, "in", qos, this.account(id).nextFed[qos]++);
    this.#publish(topic, contentOf(topic), qos);
  }

  /** Tells a child to disconnect. */
  end(id: string): void {
    this.#publish(`${id}/end/${this.account(id).ends++}`, "", 1);
  }

  #publish(topic: string, content: string, qos: Level): void {
    this.#collector.publish(topic, content, { qos }).catch((error: { code?: unknown }) => {
      if (error.code !== "disconnect") throw error;
    });
  }

  /** Sends messages to a child as it handles them, from its first subscription on. */
  feedOn(id: string): void {
    const account = this.account(id);
    let isOn = true;
    const going = (async () => {
      for (; isOn; await sleep(3)) {
        if (!account.wasSubscribed) continue;
        for (const qos of levels) if (account.unhandled(qos) < MOST_FED) this.feed(id, qos);
      }
    })();
    this.#feeding = {
      stop: () => {
        isOn = false;
        return going;
      },
    };
  }

  /** Sends no more to children. */
  async feedNoMore(): Promise<void> {
    await this.#feeding?.stop();
  }

  /** Waits until a child has handled all that it was sent; a broker that was killed may have lost some. */
  async handled(id: string): Promise<void> {
    const account = this.account(id), isHandled = () => levels.every((qos) => account.unhandled(qos) === 0);
    if (this.#treatment !== "SIGKILL") return await until(isHandled, `${id} handles what it was sent`);
    for (let quiet = 0, last = -1; !isHandled() && quiet < 500;) {
      const size = account.handled[1].size + account.handled[2].size;
      quiet = size === last ? quiet + 1 : 0;
      last = size;
      await sleep(2);
    }
  }

  /** Ends the broker, and starts it again. */
  async restartBroker(): Promise<void> {
    const { port } = this.#broker;
    this.#broker.kill(this.#treatment as "SIGTERM" | "SIGKILL");
    if (this.#treatment === "SIGTERM") await within(this.#broker.exited, "the end of mosquitto");
    await this.#broker.stop();
    await this.#startBroker(port);
  }

  /** Waits until all has arrived; then fails if a promise was broken. */
  async judge({ slow = false }: { slow?: boolean } = {}): Promise<Figures & Traffic> {
    const accounts = [...this.accounts.values()];
    if (this.#treatment !== "SIGKILL") {
      await until(() => accounts.every(({ missing }) => missing.length === 0), "what was stored arrives", 10_000)
        .catch((error) => assertEquals(accounts.flatMap(({ missing }) => missing), [], `${error.message}: lost`));
    }
    await sleep(100); // what comes twice comes now
    const collector = new Packets(this.#collectorLine.packets), clients = byClient(this.#line.packets);
    const total: Record<string, number> = {};
    for (const account of accounts) {
      const own = new Packets(clients.get(account.id) ?? []);
      const figures = account.judge({ treatment: this.#treatment, slow }, { own, collector });
      for (const [name, count] of Object.entries({ ...figures, ...own.traffic })) {
        total[name] = (total[name] ?? 0) + count;
      }
    }
    return total as unknown as Figures & Traffic;
  }
}
