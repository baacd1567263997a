/**
 * Load through a bridge, both ways, with everything counted:
 *
 *     deno run -A tests/bridge/load.ts http|websocket|smq [--rate 10000] [--seconds 60]
 *         [--kill broker|peer] [--rounds 20] [--batch 20]
 *
 * mosquitto and the bridge are processes of their own; this one is the publisher, the subscriber and
 * the bridge's other side. `--batch` is the messages in one POST.
 */
import { Buffer } from "node:buffer";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { get, type IncomingMessage } from "node:http";
import { connect as connectSocket, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { WebSocket } from "ws";
import { connect } from "../../mod.ts";
import type { Process } from "../support/process.ts";
import { freePort, startMosquitto } from "../support/servers.ts";
import { startScript } from "../support/spawn.ts";
import { type Hub, startHub } from "./hub.ts";
import { type Direction, FIRST, LAST, Meter } from "./meter.ts";
import { ask, until } from "./support.ts";

export type BridgeName = "http" | "websocket" | "smq";

export interface LoadOptions {
  bridge: BridgeName;
  /** Messages a second, in each direction. */
  rate: number;
  seconds: number;
  /** What is killed and started again, `rounds` times: the broker's process, or all that is the bridge's other side. */
  kill?: "broker" | "peer";
  rounds?: number;
  batch?: number;
}

export interface LoadReport {
  toMqtt: Direction;
  fromMqtt: Direction;
  /** Messages to MQTT that the broker had acknowledged to the bridge and that never arrived; less than none is none. */
  confirmedAndLost: number;
  /** Messages to MQTT that the bridge refused, as it told the one who sent them. */
  told: number;
  /** Times the bridge told its other side that the broker had gone. */
  goings: number;
  /** Milliseconds from a restart until messages came again, the longest, in both directions. */
  recovery: { toMqtt: number; fromMqtt: number };
  /** Mebibytes of the bridge's process: after a third of the time, at the end, and at most; NaN where /proc is missing. */
  memory: { third: number; end: number; most: number };
  /** Part of one core that the bridge's process used. */
  cpu: number;
  /** What the bridge said last. */
  // deno-lint-ignore no-explicit-any -- JSON, of three shapes
  status: any;
}

/** The side of the bridge that is not MQTT. */
interface Peer {
  /** Arguments of the bridge's program. */
  args: string[];
  /** Whether it can send. */
  ready(): boolean;
  /** Connects, once the bridge is there. */
  open(): Promise<void>;
  send(messages: string[]): void;
  /** Waits until the bridge has answered all, where it answers. */
  answered(): Promise<void>;
  /** Ends all it has at once, and comes again. */
  kill(): Promise<void>;
  close(): Promise<void>;
  told: number;
  goings: number;
}

/** Connections that POST one request after the other, without waiting for answers; they come in order. */
class Posts {
  readonly #port: number;
  readonly #failed: (count: number) => void;
  #sockets: { socket: Socket; counts: number[] }[] = [];
  #next = 0;
  /** Requests that were not answered. */
  waiting = 0;

  /** `failed` is told how many messages of a request were refused, or had no answer. */
  constructor(port: number, failed: (count: number) => void) {
    this.#port = port;
    this.#failed = failed;
  }

  post(path: string, body: string, count: number): void {
    if (this.#sockets.length < 8) this.#sockets.push(this.#open());
    const { socket, counts } = this.#sockets[this.#next++ % this.#sockets.length]!;
    counts.push(count);
    this.waiting++;
    socket.write(
      `POST ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
    );
  }

  #open(): { socket: Socket; counts: number[] } {
    const counts: number[] = [];
    const socket = connectSocket(this.#port, "127.0.0.1").setNoDelay(true).setEncoding("latin1");
    const made = { socket, counts };
    let text = "";
    socket.on("error", () => {}).on("close", () => {
      this.#sockets = this.#sockets.filter((other) => other !== made);
      this.waiting -= counts.length;
      for (const count of counts.splice(0)) this.#failed(count);
    }).on("data", (chunk: string) => {
      text += chunk;
      for (let end; (end = text.indexOf("\r\n\r\n")) >= 0;) {
        const status = Number(text.slice(9, 12));
        const length = status === 204 ? 0 : Number(/content-length: (\d+)/i.exec(text.slice(0, end))![1]);
        if (text.length < end + 4 + length) return;
        const body = text.slice(end + 4, end + 4 + length), count = counts.shift()!;
        this.waiting--;
        text = text.slice(end + 4 + length);
        if (status !== 204) this.#failed(count - Number(/\((\d+) messages were/.exec(body)?.[1] ?? 0));
      }
    });
    return made;
  }

  /** Cuts all connections; the next request makes new ones. */
  kill(): void {
    for (const { socket } of this.#sockets) socket.destroy();
  }
}

function httpPeer(fromMqtt: Meter, batch: number): Peer {
  const port = freePort(), url = `http://127.0.0.1:${port}`;
  const posts = new Posts(port, (count) => peer.told += count);
  let stream: IncomingMessage | undefined;
  let closed = false;

  function listen(): Promise<void> {
    return new Promise((resolve) => {
      const again = () => void (closed || setTimeout(() => listen().then(resolve), 20));
      const headers = { accept: "text/event-stream" };
      const sent = get({ hostname: "127.0.0.1", port, path: "/load/out", agent: false, headers }, (answer) => {
        if (answer.statusCode !== 200) return void answer.resume().on("close", again);
        stream = answer;
        let text = "";
        answer.setEncoding("utf8").on("data", (chunk: string) => {
          const blocks = (text + chunk).split("\n\n");
          text = blocks.pop()!;
          for (const block of blocks) {
            if (block.startsWith("event: away")) peer.goings++;
            else if (block.startsWith("id: ")) {
              fromMqtt.take(JSON.parse(block.slice(block.indexOf("data: ") + 6)).payload);
            }
          }
        }).on("error", () => {}).on("close", again);
        resolve();
      });
      sent.on("error", again);
    });
  }

  const peer: Peer = {
    args: ["--port", `${port}`],
    ready: () => true,
    told: 0,
    goings: 0,
    async open() {
      await until(async () => (await ask(url, "/").catch(() => undefined))?.status === 200, "the bridge listens");
      await until(async () => JSON.parse((await ask(url, "/")).text).broker === "connected", "the bridge is connected");
      await listen();
    },
    send(messages) {
      if (batch === 1) return messages.forEach((message) => posts.post("/load/in", message, 1));
      for (let i = 0; i < messages.length; i += batch) {
        const part = messages.slice(i, i + batch);
        posts.post("/", part.map((message) => `{"topic":"load/in","payload":"${message}"}`).join("\n"), part.length);
      }
    },
    answered: () => until(() => posts.waiting === 0, "all requests are answered"),
    async kill() {
      posts.kill();
      const before = stream;
      before?.destroy();
      await until(() => stream !== before, "the stream is open again");
    },
    close() {
      closed = true;
      posts.kill();
      stream?.destroy();
      return Promise.resolve();
    },
  };
  return peer;
}

function websocketPeer(fromMqtt: Meter): Peer {
  const port = freePort(), url = `http://127.0.0.1:${port}`;
  let socket: WebSocket;

  async function dial(): Promise<void> {
    const made = socket = new WebSocket(url.replace("http", "ws"), { perMessageDeflate: false });
    await new Promise((resolve, reject) => made.on("open", resolve).on("error", reject));
    await new Promise<void>((resolve) => {
      made.on("message", (data: Buffer) => {
        if (made !== socket) return; // on Bun a terminated socket may have one more to tell
        const message = JSON.parse(data.toString());
        if (message.type === "message") fromMqtt.take(message.payload);
        else if (message.type === "error") peer.told++;
        else if (message.type === "state" && message.broker === "away") peer.goings++;
        else if (message.type === "subscribed") resolve();
      });
      made.send(`{"type":"subscribe","filter":"load/out"}`);
    });
  }

  const peer: Peer = {
    args: ["--port", `${port}`],
    ready: () => socket.readyState === socket.OPEN,
    told: 0,
    goings: 0,
    async open() {
      await until(async () => (await ask(url, "/status").catch(() => undefined))?.status === 200, "the bridge listens");
      await dial();
    },
    send(messages) {
      for (const message of messages) socket.send(`{"type":"publish","topic":"load/in","payload":"${message}"}`);
    },
    answered: () => Promise.resolve(),
    kill() {
      socket.terminate();
      return dial();
    },
    async close() {
      if (socket.readyState === socket.CLOSED) return;
      const closed = new Promise((resolve) => socket.on("close", resolve));
      socket.terminate();
      await closed;
    },
  };
  return peer;
}

async function smqPeer(fromMqtt: Meter): Promise<Peer> {
  const onmessage = (_: string, data: Buffer) => fromMqtt.take(data.toString());
  let hub: Hub = await startHub({ record: false, onmessage });
  const isThere = () => [...hub.clients.values()].some(({ subscribed }) => subscribed.size > 0);
  return {
    args: ["--hub", hub.url, "--to-smq", "load/out", "--to-mqtt", "n", "--mqtt-prefix", "load/i"],
    ready: isThere,
    told: 0,
    goings: 0,
    async open() {
      await until(isThere, "the bridge has subscribed");
    },
    send: (messages) => messages.forEach((message) => hub.publish("n", message)),
    answered: () => Promise.resolve(),
    async kill() {
      await hub.kill();
      hub = await startHub({ port: hub.port, record: false, onmessage });
      await until(isThere, "the bridge has subscribed again");
    },
    close: () => hub.kill(),
  };
}

/** Resident memory of a process, in mebibytes. */
function residentMemory(pid: number): number {
  try {
    return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024;
  } catch (error) {
    if ((error as { code?: string }).code === "ENOENT") return NaN;
    throw error;
  }
}

/** Seconds of processor time that a process has used. */
function cpuTime(pid: number): number {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]!.split(" ");
    return (Number(fields[11]) + Number(fields[12])) / 100;
  } catch (error) {
    if ((error as { code?: string }).code === "ENOENT") return NaN;
    throw error;
  }
}

/** mosquitto drops nothing by itself. */
export const config = "set_tcp_nodelay true\nmax_queued_messages 0\nmax_queued_bytes 0\nqueue_qos0_messages true";

export async function load(options: LoadOptions): Promise<LoadReport> {
  const { bridge, rate, seconds, kill, rounds = 20, batch = 20 } = options;
  const toMqtt = new Meter(), fromMqtt = new Meter();
  // Its session outlives a broker that is killed: what the new one acknowledges before it is there again waits for it.
  const data = mkdtempSync(join(tmpdir(), "mqtt3c-load-"));
  let broker = await startMosquitto({ config, data });
  const { port } = broker;
  const peer = bridge === "http"
    ? httpPeer(fromMqtt, batch)
    : bridge === "websocket"
    ? websocketPeer(fromMqtt)
    : await smqPeer(fromMqtt);
  let program: Process | undefined;
  const op = { port, reconnect: { minDelay: 20, maxDelay: 50 } };
  const subscriber = await connect("127.0.0.1", undefined, { ...op, id: "load", session: true });
  const publisher = await connect("127.0.0.1", undefined, op);
  try {
    program = await startScript(`examples/bridge/${bridge}.ts`, ["--broker", `mqtt://127.0.0.1:${port}`, ...peer.args]);
    await subscriber.subscribe("load/in", { onpub: (_, message) => toMqtt.take(message.text()) });
    broker.kill("SIGUSR1"); // it saves the session
    await until(() => existsSync(join(data, "mosquitto.db")), "the session is saved");
    await peer.open();
    peer.goings = 0; // it may have come before the broker
    const send = (count: number) => {
      if (peer.ready()) peer.send(Array.from({ length: count }, () => toMqtt.message()));
      for (let i = 0; i < count; i++) void publisher.publish("load/out", fromMqtt.message());
    };
    await until(() => {
      void publisher.publish("load/out", FIRST);
      return fromMqtt.markers > 0;
    }, "messages come from MQTT");
    let asked = 0;
    await until(() => {
      peer.send([FIRST]);
      asked++;
      return toMqtt.markers > 0;
    }, "messages come to MQTT");
    await until(() => toMqtt.markers === asked, "all of the first come"); // a broker that is killed would lose some

    const memory: number[] = [];
    const { pid } = program;
    const sampler = setInterval(() => memory.push(residentMemory(pid)), Math.min(1000, seconds * 50));
    const started = performance.now(), usedBefore = cpuTime(pid);
    let due = 0;
    const pacer = setInterval(() => {
      const count = Math.floor((performance.now() - started) / 1000 * rate) - due;
      due += count;
      send(count);
    }, 5);
    try {
      for (let round = 1; kill !== undefined && round <= rounds; round++) {
        await pause(started + (round - 0.5) * seconds * 1000 / rounds - performance.now());
        if (kill === "broker") {
          await broker.stop();
          broker = await startMosquitto({ port, config, data });
        } else {
          await peer.kill();
        }
        for (const meter of [toMqtt, fromMqtt]) meter.expect();
        await until(() => !toMqtt.awaited && !fromMqtt.awaited, "messages come again");
      }
      await pause(started + seconds * 1000 - performance.now());
    } finally {
      clearInterval(pacer);
      clearInterval(sampler);
    }
    const used = (cpuTime(pid) - usedBefore) / ((performance.now() - started) / 1000);
    // What is behind the last of them shows that all has come that will come.
    await peer.answered();
    peer.send([LAST]);
    void publisher.publish("load/out", LAST);
    await until(() => toMqtt.finished && fromMqtt.finished, "all has come");
    memory.push(residentMemory(pid));
    // The bridge says what it has done; it has confirmed all that arrived.
    program.kill("SIGTERM");
    await program.exited;
    const [, said] = /All counts: (.*)/.exec(program.stdout()) ?? [];
    if (said === undefined) throw new Error(`The bridge did not say anything: ${program.stdout()}${program.stderr()}`);
    const counts = JSON.parse(said), arrived = toMqtt.received + toMqtt.markers;
    const { published } = bridge === "smq" ? counts.toMqtt : counts;
    return {
      confirmedAndLost: Math.max(published - arrived, 0),
      toMqtt: toMqtt.report(),
      fromMqtt: fromMqtt.report(),
      told: peer.told,
      goings: peer.goings,
      recovery: { toMqtt: Math.round(toMqtt.recovery), fromMqtt: Math.round(fromMqtt.recovery) },
      memory: {
        third: Math.round(memory[Math.floor(memory.length / 3)]!),
        end: Math.round(memory.at(-1)!),
        most: Math.round(Math.max(...memory)),
      },
      cpu: Number(used.toFixed(2)),
      status: counts,
    };
  } finally {
    await program?.stop();
    await peer.close();
    await subscriber.disconnect();
    await publisher.disconnect();
    await broker.stop();
    rmSync(data, { recursive: true });
  }
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.max(milliseconds, 0)));
}

if (import.meta.main) {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      rate: { type: "string", default: "10000" },
      seconds: { type: "string", default: "60" },
      kill: { type: "string" },
      rounds: { type: "string", default: "20" },
      batch: { type: "string", default: "20" },
    },
  });
  for (const bridge of positionals.length ? positionals : ["http", "websocket", "smq"]) {
    const report = await load({
      bridge: bridge as BridgeName,
      rate: Number(values.rate),
      seconds: Number(values.seconds),
      rounds: Number(values.rounds),
      batch: Number(values.batch),
      ...values.kill === undefined ? {} : { kill: values.kill as "broker" | "peer" },
    });
    console.log(bridge, JSON.stringify(report, undefined, 2));
  }
}
