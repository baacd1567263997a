/**
 * A resolver (RFC 1035) that answers as a file says, which it reads for each question: late, that there is no such name,
 * or with addresses. It has IPv4 addresses only.
 */
import { createSocket } from "node:dgram";
import { readFileSync } from "node:fs";
import process from "node:process";
import type { Names } from "./lab.ts";

const [file = "", known = ""] = process.argv.slice(2);
const HEADER = 12;
/** Types of questions. */
const A = 1;
/** Response, recursion desired and available (section 4.1.1); with an error or without. */
const OK = 0x8180, NO_SUCH_NAME = 0x8183;

/** The name of the only question, and where its type begins. */
function question(query: Uint8Array): { name: string; end: number } {
  const labels: string[] = [];
  let at = HEADER;
  for (let length = query[at]!; length > 0; length = query[at]!) {
    labels.push(new TextDecoder().decode(query.subarray(at + 1, at + 1 + length)));
    at += 1 + length;
  }
  return { name: labels.join("."), end: at + 1 };
}

function answer(query: Uint8Array, { addresses }: Names): Uint8Array {
  const { name, end } = question(query);
  const type = query[end]! << 8 | query[end + 1]!;
  const isKnown = name.toLowerCase() === known && addresses.length > 0;
  const found = isKnown && type === A ? addresses : [];
  const flags = isKnown ? OK : NO_SUCH_NAME;
  const head = [query[0]!, query[1]!, flags >> 8, flags & 255, 0, 1, 0, found.length, 0, 0, 0, 0];
  // Each: the name of the question, type, class Internet, no time to live, four bytes of address (section 4.1.3).
  const records = found.flatMap((
    address,
  ) => [0xc0, HEADER, 0, A, 0, 1, 0, 0, 0, 0, 0, 4, ...address.split(".").map(Number)]);
  return Uint8Array.from([...head, ...query.subarray(HEADER, end + 4), ...records]);
}

const socket = createSocket("udp4");
socket.on("message", (query, { port, address }) => {
  const names: Names = JSON.parse(readFileSync(file, "utf8"));
  setTimeout(() => socket.send(answer(query, names), port, address), names.delay ?? 0);
});
socket.bind(53, "127.0.0.1", () => process.stdout.write("ready\n"));
