import { test } from "node:test";
import { assertEquals } from "@std/assert";
import { Answers } from "../../src/worker/answers.ts";
import { bytes, hex, join } from "../support/bytes.ts";
import { Random } from "../support/random.ts";

/** What is for the client of a stream that comes in pieces of these sizes, the last of them again and again. */
function receive(answers: Answers, stream: Uint8Array, sizes: number[]): { client: string; answered: number } {
  const parts: Uint8Array[] = [];
  let answered = 0;
  for (let at = 0, i = 0; at < stream.length; i++) {
    const size = sizes[Math.min(i, sizes.length - 1)]!;
    const received = answers.receive(stream.slice(at, at += size));
    parts.push(...received.parts);
    if (received.answered) answered++;
  }
  parts.push(answers.last());
  return { client: hex(join(parts)), answered };
}

const publish = '30 06 0001 "t" d0 00 d0'; // as many PINGRESP as bytes, for who is out of step
const pong = "d0 00";

/** PINGREQs in the order they go out, and what the client gets of the answers. */
const streams: [what: string, sent: ("own" | "client")[], received: string, client: string][] = [
  ["the answer to an own ping is taken out", ["own"], `${publish} ${pong} ${publish}`, `${publish} ${publish}`],
  ["the answer to the client's goes on", ["client"], `${publish} ${pong} ${publish}`, `${publish} ${pong} ${publish}`],
  [
    "in the order they went out",
    ["client", "own", "client"],
    `${pong} ${publish} ${pong} ${pong}`,
    `${pong} ${publish} ${pong}`,
  ],
  ["several own ones", ["own", "own", "client"], `${pong} ${pong} ${pong}`, pong],
  ["one that nobody asked for goes on", [], `${pong} ${publish}`, `${pong} ${publish}`],
  ["one too many goes on", ["own"], `${pong} ${pong}`, pong],
  ["another length is for the client to refuse", ["own"], "d0 01 00", "d0 01 00"],
  ["so are other flags", ["own"], "d1 00", "d1 00"],
  ["the first byte alone is passed on at the end", ["own"], `${publish} d0`, `${publish} d0`],
];

for (const [what, sent, received, client] of streams) {
  test(`answers: ${what}, whatever the cut`, () => {
    const stream = bytes(received);
    const random = new Random(3);
    const cuts = [
      [stream.length],
      [1],
      [2],
      [3],
      ...Array.from({ length: 50 }, () => [random.int(1, 9), random.int(1, 5)]),
    ];
    for (const sizes of cuts) {
      const answers = new Answers();
      for (const who of sent) {
        if (who === "own") answers.asked();
        else answers.passed(bytes(`30 05 0001 "a" c0 00 c0 00`));
      }
      assertEquals(receive(answers, stream, sizes).client, hex(bytes(client)), `cut ${sizes}`);
    }
  });
}

test("answers: pings of the client are counted in whatever cut of its bytes, and only those", () => {
  const sent = bytes(`c0 00 30 07 0001 "a" c0 00 c0 00 82 06 0001 0001 "a" 00 c0 00`);
  for (let size = 1; size <= sent.length; size++) {
    const answers = new Answers();
    for (let at = 0; at < sent.length; at += size) answers.passed(sent.subarray(at, at + size));
    answers.asked();
    assertEquals(receive(answers, bytes("d0 00 d0 00 d0 00"), [6]), { client: "d0 00 d0 00", answered: 1 });
  }
});

test("answers: CONNACK is seen, and an answer when it is whole", () => {
  const answers = new Answers();
  const { accepted, answered } = answers.receive(bytes("20 02 00 00"));
  assertEquals([accepted, answered], [true, false]);
  answers.asked();
  assertEquals(answers.receive(bytes("d0")), { parts: [], accepted: false, answered: false });
  assertEquals(answers.receive(bytes("00")), { parts: [], accepted: false, answered: true });
});
