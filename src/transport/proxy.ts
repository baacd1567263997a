/** A tunnel through a proxy: SOCKS5 (RFC 1928, RFC 1929) or HTTP CONNECT (RFC 9110, section 9.3.6).
 * @module */

import { isIP, type Socket } from "node:net";
import { MqttError } from "../errors.ts";

const utf8 = new TextEncoder();

/** A proxy, from its URL. */
export interface Proxy {
  protocol: "socks5" | "http";
  host: string;
  port: number;
  uname: string;
  passwd: string;
}

/** What a SOCKS5 proxy says when it cannot (RFC 1928, section 6). */
const REPLIES = [
  "",
  "general failure",
  "connection not allowed",
  "network unreachable",
  "host unreachable",
  "connection refused",
  "TTL expired",
  "command not supported",
  "address type not supported",
];

/** The longest header of an answer to HTTP CONNECT, in bytes. */
const MAX_HEADER = 16_384;

/**
 * Makes a connected socket to the proxy one to the host: the proxy resolves its name.
 *
 * @throws {MqttError} `"proxy"`; or what the signal was aborted with.
 */
export async function tunnel(
  socket: Socket,
  proxy: Proxy,
  host: string,
  port: number,
  signal: AbortSignal,
): Promise<void> {
  const input = new Input(socket, proxy, signal);
  try {
    if (proxy.protocol === "socks5") {
      await socks5(socket, input, proxy, host, port);
    } else await httpConnect(socket, input, proxy, host, port);
  } catch (error) {
    socket.destroy();
    throw error;
  } finally {
    input.release();
  }
}

async function socks5(socket: Socket, input: Input, proxy: Proxy, host: string, port: number): Promise<void> {
  const withPassword = proxy.uname !== "";
  socket.write(Uint8Array.from(withPassword ? [5, 2, 0, 2] : [5, 1, 0]));
  const [version, method] = await input.take(2);
  if (version !== 5) throw input.failure("it does not speak SOCKS5");
  if (method === 2 && withPassword) {
    const uname = utf8.encode(proxy.uname), passwd = utf8.encode(proxy.passwd);
    socket.write(Uint8Array.from([1, uname.length, ...uname, passwd.length, ...passwd]));
    const [, status] = await input.take(2);
    if (status !== 0) throw input.failure("it refused the user name and password");
  } else if (method !== 0) {
    throw input.failure(withPassword ? "it accepts no user name and password" : "it asks for a user name and password");
  }
  const name = utf8.encode(host);
  const address = isIP(host) === 4
    ? [1, ...host.split(".").map(Number)]
    : isIP(host) === 6
    ? [4, ...ipv6(host)]
    : [3, name.length, ...name];
  socket.write(Uint8Array.from([5, 1, 0, ...address, port >> 8, port & 255]));
  const [, reply, , type, first] = await input.take(5);
  if (reply !== 0) {
    throw input.failure(`it cannot connect to ${host}, port ${port}: ${REPLIES[reply!] ?? `reply ${reply}`}`);
  }
  // The address it bound, of which one byte has been taken, and two bytes of port.
  const rest = type === 1 ? 3 : type === 4 ? 15 : type === 3 ? first! : undefined;
  if (rest === undefined) throw input.failure(`it answered with address type ${type}`);
  await input.take(rest + 2);
}

function ipv6(host: string): number[] {
  const [head, tail] = host.split("::").map((part) => part === "" ? [] : part.split(":").flatMap(word));
  const zeros = new Array(16 - head!.length - (tail?.length ?? 0)).fill(0);
  return [...head!, ...zeros, ...tail ?? []];
}

function word(text: string): number[] {
  if (text.includes(".")) return text.split(".").map(Number);
  const value = parseInt(text, 16);
  return [value >> 8, value & 255];
}

async function httpConnect(socket: Socket, input: Input, proxy: Proxy, host: string, port: number): Promise<void> {
  const authority = `${isIP(host) === 6 ? `[${host}]` : host}:${port}`;
  const credentials = btoa(String.fromCharCode(...utf8.encode(`${proxy.uname}:${proxy.passwd}`)));
  socket.write(
    `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n` +
      (proxy.uname === "" ? "" : `Proxy-Authorization: Basic ${credentials}\r\n`) + "\r\n",
  );
  let header = "";
  while (!header.endsWith("\r\n\r\n")) {
    if (header.length === MAX_HEADER) throw input.failure("its answer does not end");
    header += String.fromCharCode((await input.take(1))[0]!);
    if (!"HTTP/1.".startsWith(header.slice(0, 7))) throw input.failure("it does not speak HTTP");
  }
  const status = /^HTTP\/1\.[01] (\d{3})/.exec(header)?.[1];
  if (status?.[0] !== "2") {
    throw input.failure(`it answered ${header.slice(0, header.indexOf("\r\n"))} for ${authority}`);
  }
}

/** What the proxy says, byte by byte. */
class Input {
  readonly #socket: Socket;
  readonly #proxy: Proxy;
  readonly #signal: AbortSignal;
  #bytes: number[] = [];
  #over: unknown;
  #wake = () => {};

  constructor(socket: Socket, proxy: Proxy, signal: AbortSignal) {
    this.#socket = socket;
    this.#proxy = proxy;
    this.#signal = signal;
    socket.on("data", this.#received).on("error", this.#failed).on("close", this.#closed);
    signal.addEventListener("abort", this.#aborted);
    if (signal.aborted) this.#aborted();
  }

  readonly #received = (chunk: Uint8Array) => {
    this.#bytes.push(...chunk);
    this.#wake();
  };
  readonly #failed = (cause: Error) => this.#end(this.failure(cause.message, cause));
  readonly #closed = () => this.#end(this.failure("it closed the connection"));
  readonly #aborted = () => this.#end(this.#signal.reason);

  #end(error: unknown): void {
    this.#over ??= error;
    this.#wake();
  }

  failure(what: string, cause?: unknown): MqttError {
    const { protocol, host, port } = this.#proxy;
    return new MqttError(
      "proxy",
      `No way through the proxy ${protocol}://${host}:${port}: ${what}`,
      cause,
    );
  }

  async take(count: number): Promise<number[]> {
    while (this.#bytes.length < count) {
      if (this.#over !== undefined) throw this.#over;
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
    return this.#bytes.splice(0, count);
  }

  /** Leaves the socket to the next reader. Bytes before the client spoke would be a lie: the reader sees none. */
  release(): void {
    this.#socket.off("data", this.#received).off("error", this.#failed).off("close", this.#closed).pause();
    this.#signal.removeEventListener("abort", this.#aborted);
    if (this.#bytes.length > 0) this.#socket.unshift(Uint8Array.from(this.#bytes));
  }
}
