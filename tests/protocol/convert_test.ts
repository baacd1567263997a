/** PUBLISH packets as those of the other version. */
import { assertEquals } from "@std/assert";
import { test } from "node:test";
import { convertPublish } from "../../src/protocol/convert.ts";
import { encodeNaive, encodeNaive5, NaiveConnection, NaiveReader, type Publish } from "../support/naive.ts";
import type { NaiveProperty } from "../support/naive_properties.ts";
import { Random } from "../support/random.ts";

const read = (bytes: Uint8Array, version: number) => new NaiveReader(new NaiveConnection(version)).push(bytes);

test("convert: any message of one version is the same in the other, but for its properties", () => {
  const random = new Random(7);
  for (let i = 0; i < 2000; i++) {
    const qos = random.int(0, 2);
    const packet: Publish = {
      type: "PUBLISH",
      topic: "t".repeat(random.pick([1, 2, 100, 126, 127, 16_000])),
      payload: new Uint8Array(random.pick([0, 1, 20, 122, 123, 124, 125, 16_370])).fill(7),
      qos,
      retain: random.chance(0.5),
      dup: qos > 0 && random.chance(0.5),
      packetId: qos === 0 ? 0 : random.int(1, 65_535),
    };
    const user: NaiveProperty[] = Array.from(
      { length: random.int(0, 3) },
      () => [38, ["a", "b".repeat(random.int(0, 90))]],
    );
    const expiry: NaiveProperty[] = random.chance(0.5) ? [[2, 7]] : [];
    const properties = [...expiry, ...user];
    const down = convertPublish(encodeNaive5({ ...packet, properties }), 5, 4);
    assertEquals(read(down.packet, 4), [packet]);
    assertEquals(down.isPoorer, user.length > 0);
    const up = convertPublish(encodeNaive(packet), 4, 5);
    assertEquals(read(up.packet, 5), [{ ...packet, properties: [] }]);
    assertEquals(up.isPoorer, false);
    const same = encodeNaive(packet);
    assertEquals(convertPublish(same, 4, 4), { packet: same, isPoorer: false });
  }
});
