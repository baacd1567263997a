/** Messages that have a subscription identifier and nothing else, of any length: there is a shorter way for some. */
import { assertEquals, assertThrows } from "@std/assert";
import { test } from "node:test";
import { Message } from "../../src/message.ts";
import { Decoder } from "../../src/protocol/decoder.ts";
import { bytes } from "../support/bytes.ts";
import { encodeNaive5 } from "../support/naive.ts";

test("[MQTT5-3.3.4-3] a subscription identifier alone: found, read, and beside other properties", () => {
  const decoder = new Decoder(1 << 20, 5);
  for (const id of [1, 127, 128, 1024, 1025, 1024, 16_383, 16_384, 268_435_455]) {
    for (const more of [[], [[38, ["a", "b"]]]] as [38, [string, string]][][]) {
      const what = { payload: new TextEncoder().encode("payload"), qos: 1, retain: false, dup: false, packetId: 7 };
      decoder.receive(encodeNaive5({ type: "PUBLISH", topic: "a/b", ...what, properties: [[11, id], ...more] }));
      const message = decoder.next();
      assertEquals(decoder.found.subscriptionIds, [id]);
      if (!(message instanceof Message)) throw new Error(`${id}`);
      assertEquals([message.topic, message.text(), decoder.packetId], ["a/b", "payload", 7]);
      assertEquals<unknown>(message.properties, {
        subscriptionIds: [id],
        ...more.length > 0 && { user: [["a", "b"]] },
      });
    }
  }
});

test("[MQTT5-1.5.5-1] an identifier in more bytes than it needs, 0, and one that is cut", () => {
  for (const literal of ["30 07 0001 61 03 0b 80 00", "30 06 0001 61 02 0b 00", "30 06 0001 61 03 0b 80"]) {
    const decoder = new Decoder(1 << 20, 5);
    decoder.receive(bytes(literal));
    assertThrows(() => decoder.next(), Error, "[MQTT5-", literal);
  }
});
