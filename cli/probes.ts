/** What a port speaks, asked without the library: for `doctor`, when something else was expected there. */
import { connect, type Socket } from "node:net";
import {
  checkServerIdentity,
  connect as connectTls,
  type ConnectionOptions,
  type DetailedPeerCertificate,
} from "node:tls";
import type { Buffer } from "node:buffer";

export type Host = { host: string; port: number } | { path: string };

/** Something was expected to happen, and did not. */
export class NoAnswer extends Error {}

/** Settles as the socket does; its end is a failure, and so is the time. */
function settle<T>(
  socket: Socket,
  { event, after }: { event: string; after: number },
  take: (chunk?: Buffer) => T,
): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const timer = setTimeout(() => reject(new NoAnswer(`no answer within ${after / 1000} s`)), after);
    socket.on(event, (chunk?: Buffer) => {
      clearTimeout(timer);
      resolve(take(chunk));
    });
    // Listeners stay: a socket that is destroyed may still have an error to tell.
    socket.on("error", (error) => {
      clearTimeout(timer);
      reject(error);
    }).on("close", () => {
      clearTimeout(timer);
      reject(Object.assign(new Error("the server closed the connection"), { code: "CLOSED" }));
    });
  }).finally(() => socket.destroy());
}

/** Opens a connection, and closes it. */
export function reach(to: Host, after: number): Promise<void> {
  return settle(connect({ ...to, autoSelectFamily: false }), { event: "connect", after }, () => {});
}

/** What TLS has shown of a server. */
export interface Shown {
  protocol: string;
  /** Names it is for. */
  names: string[];
  subject: string;
  issuer: string;
  /** The issuers up to the last one that was sent or is known, nearest first. */
  chain: string[];
  from: Date;
  to: Date;
  /** Nobody vouches for it: what the runtime says of that. */
  untrusted: string | undefined;
  wrongName: boolean;
}

/** Does a handshake with whoever it is. */
export function handshake(
  to: { host: string; port: number },
  name: string,
  after: number,
  options: ConnectionOptions,
): Promise<Shown> {
  // The name is looked at below, and not by the runtime, which would hide all the rest behind it.
  const socket = connectTls({ ...to, ...options, rejectUnauthorized: false, checkServerIdentity: () => undefined });
  return settle(socket, { event: "secureConnect", after }, () => {
    const certificate = socket.getPeerCertificate(true);
    const names = certificate.subjectaltname?.split(", ").map((name) => plain(name.replace(/^\w+( Address)?:/, ""))) ??
      [];
    return {
      protocol: socket.getProtocol() ?? "TLS",
      names,
      subject: commonName(certificate.subject),
      issuer: commonName(certificate.issuer),
      chain: chainOf(certificate),
      from: new Date(certificate.valid_from),
      to: new Date(certificate.valid_to),
      untrusted: socket.authorized ? undefined : String(socket.authorizationError),
      wrongName: checkServerIdentity(name, certificate) !== undefined,
    };
  });
}

/** What a server says of itself, so that it does nothing to a terminal. */
function plain(text: string): string {
  return text.replaceAll(/\p{C}/gu, "?");
}

function commonName(name: { CN?: string | string[]; O?: string | string[] } | undefined): string {
  return plain([name?.CN ?? name?.O ?? "nobody"].flat().join(", "));
}

function chainOf(certificate: DetailedPeerCertificate): string[] {
  const names: string[] = [];
  for (let one = certificate; one?.issuer && names.length < 10; one = one.issuerCertificate) {
    names.push(commonName(one.issuer));
    if (one.issuerCertificate === one || commonName(one.subject) === commonName(one.issuer)) break;
  }
  return names.filter((name, i) => name !== names[i - 1]);
}

/** Sends bytes; resolves to the first ones that come back. */
function answer(to: Host, bytes: Uint8Array | string, after: number): Promise<Buffer> {
  const socket = connect(to);
  socket.write(bytes);
  return settle(socket, { event: "data", after }, (chunk) => chunk!);
}

/** CONNECT without anything that could be a secret: MQTT 3.1.1, a clean session, 10 s keep alive, no identifier. */
const CONNECT = Uint8Array.from([16, 12, 0, 4, 77, 81, 84, 84, 4, 2, 0, 10, 0, 0]);

/** A request that a web server answers, and one that does nothing but WebSockets, too, with whatever. */
const GET =
  "GET /mqtt HTTP/1.1\r\nHost: doctor\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n";

/** What is spoken on a port, if it is one of these. */
export async function spoken(
  to: { host: string; port: number },
  after: number,
): Promise<"mqtt" | "tls" | "http" | undefined> {
  const quiet = { after: Math.min(after, 2000) };
  const [mqtt, tls, http] = await Promise.all([
    answer(to, CONNECT, quiet.after).then((bytes) => bytes[0] === 32, () => false),
    handshake(to, to.host, quiet.after, {}).then(() => true, (error) => /alert/i.test(String(error))),
    answer(to, GET, quiet.after)
      .then((bytes) => bytes.toString("latin1").startsWith("HTTP/"), () => false),
  ]);
  return mqtt ? "mqtt" : tls ? "tls" : http ? "http" : undefined;
}
