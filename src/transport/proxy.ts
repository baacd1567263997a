/** A tunnel through a proxy: SOCKS5 (RFC 1928, RFC 1929) or HTTP CONNECT (RFC 9110, section 9.3.6).
 * @module */

import type { Socket } from "node:net";
import { MqttError } from "../errors.ts";
import { authorityOf, type Host, ipVersion } from "./host.ts";
import type { SocketTransport } from "./socket.ts";

const utf8 = new TextEncoder();

/** A proxy, from its URL. */
export type Proxy = { protocol: "socks5" | "http"; host: string; port: number; uname: string; passwd: string };

/** What a SOCKS5 proxy says when it cannot (RFC 1928, section 6). */
const REPLIES = ("succeeded, general failure, connection not allowed, network unreachable, host unreachable, " +
  "connection refused, TTL expired, command not supported, address type not supported").split(", ");

/** The longest header of an answer to HTTP CONNECT, in bytes. */
const MAX_HEADER = 16_384;

/** A conversation about the way to a host; `hear` gives as many bytes as asked for. */
type Talk = { say(bytes: Iterable<number>): void; hear(count: number): Promise<number[]>; proxy: Proxy; to: Host };

/**
 * Makes a connected socket to the proxy one to the host: the proxy resolves its name.
 *
 * @throws {MqttError} `"proxy"`; or what the signal was aborted with.
 */
export async function tunnel(
  link: SocketTransport<Socket>,
  proxy: Proxy,
  to: Host,
  signal: AbortSignal,
): Promise<void> {
  const { protocol, host, port } = proxy;
  const failure = (what: string, cause?: Error) =>
    new MqttError("proxy", `No way through the proxy ${protocol}://${host}:${port}: ${what}`, cause);
  const closed = (cause?: Error) => failure(cause?.message ?? "it closed the connection", cause);
  const say = (bytes: Iterable<number>) => void link.stream.write(Uint8Array.from(bytes));
  const hear = async (count: number) => {
    const heard: number[] = [];
    while (heard.length < count) {
      const byte: Uint8Array | null = link.stream.read(1); // what comes after the proxy's answer is for the client
      if (byte === null) await link.ready("readable", signal, closed);
      else heard.push(byte[0]!);
    }
    return heard;
  };
  const problem = await (protocol === "socks5" ? socks5 : httpConnect)({ say, hear, proxy, to });
  if (problem === undefined) return;
  link.close();
  throw failure(problem);
}

/** Both return what went wrong. */
async function socks5({ say, hear, proxy: { uname, passwd }, to: { host, port } }: Talk): Promise<string | undefined> {
  say(uname ? [5, 2, 0, 2] : [5, 1, 0]);
  const [version, method] = await hear(2);
  if (version !== 5) return "it does not speak SOCKS5";
  if (method === 2 && uname) {
    say([1, ...counted(uname), ...counted(passwd)]);
    if ((await hear(2))[1] !== 0) return "it refused the user name and password";
  } else if (method !== 0) {
    return uname ? "it accepts no user name and password" : "it asks for a user name and password";
  }
  say([5, 1, 0, ...address(host), port >> 8, port & 255]);
  const [, reply, , type, first] = await hear(5);
  if (reply !== 0) return `it cannot connect to ${host}, port ${port}: ${REPLIES[reply!] ?? `reply ${reply}`}`;
  // The address it bound, of which one byte has been heard, and two bytes of port.
  const rest = type === 1 ? 3 : type === 4 ? 15 : type === 3 ? first! : undefined;
  if (rest === undefined) return `it answered with address type ${type}`;
  await hear(rest + 2);
  return undefined;
}

function counted(text: string): number[] {
  const bytes = utf8.encode(text);
  return [bytes.length, ...bytes];
}

function address(host: string): number[] {
  if (ipVersion(host) === 0) return [3, ...counted(host)];
  if (ipVersion(host) === 4) return [1, ...host.split(".").map(Number)];
  // A URL spells it in words of 16 bits, without the zone, which means nothing to the proxy.
  const [head, tail] = new URL(`http://[${host.replace(/%.*/, "")}]`).hostname.slice(1, -1).split("::");
  const [before, after] = [head, tail].map((part) => part ? part.split(":") : []) as [string[], string[]];
  const zeros = new Array(8 - before.length - after.length).fill("0");
  return [4, ...[...before, ...zeros, ...after].flatMap((word) => [parseInt(word, 16) >> 8, parseInt(word, 16) & 255])];
}

async function httpConnect({ say, hear, proxy, to }: Talk): Promise<string | undefined> {
  const authority = authorityOf(to);
  const credentials = btoa(String.fromCharCode(...utf8.encode(`${proxy.uname}:${proxy.passwd}`)));
  const login = proxy.uname && `Proxy-Authorization: Basic ${credentials}\r\n`;
  say(utf8.encode(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n${login}\r\n`));
  let header = "";
  while (!header.endsWith("\r\n\r\n")) {
    if (header.length === MAX_HEADER) return "its answer does not end";
    header += String.fromCharCode(...await hear(1));
    if (!"HTTP/1.".startsWith(header.slice(0, 7))) return "it does not speak HTTP";
  }
  return /^HTTP\/1\.[01] 2\d\d/.test(header) ? undefined : `it answered ${header.split("\r\n", 1)[0]} for ${authority}`;
}
