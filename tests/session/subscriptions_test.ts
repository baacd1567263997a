import { assertEquals, assertStrictEquals } from "@std/assert";
import { describe, test } from "node:test";
import type { FilterRequest, QoS } from "../../src/protocol/packet.ts";
import { TopicName } from "../../src/protocol/topic.ts";
import { Consumer } from "../../src/session/consumer.ts";
import { Inbox } from "../../src/session/inbox.ts";
import { type Group, Subscriptions } from "../../src/session/subscriptions.ts";
import { Random } from "../support/random.ts";
import { bytes, join } from "../support/bytes.ts";
import { CONNACK, RECONNECT, suback, Talk } from "./driver.ts";

function identified(id: number, ...filters: string[]): Group {
  return { ...group(...filters), id };
}

function group(...filters: string[]): Group {
  return { filters: filters.map((topic) => ({ topic, qos: 0 as QoS })), current: 0, id: undefined };
}

/** The packets in which everything is asked for again, and what is left of them. */
function renewals(
  subscriptions: Subscriptions,
  except: readonly Group[],
): { group: Group; filters: FilterRequest[] }[] {
  return subscriptions.groupsBut(except).map((group) => ({ group, filters: subscriptions.current(group) }));
}

/** A handler with a name. */
function named(name: string): Consumer {
  return new Consumer(Object.defineProperty(() => {}, "name", { value: name }));
}

/** The names of those who get a message. */
function who(subscriptions: Subscriptions, topic: string, ids?: number[]): string[] {
  const { consumers, inboxes } = subscriptions.recipients(new TopicName(topic), ids);
  return [...consumers.map(({ onpub: { name } }) => name), ...inboxes.map(({ filter }) => `inbox ${filter}`)].sort();
}

function renewed(subscriptions: Subscriptions, except: Group[] = []): string[] {
  return renewals(subscriptions, except).map(({ filters }) => filters.map(({ topic }) => topic).join());
}

describe("subscriptions: who gets a message", () => {
  test("those of every filter that matches, and otherwise the others' handler", () => {
    const subscriptions = new Subscriptions(named("others").onpub);
    assertEquals(who(subscriptions, "a"), ["others"]);
    subscriptions.subscribe(group("a"), named("A"));
    subscriptions.subscribe(group("+"), named("plus"));
    const inbox = new Inbox("#", 9, () => {});
    subscriptions.join(group("#"), inbox);
    assertEquals(who(subscriptions, "a"), ["A", "inbox #", "plus"]);
    assertEquals(who(subscriptions, "b"), ["inbox #", "plus"]);
    assertEquals(who(subscriptions, "b/c"), ["inbox #"]);
    assertEquals(who(subscriptions, "$SYS"), ["others"]);
    subscriptions.leave(inbox);
    assertEquals(who(subscriptions, "b/c"), ["others"]);
  });

  test("a copy with identifiers is for their subscriptions, also for one that was asked for again when it was under way", () => {
    const subscriptions = new Subscriptions(undefined);
    subscriptions.subscribe(identified(1, "a", "#"), named("first"));
    subscriptions.subscribe(identified(2, "a"), named("A"));
    assertEquals(who(subscriptions, "a", [1]), ["first"]);
    assertEquals(who(subscriptions, "a", [2]), ["A"]);
    subscriptions.join(identified(3, "#"), new Inbox("#", 9, () => {}));
    for (const ids of [[2, 1], [1, 2]]) {
      assertEquals(who(subscriptions, "a", ids), ["A", "first", "inbox #"], "the broker has not got the last packet");
    }
    assertEquals(who(subscriptions, "a", [2, 3]), ["A", "first", "inbox #"]);
    assertEquals(who(subscriptions, "a", [3]), ["first", "inbox #"]);
    assertEquals(who(subscriptions, "a", [9]), ["A", "first", "inbox #"], "of a process before");
    for (let id = 10; id < 100; id++) subscriptions.subscribe(identified(id, "a"), named("A"));
    assertEquals(who(subscriptions, "a", [98]), ["A"]);
  });

  test("a subscription without handler and iterators has no recipients of its own", () => {
    const subscriptions = new Subscriptions(named("others").onpub);
    subscriptions.subscribe(group("a"), undefined);
    assertEquals(who(subscriptions, "a"), ["others"]);
    subscriptions.subscribe(group("+"), named("plus"));
    assertEquals(who(subscriptions, "a"), ["plus"]);
    assertEquals(new Subscriptions(undefined).recipients(new TopicName("a")), { consumers: [], inboxes: [] });
  });

  test("subscribe() replaces the handler; iterators stay", () => {
    const subscriptions = new Subscriptions(named("others").onpub);
    subscriptions.subscribe(group("a"), named("first"));
    subscriptions.join(group("a"), new Inbox("a", 9, () => {}));
    assertEquals(who(subscriptions, "a"), ["first", "inbox a"]);
    subscriptions.subscribe(group("a"), named("second"));
    assertEquals(who(subscriptions, "a"), ["inbox a", "second"]);
    subscriptions.subscribe(group("a"), undefined);
    assertEquals(who(subscriptions, "a"), ["inbox a"]);
  });

  test("an iterator that is left: whether nobody wants its filter any more", () => {
    const subscriptions = new Subscriptions(undefined);
    const [one, two, three] = [1, 2, 3].map(() => new Inbox("a", 9, () => {}));
    subscriptions.join(group("a"), one!);
    subscriptions.join(group("a"), two!);
    assertEquals([subscriptions.leave(one!), subscriptions.leave(one!), subscriptions.leave(two!)], [
      false,
      false,
      true,
    ]);
    subscriptions.subscribe(group("a"), undefined);
    subscriptions.join(group("a"), three!);
    assertEquals(subscriptions.leave(three!), false, "subscribe() asked for it, too");
  });

  test("the same recipients are found again, not made again", () => {
    const subscriptions = new Subscriptions(undefined), name = new TopicName("a");
    subscriptions.subscribe(group("a"), named("A"));
    assertStrictEquals(subscriptions.recipients(name), subscriptions.recipients(name));
  });
});

describe("subscriptions: shared ones are found by the filter behind the group", () => {
  const shared: [filter: string, topic: string, isFound: boolean][] = [
    ["$share/g/a/+", "a/b", true],
    ["$share/g/a/+", "$share/g/a/b", false],
    ["$share/g/#", "a/b", true],
    ["$share/g/#", "$SYS/x", false],
    ["$queue/a", "a", true],
    ["$queue/a", "$queue/a", false],
    ["$share/g", "$share/g", true],
    ["$share/g", "g", false],
    ["$share//x", "x", false],
    ["$share//x", "$share//x", true],
    ["$share/g/", "$share/g/", true],
    ["$share/g/", "", false],
  ];
  for (const [filter, topic, isFound] of shared) {
    test(`"${filter}" ${isFound ? "gets" : "does not get"} "${topic}"`, () => {
      const subscriptions = new Subscriptions(named("others").onpub);
      const own = group(filter);
      subscriptions.subscribe(own, named("own"));
      assertEquals(who(subscriptions, topic), [isFound ? "own" : "others"]);
      subscriptions.remove(filter, own);
      assertEquals(who(subscriptions, topic), ["others"]);
    });
  }

  test("beside the filter itself, and other groups of it: each has its own handler", () => {
    const subscriptions = new Subscriptions(named("others").onpub);
    const groups = ["a", "$share/g/a", "$share/h/a", "$queue/a"].map((filter) => group(filter));
    for (const each of groups) subscriptions.subscribe(each, named(each.filters[0]!.topic));
    const all = ["$queue/a", "$share/g/a", "$share/h/a", "a"];
    assertEquals(who(subscriptions, "a"), all);
    for (const each of groups) {
      const { topic } = each.filters[0]!;
      subscriptions.remove(topic, each);
      all.splice(all.indexOf(topic), 1);
      assertEquals(who(subscriptions, "a"), all.length > 0 ? all : ["others"]);
    }
  });

  test("the session asks the broker for what was asked for, and routes by what is behind the group", () => {
    const talk = Talk.open({ reconnect: RECONNECT });
    const own = () => {};
    talk.subscribed(["$share/g/a"], own);
    talk.hears('30 03 0001 "a"');
    assertEquals(talk.session.handlers, [own]);
    const inbox = talk.iterate("$queue/b");
    talk.sends();
    talk.hears(join([suback(2, 0), bytes('30 03 0001 "b"')]));
    assertEquals(talk.session.backlog.take(inbox)?.topic, "b");
    talk.reconnect(CONNACK);
    assertEquals(talk.says(), ["SUBSCRIBE 3 $share/g/a", "SUBSCRIBE 4 $queue/b"]);
  });
});

describe("subscriptions: the packets in which they were asked for", () => {
  test("they are made again in those, in their order, without what another packet has asked for since", () => {
    const subscriptions = new Subscriptions(undefined);
    const groups = [group("a", "b", "c"), group("d"), group("b", "e"), group("d")];
    for (const each of groups) subscriptions.subscribe(each, undefined);
    assertEquals(renewed(subscriptions), ["a,c", "b,e", "d"]);
    assertEquals(renewed(subscriptions, [groups[2]!]), ["a,c", "d"], "but for those that wait for their answer");
    subscriptions.subscribe(group("a"), undefined);
    subscriptions.subscribe(group("c"), undefined);
    assertEquals(renewed(subscriptions), ["b,e", "d", "a", "c"]);
  });

  test("the QoS of the last one counts", () => {
    const subscriptions = new Subscriptions(undefined);
    subscriptions.subscribe(
      { filters: [{ topic: "a", qos: 2 }, { topic: "b", qos: 2 }], current: 0, id: undefined },
      undefined,
    );
    subscriptions.subscribe({ filters: [{ topic: "a", qos: 1 }], current: 0, id: undefined }, undefined);
    assertEquals(renewals(subscriptions, []).map(({ filters }) => filters), [
      [{ topic: "b", qos: 2 }],
      [{ topic: "a", qos: 1 }],
    ]);
  });

  test("the same filter twice in one packet", () => {
    const subscriptions = new Subscriptions(undefined), twice = group("a", "a");
    subscriptions.subscribe(twice, named("A"));
    assertEquals([renewed(subscriptions), who(subscriptions, "a")], [["a,a"], ["A"]]);
    subscriptions.remove("a", twice);
    assertEquals([renewed(subscriptions), who(subscriptions, "a")], [[], []]);
  });

  test("one is taken out by the packet that asked for it last, and by no other", () => {
    const subscriptions = new Subscriptions(undefined);
    const [first, second] = [group("a", "b"), group("a")];
    const inbox = new Inbox("a", 9, () => {});
    subscriptions.subscribe(first, named("first"));
    subscriptions.join(second, inbox);
    assertEquals(subscriptions.remove("a", first), []);
    assertEquals(subscriptions.remove("a", undefined), []);
    assertEquals(who(subscriptions, "a"), ["first", "inbox a"]);
    assertEquals(subscriptions.remove("a", second), [inbox], "its iterators end with it");
    assertEquals(subscriptions.remove("a", second), []);
    assertEquals(renewed(subscriptions), ["b"]);
    assertEquals(subscriptions.groupsOf(["a", "b", "c"]), [undefined, first, undefined]);
  });

  test("granted once, it stays so until it is taken out", () => {
    const subscriptions = new Subscriptions(undefined), [first, second] = [group("a"), group("a")];
    subscriptions.grant("a");
    assertEquals(subscriptions.isGranted("a"), false, "nobody has asked for it");
    subscriptions.subscribe(first, undefined);
    assertEquals(subscriptions.isGranted("a"), false);
    subscriptions.grant("a");
    subscriptions.subscribe(second, undefined);
    assertEquals(subscriptions.isGranted("a"), true);
    subscriptions.remove("a", second);
    subscriptions.subscribe(group("a"), undefined);
    assertEquals(subscriptions.isGranted("a"), false);
  });

  test("any order of calls: every filter is in the packet that asked for it last, and nothing is left", () => {
    const names = ["a", "b", "c", "d", "$share/g/a"];
    for (let seed = 1; seed <= 200; seed++) {
      const random = new Random(seed), subscriptions = new Subscriptions(undefined);
      const last = new Map<string, Group>();
      for (let step = 0; step < 50; step++) {
        const each = group(...Array.from({ length: random.int(1, 4) }, () => random.pick(names)));
        if (random.chance(0.6)) {
          subscriptions.subscribe(each, named("x"));
          for (const { topic } of each.filters) last.set(topic, each);
        } else {
          const filter = random.pick(names);
          subscriptions.remove(filter, last.get(filter));
          last.delete(filter);
        }
        const found = renewals(subscriptions, []).flatMap(({ group, filters }) =>
          [...new Set(filters.map(({ topic }) => topic))].map((topic) => [topic, group] as const)
        );
        assertEquals(found.length, last.size, `seed ${seed}, step ${step}`);
        for (const [topic, group] of found) assertStrictEquals(last.get(topic), group);
      }
      for (const [filter, each] of last) subscriptions.remove(filter, each);
      assertEquals([renewals(subscriptions, []), who(subscriptions, "a"), subscriptions.inboxes], [[], [], []]);
    }
  });
});
