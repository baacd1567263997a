/** The brokers inside the examples: what aedes needs of its connections. */
import { Buffer } from "node:buffer";
import type { Duplex } from "node:stream";

/** aedes reads once for each 'readable'. On Deno that may be a part, and no other event comes for the rest. */
export function readWhole<D extends Duplex>(socket: D): D {
  const read = socket.read.bind(socket);
  socket.read = () => {
    const parts: Buffer[] = [];
    for (let part; (part = read()) !== null;) parts.push(part);
    return parts.length === 0 ? null : Buffer.concat(parts);
  };
  return socket;
}
