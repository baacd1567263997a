/** One run, or a series: a peer, a driver, and whether both counted the same. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Figures } from "./client.ts";
import type { Scenario } from "./scenarios.ts";
import { work } from "./build.ts";
import type { Participant, Setup } from "./setup.ts";

/** What one run gave: a value in the scenario's unit, or why there is none. */
export interface Sample {
  value?: number;
  p99?: number;
  /** CPU seconds per million messages. */
  cpu?: number;
  /** Peak resident bytes of the process. */
  peak?: number | undefined;
  failure?: string;
  skip?: string;
}

/** How the failure of a process begins that has said nothing. */
export const NO_RESULT = "no result";

interface DriverFigures extends Figures {
  peak?: number | undefined;
  skip?: string;
  error?: string;
}

interface PeerFigures {
  messages: number;
  wrong: number;
  seconds: number;
}

interface Child {
  lines: AsyncIterator<string>;
  /** All it wrote to standard error. */
  errors: Promise<string>;
  /** Asks for the next run. */
  writeLine(): Promise<void>;
  /** Closes its standard input, or kills it, and waits until it is gone. */
  stop(kill?: boolean): Promise<void>;
}

function start(command: string[]): Child {
  const [name, ...args] = command as [string, ...string[]];
  const child = new Deno.Command(name, { args, stdin: "piped", stdout: "piped", stderr: "piped" }).spawn();
  return {
    lines: linesOf(child.stdout),
    errors: new Response(child.stderr).text(),
    async writeLine() {
      const writer = child.stdin.getWriter();
      await writer.write(new TextEncoder().encode("\n")).catch(() => {}); // it has ended: then it has no result
      writer.releaseLock();
    },
    async stop(kill = false) {
      try {
        if (kill) child.kill("SIGKILL");
      } catch { /* it has ended */ }
      await child.stdin.close().catch(() => {});
      await child.status;
    },
  };
}

async function* linesOf(stream: ReadableStream<Uint8Array<ArrayBuffer>>): AsyncGenerator<string, void, void> {
  let rest = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    yield* lines;
  }
}

/** The next line as JSON; undefined at the end, or when it takes too long. */
async function next<T>(child: Child, patience: number): Promise<T | undefined> {
  const timeout = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => timeout.resolve(undefined), patience);
  const line = await Promise.race([child.lines.next(), timeout.promise]);
  clearTimeout(timer);
  return line?.value === undefined ? undefined : JSON.parse(line.value) as T;
}

const lastLine = (text: string) => text.trim().split("\n").findLast((line) => line);

async function startMosquitto(path: string): Promise<{ peer: Child; port: number }> {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  listener.close();
  const config = join(work, "mosquitto.conf");
  const options = [
    `listener ${port} 127.0.0.1`,
    "allow_anonymous true",
    "max_queued_messages 0",
    "set_tcp_nodelay true",
  ];
  writeFileSync(config, options.join("\n") + "\n");
  const peer = start([path, "-c", config]);
  for (let tries = 0; tries < 100; tries++) {
    try {
      (await Deno.connect({ hostname: "127.0.0.1", port })).close();
      return { peer, port };
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
  throw new Error("mosquitto does not answer");
}

const pinning = ({ pinned }: Scenario) => pinned ? ["taskset", "-c", "0"] : [];
const certificate = ({ tls }: Scenario, { cert }: Setup) => tls ? [`cert=${cert}`] : [];

/** The peer of a scenario; without a port it did not start. */
async function startPeer(
  scenario: Scenario,
  participant: Participant,
  seconds: number,
  setup: Setup,
): Promise<{ peer: Child; port?: number | undefined }> {
  if (scenario.peer === "mosquitto") return await startMosquitto(setup.mosquitto!);
  const { size = 16, topics = 100, messages = 0, qos = 0, version = 4, properties = 0 } = scenario.params;
  const raw = ["raw", "websocket"].includes(participant.client) && scenario.job === "receive" ? ["raw=1"] : [];
  const peer = start([
    ...pinning(scenario),
    ...(scenario.tls ? setup.tlsPeer : setup.peer),
    scenario.peer,
    ...[`size=${size}`, `topics=${topics}`, `seconds=${seconds}`, `messages=${messages}`, `qos=${qos}`],
    ...[`version=${version}`, `properties=${properties}`],
    ...raw,
    ...scenario.websocket ? ["ws=1"] : [],
    ...certificate(scenario, setup),
  ]);
  return { peer, port: (await next<{ port: number }>(peer, 30_000))?.port };
}

function startDriver(
  scenario: Scenario,
  participant: Participant,
  setup: Setup,
  params: { port: number; seconds: number; repeat?: number },
): Child {
  const { port, ...others } = params;
  const url = `${scenario.tls ? "mqtts" : scenario.websocket ? "ws" : "mqtt"}://127.0.0.1:${port}`;
  const args = Object.entries({ ...scenario.params, job: scenario.job, url, ...others });
  return start([
    ...pinning(scenario),
    ...participant.command,
    ...args.map(([name, value]) => `${name}=${value}`),
    ...certificate(scenario, setup),
  ]);
}

/** Milliseconds that a run may take beside its own: several times what the slowest of those that end takes. */
const PATIENCE = 60_000;

/** What the next line of the driver says, and that of the peer. */
async function readSample(scenario: Scenario, driver: Child, peer: Child, started: number): Promise<Sample> {
  const figures = await next<DriverFigures>(driver, PATIENCE);
  const elapsed = performance.now() - started;
  if (!figures) {
    await driver.stop(true);
    return { failure: `${NO_RESULT}: ${lastLine(await driver.errors) ?? `none within ${PATIENCE / 1000} s`}` };
  }
  if (figures.skip) return { skip: figures.skip };
  if (figures.error) return { failure: figures.error };
  const counted = scenario.peer === "flood" || ["publish", "awaited", "acknowledged", "burst"].includes(scenario.job);
  const got = counted ? await next<PeerFigures>(peer, 10_000) : undefined;
  if (counted && !got) return { failure: "the peer counted nothing" };
  return outcome(scenario, figures, elapsed, got);
}

/** One run, in processes of its own. */
export async function measure(
  scenario: Scenario,
  participant: Participant,
  seconds: number,
  setup: Setup,
): Promise<Sample> {
  const { peer, port } = await startPeer(scenario, participant, seconds, setup);
  try {
    if (!port) return { failure: "the peer did not start" };
    const started = performance.now();
    const driver = startDriver(scenario, participant, setup, { port, seconds });
    const sample = await readSample(scenario, driver, peer, started);
    await driver.stop();
    return sample;
  } finally {
    await peer.stop(scenario.peer === "mosquitto");
  }
}

/** Processes that stay, and do the job as often as asked. */
export interface Series {
  measure(): Promise<Sample>;
  stop(): Promise<void>;
}

/** Each run takes so many seconds. The driver has to be one in TypeScript. */
export async function startSeries(
  scenario: Scenario,
  participant: Participant,
  seconds: number,
  setup: Setup,
): Promise<Series> {
  const { peer, port } = await startPeer(scenario, participant, seconds, setup);
  const driver = port ? startDriver(scenario, participant, setup, { port, seconds, repeat: 1 }) : undefined;
  return {
    async measure() {
      if (!driver) return { failure: "the peer did not start" };
      const started = performance.now();
      await driver.writeLine();
      return await readSample(scenario, driver, peer, started);
    },
    async stop() {
      await driver?.stop();
      await peer.stop(scenario.peer === "mosquitto");
    },
  };
}

function outcome(scenario: Scenario, figures: DriverFigures, elapsed: number, peer?: PeerFigures): Sample {
  const { messages = 0, wrong = 0, seconds = 1, cpu, peak } = figures;
  if (scenario.job === "start") return { value: elapsed };
  if (scenario.job === "idle") return { value: figures.bytes!, peak };
  if (["together", "crowd"].includes(scenario.job)) return { value: figures.p50!, peak };
  if (wrong) return { failure: `${wrong} messages of a wrong length` };
  if (peer?.wrong) return { failure: `the peer got ${peer.wrong} messages of a wrong length` };
  if (peer && peer.messages !== messages) {
    return { failure: `the client counted ${messages} messages, the peer ${peer.messages}` };
  }
  const common = { ...cpu !== undefined && { cpu: cpu / messages * 1e6 }, ...peak !== undefined && { peak } };
  if (figures.p50 !== undefined) return { ...common, value: figures.p50, p99: figures.p99! };
  // Publishing is over when the peer has it all; what the peer got at one go, it cannot time.
  return { ...common, value: messages / Math.max(seconds, scenario.peer === "sink" ? peer!.seconds : 0) };
}
