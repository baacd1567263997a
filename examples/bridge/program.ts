/** What the three programs share: their command line, and their end. */
import { existsSync, readFileSync, realpathSync } from "node:fs";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs, type ParseArgsConfig } from "node:util";
import { connect, type ConnectOptions, MqttError } from "../../mod.ts";
import type { GuardOptions } from "./guard.ts";

type Options = NonNullable<ParseArgsConfig["options"]>;

/** A bridge that runs. */
export interface Bridge {
  /** Where it listens, if it does. */
  readonly url: string;
  /** What it has done and lost so far. */
  status(): Record<string, unknown>;
  /** Ends it: connections are closed, nothing is left. */
  close(): Promise<void>;
}

/** Where the broker is. */
export interface BrokerOptions {
  /** Its address, as `connect()` takes it. */
  broker: string;
  /** More options of `connect()`. */
  op?: ConnectOptions;
  /** Told when the broker (or the hub) comes or goes, with what was lost. */
  log?: (line: string) => void;
}

/** Where a bridge listens, and to whom. */
export interface ListenOptions extends GuardOptions {
  /** Loopback by default. */
  host?: string;
  /** Any that is free by default. */
  port?: number;
}

export const brokerArgs = {
  broker: { type: "string", default: "mqtt://localhost" },
  version: { type: "string", default: "311" },
  ca: { type: "string" },
} as const;

/** The versions of MQTT, as they are called on the command line. */
const VERSIONS: Readonly<Record<string, NonNullable<ConnectOptions["version"]>>> = { 311: 4, 5: 5, auto: "auto" };

export const listenArgs = {
  host: { type: "string", default: "127.0.0.1" },
  port: { type: "string", default: "8080" },
  token: { type: "string" },
  origin: { type: "string", multiple: true },
} as const;

/** Whether this module is the program, by whatever link. */
export function isProgram(url: string): boolean {
  const [, started = ""] = process.argv;
  return existsSync(started) && realpathSync(started) === realpathSync(fileURLToPath(url));
}

/** The values of the command line; a mistake in it is told with the usage, and ends the program. */
export function parse<T extends Options>(
  usage: string,
  options: T,
): ReturnType<typeof parseArgs<{ options: T }>>["values"] {
  try {
    const help = { help: { type: "boolean", short: "h" } } as const;
    const { values } = parseArgs({ options: { ...options, ...help } as T });
    if ("help" in values && values["help"]) leave(usage, 0);
    return values;
  } catch (error) {
    return leave(`${(error as Error).message}\n\n${usage}`, 2);
  }
}

function leave(text: string, code: number): never {
  process[code === 0 ? "stdout" : "stderr"].write(`${text}\n`);
  process.exit(code);
}

/** The options of a bridge that listens; the environment keeps secrets out of the list of processes. */
export function listenOptions(
  values: { host: string; port: string; token?: string | undefined; origin?: string[] | undefined },
): ListenOptions {
  const token = values.token ?? process.env["BRIDGE_TOKEN"], port = Number(values.port);
  if (!/^\d+$/.test(values.port) || port > 65_535) throw new TypeError(`Cannot listen on port ${values.port}`);
  return { host: values.host, port, origins: values.origin ?? [], ...token === undefined ? {} : { token } };
}

/**
 * The broker, and the options of `connect()` that the command line and the environment have; checked by an attempt that
 * ends before it starts. `ca` is a file of authorities, for a broker at mqtts: and for a hub at wss:.
 */
export async function brokerOptions(
  values: { broker: string; version: string; ca?: string | undefined; hub?: string },
): Promise<BrokerOptions & { ca?: string }> {
  const { MQTT_USER, MQTT_PASSWORD } = process.env, { broker, hub = "" } = values;
  const version = VERSIONS[values.version];
  if (version === undefined) throw new TypeError(`Cannot use --version ${values.version}: it is 311, 5 or auto`);
  const isSecure = (url: string) => /^(mqtts|ssl|tls|wss):/i.test(url);
  if (values.ca !== undefined && ![broker, hub].some(isSecure)) {
    throw new TypeError("Cannot use --ca without a URL that begins with mqtts: or wss:");
  }
  const ca = values.ca === undefined ? undefined : readFileSync(values.ca, "utf8");
  const op: ConnectOptions = {
    version,
    ...MQTT_USER === undefined ? {} : { uname: MQTT_USER },
    ...MQTT_PASSWORD === undefined ? {} : { passwd: MQTT_PASSWORD },
    ...ca !== undefined && isSecure(broker) ? { tls: { ca } } : {},
  };
  await connect(broker, undefined, { ...op, signal: AbortSignal.abort() }).catch((error) => {
    if (!(error instanceof MqttError)) throw error;
  });
  return { broker, op, ...ca === undefined ? {} : { ca } };
}

/** An address without the user name and the password that it may have, and without what a URL may have behind its path. */
export function withoutLogin(address: string): string {
  return address.replace(/^(\w+:\/\/)?.*@/s, "$1").replace(/[?#].*$/s, "");
}

/**
 * Starts a bridge, and runs it until a signal ends it; a wrong option is told with the usage, and ends the program.
 * `farewell` is the last line, all counts by default.
 */
export async function run<B extends Bridge>(
  usage: string,
  start: () => B | Promise<B>,
  farewell: (bridge: B) => string = (bridge) => `Ended. All counts: ${JSON.stringify(bridge.status())}`,
): Promise<B> {
  try {
    const bridge = await start();
    runUntilSignal(bridge, () => farewell(bridge));
    return bridge;
  } catch (error) {
    const { message, code } = error as Error & { code?: string };
    if (error instanceof TypeError || error instanceof RangeError) leave(`${message}\n\n${usage}`, 2);
    if (code === undefined) throw error;
    return leave(message, 1); // a port, or a file, that is not for us
  }
}

/** Writes a line with the time. */
export function log(line: string): void {
  console.log(`${new Date().toISOString()} ${line}`);
}

function runUntilSignal(bridge: Bridge, farewell: () => string): void {
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => {
      void bridge.close().then(() => {
        log(farewell());
        process.exit(0);
      });
    });
  }
}
