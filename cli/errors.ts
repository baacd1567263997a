/** How a command ends: what it says, and its exit status. */
import { MqttError } from "../mod.ts";

/** The exit statuses that mosquitto_sub and mosquitto_pub have for the same (those of libmosquitto). */
export const EXIT = {
  done: 0,
  usage: 1,
  /** What the broker, or the version of MQTT, cannot do. */
  unsupported: 10,
  other: 13,
  timeout: 27,
} as const;

/** Exit statuses of errors; what is not here and a number, a code of the broker, is its own status. */
const STATUSES: Record<string, number> = {
  /** Nobody listens to a request, so no answer comes; over MQTT 3.1.1 it is a time that tells. */
  16: EXIT.timeout,
  unsupported: EXIT.unsupported,
  socketclosed: 7,
  pingresp: 7,
  untrusted: 8,
  wrongname: 8,
  expired: 8,
  tls: 8,
  overflow: 9,
  cannotconnect: 14,
  cannotresolve: 15,
  proxy: 16,
  timeout: EXIT.timeout,
};

/** Something that is wrong with the arguments, or that the command cannot do: told without a stack. */
export class CommandError extends Error {
  readonly status: number;

  constructor(message: string, status: number = EXIT.usage) {
    super(message);
    this.status = status;
  }
}

/** What an error of the library tells a program to write, and what is given to the command instead. */
const ADVICE: readonly (readonly [library: string, command: string])[] = [
  ["check uname and passwd", "check user name and password (-u, MQTT_PASSWORD)"],
  ["give the issuer's certificate as tls.ca", "give the issuer's certificate with --cafile"],
  ["connect to that, or give it as tls.servername", "connect to that name"],
  ["use mqtts:, or tls", "use mqtts:, or --tls"],
];

/** What is told of an error: with the names that a person at the terminal knows. */
export function messageOf({ message }: Error): string {
  return ADVICE.reduce((text, [library, command]) => text.replace(library, command), message);
}

/** What the promise is, unless a signal comes first: then the command ends with its status, and without a word. */
export function unless<T>(interrupted: Promise<number>, promise: Promise<T>): Promise<T> {
  const end = interrupted.then((status) => Promise.reject(new CommandError("", status)));
  return Promise.race([promise, end]);
}

/** The exit status for what was thrown; undefined if it is a mistake of the command itself. */
export function statusOf(error: unknown): number | undefined {
  if (error instanceof CommandError) return error.status;
  if (error instanceof MqttError) {
    return STATUSES[error.code] ?? (typeof error.code === "number" ? error.code : EXIT.other);
  }
  // What the library says of an argument, and the system of a file.
  if (error instanceof TypeError || error instanceof RangeError) return EXIT.usage;
  if (error instanceof Error && "syscall" in error) return EXIT.other;
  return undefined;
}
