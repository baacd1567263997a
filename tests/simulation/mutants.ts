/** Mistakes to make in a copy of the sources: the simulation must find each of them. */
import { durableMutants } from "./durable/mutants.ts";
import { hintMutants } from "./hint_mutants.ts";
import { mutants5 } from "./mutants5.ts";
import { qosMutants } from "./qos/mutants.ts";
import { qosMutants5 } from "./qos/mutants5.ts";
import type { Kind } from "./simulate.ts";

/** A mistake. */
export interface Mutant {
  /** What is wrong then. */
  readonly mistake: string;
  readonly file: string;
  /** A piece of the source, which must be there, and what takes its place. */
  readonly find: string;
  readonly replace: string;
  /** Which histories find it; those of the client in the event loop unless it says otherwise. */
  readonly kind?: Kind;
  /** The seed of the first history, where few show it. */
  readonly from?: number;
}

const client = "src/client/loop_client.ts";
const loop = "src/client/loop.ts";
const link = "src/client/link.ts";
const sync = "src/client/sync_client.ts";
const syncLink = "src/client/sync_link.ts";
const ending = "src/session/ending.ts";
const session = "src/session/session.ts";
const lifecycle = "src/session/lifecycle.ts";
const deadlines = "src/session/deadlines.ts";
const intake = "src/session/intake.ts";
const subscriber = "src/session/subscriber.ts";
const receiver = "src/session/receiver.ts";
const backlog = "src/session/backlog.ts";
const flushes = "src/session/flushes.ts";
const attempts = "src/session/attempts.ts";
const call = "src/client/call.ts";

export const mutants: readonly Mutant[] = [
  {
    mistake: "a request is not rejected at the end: its promise never settles",
    file: subscriber,
    find: "this.#events.settle(request.call, { error: isDone ? undefined : reason });",
    replace: "",
  },
  {
    mistake: "a publish() that waits for room never goes on",
    file: session,
    find: '    this.#publisher.makeRoom();\n    if (this.#lifecycle.state === "leaving"',
    replace: '    if (this.#lifecycle.state === "leaving"',
  },
  {
    mistake: "a second write while one is in flight",
    file: session,
    find: "if (connection === undefined || connection.inFlight > 0) return undefined;",
    replace: "if (connection === undefined) return undefined;",
  },
  {
    mistake: "an attempt that was given up leaves its connection open",
    file: link,
    find: "else transport.close();",
    replace: "",
  },
  {
    mistake: "disconnect() does not wait for what was accepted",
    file: session,
    find: "bytes = this.#parts.output.take();",
    replace: 'bytes = state === "closing" ? undefined : this.#parts.output.take();',
  },
  {
    mistake: "a full iterator does not stop the reading",
    file: backlog,
    find: "this.hasRoom = !this.#isFull && this.#fullInboxes === 0;",
    replace: "this.hasRoom = !this.#isFull;",
  },
  {
    mistake: "reading does not go on when an iterator has room again",
    file: link,
    find: "this.#transport!.resume();",
    replace: "",
  },
  {
    mistake: "a timer that rings late gives its verdict at once",
    file: deadlines,
    find: "const by = secondLook.take();",
    replace: "const by = (secondLook.take(), now);",
  },
  {
    mistake: "PINGREQ is never sent",
    file: "src/session/keepalive.ts",
    find: "if (now < this.#lastSent + this.#after && !silent) return false;",
    replace: "if (now > 0) return false;",
  },
  {
    mistake: "PINGRESP is waited for without an end where the line may be busy",
    file: "src/session/keepalive.ts",
    find: "Math.min(Math.max(Math.floor(later / 1000), 0) * 1000, this.#most)",
    replace: "(later > 0 ? 1e9 : 0)",
  },
  {
    mistake: "subscriptions are not made again after the connection was lost",
    file: subscriber,
    find: "const groups = hasAll ? [] : ",
    replace: "const groups = now > 0 ? [] : ",
  },
  {
    mistake: "acknowledgements of the old connection go to the next one",
    file: "src/protocol/output.ts",
    find: "if (block[start]! >> 4 !== PUBLISH || (block[start]! & 6) !== 0) continue;",
    replace: "",
  },
  {
    mistake: "pings are judged while a full iterator stops the reading",
    file: deadlines,
    find: "isPingDue(this.#lifecycle.now, this.#intake.isReading)",
    replace: "isPingDue(this.#lifecycle.now, true)",
  },
  {
    mistake: "a block is filled again while a part of it waits",
    file: "src/protocol/output.ts",
    find: "!this.#full.some((waiting) => waiting.buffer === buffer)",
    replace: "true",
    from: 1_100,
  },
  {
    mistake: "the signal keeps its listener after the end",
    file: client,
    find: "    this.#stopAbort?.();\n",
    replace: "",
  },
  {
    mistake: "a lost message is nobody's to know after disconnect()",
    file: lifecycle,
    find: "ending.settle(unsent === 0 ? undefined : wasAccepted ? error : notSent(unsent));",
    replace: "ending.settle(undefined);",
  },

  // ---- subscriptions and a lost connection
  {
    mistake: "subscriptions are made again in one packet",
    file: subscriber,
    find: "this.#toRenew = groups.reverse();",
    replace: "this.#toRenew = groups.slice(0, 1)" +
      ".map(({ group }) => ({ group, filters: groups.flatMap((other) => other.filters) }));",
  },
  {
    mistake: "subscriptions are made again after what was published meanwhile",
    file: subscriber,
    find: "this.#output.addFirst(concat(",
    replace: "this.#output.add(concat(",
  },
  {
    mistake: "a filter whose request has failed is asked for again",
    file: subscriber,
    find: "if (!this.subscriptions.isGranted(topic)) this.#forget(topic, group, error);",
    replace: "",
  },
  {
    mistake: "a filter that was refused is asked for again",
    file: subscriber,
    find: "      this.#forget(topic, group, error);\n      if (!renews)",
    replace: "      if (!renews)",
  },
  {
    mistake: "a request without an answer is asked again for ever",
    file: subscriber,
    find: "++request.lost === MOST_LOST",
    replace: "++request.lost === Infinity",
  },
  {
    mistake: "a request without an answer is not asked again",
    file: subscriber,
    find: "++request.lost === MOST_LOST",
    replace: "++request.lost > 0",
  },
  {
    mistake: "a request without an answer is asked again with another packet identifier",
    file: subscriber,
    find: "this.#sendFirst([...renewals, ...givenUp, ...unanswered], now);",
    replace: "this.#sendFirst([...renewals, ...givenUp, " +
      "...unanswered.map((request) => ({ ...request, packetId: this.#requests.freeId() }))], now);",
  },
  {
    mistake: "the deadline of a request runs while there is no connection",
    file: subscriber,
    find: "for (const request of requests) this.#requests.send(request, now + this.#settings.timeout);",
    replace:
      "for (const request of requests) this.#requests.send(request, request.due || now + this.#settings.timeout);",
  },
  {
    mistake: "unsubscribe() waits for the broker while there is no connection",
    file: subscriber,
    find: "if (this.#limits !== undefined) this.#send({ ...this.#unsubscribeRequest(filters), call, leaves }, now);",
    replace: "if (now >= 0) this.#send({ ...this.#unsubscribeRequest(filters), call, leaves }, now);",
  },
  {
    mistake: "an UNSUBSCRIBE without an answer fails with its connection",
    file: subscriber,
    find: "if (request.type === UNSUBSCRIBE) this.#giveUpAway(request.filters, request.groups, request.call);",
    replace: "if (request.type === UNSUBSCRIBE) this.#events.settle(request.call, { error });",
  },
  {
    mistake: "a subscription given up while there is no connection is made again",
    file: subscriber,
    find: "      this.#forget(filter, groups[i]);\n      // Unless",
    replace: "      // Unless",
  },
  {
    mistake: "a filter given up while its request waits for a connection is asked for",
    file: subscriber,
    find: "of wasAskedSince ? [] : this.#requests.withdraw(filter)) {",
    replace: "of []) {",
  },
  {
    mistake: "a broker that kept the session is not told what was given up meanwhile",
    file: subscriber,
    find: "if (!this.#settings.cleanSession && !this.subscriptions.isGranted(filter)) this.#givenUp.add(filter);",
    replace: "",
  },
  {
    mistake: "a broker that did not answer UNSUBSCRIBE in time is not told again",
    file: subscriber,
    find: "if (!this.#settings.cleanSession && group === undefined) this.#givenUp.add(filter);",
    replace: "",
  },
  {
    mistake: "the answer to that takes a subscription that was asked for since",
    file: subscriber,
    find: ", groups: [] }));",
    replace: " }));",
    from: 2_000,
  },
  {
    mistake: "a refusal of a subscription that is made again ends the client",
    file: subscriber,
    find: "for (const next of renews ? this.#takeRenewals(1) : []) this.#sendUnasked(next, now);",
    replace: "if (renews && error !== undefined) throw error;",
  },
  {
    mistake: "a refusal of a subscription that is made again is not told",
    file: subscriber,
    find: 'this.#events.tell({ type: "refused", filter: topic, error: this.#refused([topic], codes[i]!, packet) });',
    replace: "",
  },
  {
    mistake: "a subscription that is made again, and gets no answer, is forgotten",
    file: subscriber,
    find: "else if (request.type === SUBSCRIBE && request.renews) return error;",
    replace: "",
    from: 1_000,
  },
  {
    mistake: "a packet identifier in use is taken",
    file: "src/session/packet_ids.ts",
    find: "do this.#last = this.#last % 65_535 + 1; while (this.#isUsed(this.#last));",
    replace: "this.#last = this.#last % 8 + 1;",
  },

  // ---- messages over maxPacketSize
  {
    mistake: "a message over maxPacketSize ends the connection",
    file: intake,
    find: "if (this.#lifecycle.isDelivering) receiver.drop(packet);",
    replace: 'throw new MqttError("overflow", "It is too long");',
  },
  {
    mistake: "a message over maxPacketSize is not counted",
    file: receiver,
    find: "    this.#dropped++;\n",
    replace: "",
  },
  {
    mistake: "a message over maxPacketSize is not told",
    file: receiver,
    find: 'this.#events.tell({ type: "dropped", topic, size, error });',
    replace: "",
  },
  {
    mistake: "the payload of a message over maxPacketSize is not passed over",
    file: "src/protocol/decoder.ts",
    find: "    this.#skip = limit - payload;\n",
    replace: "",
  },

  // ---- attempts, and the end
  {
    mistake: "CONNACK with return code 5 is final at a reconnect",
    file: lifecycle,
    find: "if (code !== 0) return ",
    replace:
      "if (code === 5) return this.#close(connectionRefused(packet, connection.given));\n    if (code !== 0) return ",
  },
  {
    mistake: "a client that was never accepted is tried again",
    file: attempts,
    find: 'return { next: "end", error: this.#summary(error), delay: 0, failures };',
    replace: 'return { next: "wait", error: this.#summary(error), delay: 1000, failures };',
  },
  {
    mistake: "the delays do not grow",
    file: "src/session/retry.ts",
    find: "policy.minDelay * 2 ** (this.#failures - 1)",
    replace: "policy.minDelay",
  },
  {
    mistake: "a connection that lasted for a moment makes the delays begin anew",
    file: "src/session/retry.ts",
    find: "lasted !== undefined && lasted >= policy.stableAfter ? 1",
    replace: "lasted !== undefined ? 1",
  },
  {
    mistake: "what was asked for after an UNSUBSCRIBE is given up with it when the connection is lost",
    file: subscriber,
    find: "[filter])[0] !== groups[i];",
    replace: "[filter])[0] !== groups[i] && false;",
    from: 49_700,
  },
  {
    mistake: "an iterator that has failed by itself counts as one that hears of the end",
    file: client,
    find: "if (error === session.reason) session.listen();",
    replace: "session.listen();",
    from: 22_200,
  },
  {
    mistake: "an end that nobody hears of does not surface",
    file: loop,
    find: "return surface(event.error);",
    replace: "return;",
  },
  {
    mistake: "an end that a call has told surfaces",
    file: ending,
    find: "if (error === this.#reason) this.listen();",
    replace: "",
  },
  {
    mistake: "an end that run() tells surfaces",
    file: ending,
    find: "    this.#heard = true;\n",
    replace: "",
  },

  // ---- statuses
  {
    mistake: "a status is told twice",
    file: "src/session/events.ts",
    find: '    this.push({ type: "status", status });\n',
    replace: '    this.push({ type: "status", status });\n    this.push({ type: "status", status });\n',
  },
  {
    mistake: "a lost connection is not told",
    file: lifecycle,
    find: 'this.#status = this.#parts.events.tell({ type: "waiting", error, delay });',
    replace: 'this.#status = { type: "waiting", error, delay };',
  },
  {
    mistake: "the status does not change when the broker accepts",
    file: lifecycle,
    find: 'this.#status = events.tell({ type: "connected"',
    replace: 'events.tell({ type: "connected"',
  },
  {
    mistake: "a status is told inside a call",
    file: loop,
    find: "    if (this.#scheduled) return;\n",
    replace: "    if (this.#link !== undefined) this.#advance();\n    if (this.#scheduled) return;\n",
  },

  // ---- the session's contract with its shell
  {
    mistake: "what an old connection says is heard",
    file: session,
    find: "this.#of(attempt)?.receive(chunk, length, now);",
    replace: "this.#lifecycle.connection?.receive(chunk, length, now);",
    kind: "bare",
  },
  {
    mistake: "an old connection that is lost ends the new one",
    file: session,
    find:
      "const connection = this.#of(attempt);\n    if (connection === undefined) return;\n    this.#lifecycle.now = now;\n    if (connection.failure",
    replace:
      "const connection = this.#lifecycle.connection;\n    if (connection === undefined) return;\n    this.#lifecycle.now = now;\n    if (connection.failure",
    kind: "bare",
  },
  {
    mistake: "what an old connection has written counts for the new one",
    file: session,
    find:
      "const connection = this.#of(attempt);\n    if (connection === undefined) return;\n    this.#lifecycle.now = now;\n    this.#parts.output.written();",
    replace:
      "const connection = this.#lifecycle.connection;\n    if (connection === undefined) return;\n    this.#lifecycle.now = now;\n    this.#parts.output.written();",
    kind: "bare",
  },
  {
    mistake: "an old connection that opens late is wanted",
    file: session,
    find: "const connection = this.#of(attempt);\n    if (connection === undefined) return false;",
    replace: "const connection = this.#lifecycle.connection;\n    if (connection === undefined) return false;",
    kind: "bare",
  },
  {
    mistake: "a call is settled twice",
    file: "src/session/events.ts",
    find: '    this.push({ type: "settled", call, code, error });\n',
    replace: '    this.push({ type: "settled", call, code, error });\n' +
      '    if (error !== undefined) this.push({ type: "settled", call, code, error });\n',
    kind: "bare",
  },
  {
    mistake: "something is told after the end",
    file: lifecycle,
    find: '    events.push({ type: "closed", error: reason });\n',
    replace: '    events.push({ type: "closed", error: reason });\n    events.push({ type: "hangup" });\n',
    kind: "bare",
  },
  {
    mistake: "tick() leaves something undone",
    file: "src/session/second_look.ts",
    find: "this.#at = now + Math.min(now - due, LATE);",
    replace: "this.#at = now - 1;",
    kind: "bare",
  },

  // ---- the blocking client
  {
    mistake: "a status is told in a call that waits",
    file: sync,
    find: "if (this.#onstatus !== undefined) this.#statuses.push(event.status);",
    replace: "invoke(this.#onstatus, event.status);",
    kind: "blocking",
  },
  {
    mistake: "subscribe() waits for ever",
    file: sync,
    find: "if (!this.#wait(() => call.done, this.#due)) {",
    replace: "if (!this.#wait(() => call.done)) {",
    kind: "blocking",
  },
  {
    mistake: "publish() waits for ever",
    file: sync,
    find: "this.#wait(this.#isReady, this.#due)) return;",
    replace: "this.#wait(() => this.#session.isReady)) return;",
    kind: "blocking",
  },
  {
    mistake: "publish() does not wait for room",
    file: sync,
    find: "if (this.#isReady() || ",
    replace: "if (this.#session.stats.sent >= 0 || ",
    kind: "blocking",
  },
  {
    mistake: "messages that come while a call waits are lost",
    file: sync,
    find: "const event = session.nextKeepingMessages();",
    replace: "const event = session.nextDelivering(() => false);",
    kind: "blocking",
  },
  {
    mistake: "messages that waited come after newer ones",
    file: intake,
    find: "else ({ message: this.#taken, consumers: this.#consumers } = kept);",
    replace: "else { this.#decode(this.#take); " +
      "if (this.#taken === undefined) ({ message: this.#taken, consumers: this.#consumers } = kept); }",
    kind: "blocking",
  },
  {
    mistake: "the blocking disconnect() does not wait",
    file: sync,
    find: "      this.#left = true;\n    });",
    replace: "      this.#left = true;\n      call.resolve(undefined);\n    });",
    kind: "blocking",
  },
  {
    mistake: "the blocking disconnect() does not tell what it could not send",
    file: sync,
    find: "this.#session.disconnect(call, { cause, ...farewell }, now);",
    replace:
      "this.#session.disconnect({ resolve: () => call.resolve(undefined), reject: () => call.resolve(undefined) }, { cause }, now);",
    kind: "blocking",
    from: 1_100,
  },
  {
    mistake: "run() tells another error than the calls",
    file: sync,
    find: "if (message === undefined) return this.#session.reason!;",
    replace: 'if (message === undefined) return new MqttError("socketclosed", "The end");',
    kind: "blocking",
  },
  {
    mistake: "the blocking client does not read on",
    file: syncLink,
    find: "if (session.isReading) connection.resume();",
    replace: "",
    kind: "blocking",
  },
  {
    mistake: "the blocking client does not hear that an attempt has failed",
    file: syncLink,
    find: "else session.lost(this.#attempt, connection.over as MqttError, clock.now());",
    replace: "",
    kind: "blocking",
  },
  {
    mistake: "the blocking client leaves its connection open",
    file: syncLink,
    find: "    this.#connection.close();\n",
    replace: "",
    kind: "blocking",
  },

  {
    mistake: "the blocking flush() does not wait",
    file: sync,
    find: "this.#settled((call, now) => this.#session.flush(call, now));",
    replace: "this.#session.flush(new Outcome(), this.#clock.now());",
    kind: "blocking",
  },
  {
    mistake: "the blocking flush() is done when its connection is lost",
    file: flushes,
    find: "      else this.#fail(flush, error);\n      return false;",
    replace: "      else this.#events.settle(flush.call);\n      flush.call = undefined;\n      return false;",
    kind: "blocking",
  },
  {
    mistake: "the blocking flush() does not tell what was lost before",
    file: flushes,
    find: "if (isLost && !isTold) this.#loss = error;",
    replace: "",
    kind: "blocking",
  },
  {
    mistake: "a flush() fails although the broker has confirmed what was lost with the connection",
    file: flushes,
    find: "this.#known = Math.max(this.#known, flush.published);",
    replace: "",
    kind: "blocking",
  },
  {
    mistake: "the blocking flush() waits for a connection for ever",
    file: deadlines,
    find: "return isOpen || this.#intake.isBlocked ? ",
    replace: "return isOpen ? ",
    kind: "blocking",
  },
  {
    mistake: "the blocking flush() is given up although bytes come",
    file: lifecycle,
    find: "return this.isOpen ? this.#connection!.lastByte : this.#lastByteThen;",
    replace: "return -Infinity;",
    kind: "blocking",
  },
  {
    mistake: "the blocking disconnect() does not drain",
    file: sync,
    find: "if (drain) this.#drain();",
    replace: "",
    kind: "blocking",
  },
  {
    mistake: "the blocking disconnect() drops what was read and not looked at when it drains",
    file: sync,
    find: "    this.#wait(() => true); // what was read",
    replace: "    // what was read",
    kind: "blocking",
  },
  {
    mistake: "the blocking disconnect() drains what comes meanwhile, too",
    file: sync,
    find: "left > 0 && session.backlog.kept > 0; left--",
    replace: "left >= 0 && session.backlog.kept > 0;",
    kind: "blocking",
  },
  {
    mistake: "a handler that throws ends the draining",
    file: sync,
    find: "if (message !== undefined) invoke(() => this.#deliver(message));",
    replace: "if (message !== undefined) this.#deliver(message);",
    kind: "blocking",
  },
  {
    mistake: "the blocking client keeps more than maxBuffered",
    file: backlog,
    find: "return this.#bytes < this.#settings.maxUnsettled;",
    replace: "return this.#bytes < Infinity;",
    kind: "blocking",
  },
  {
    mistake: "a blocking call reads no more than receiveMaximum messages",
    file: intake,
    find: "    this.isBlocked = true;\n",
    replace: "",
    kind: "blocking",
  },
  {
    mistake: "a blocking call that fails as messages wait says that the broker did not answer",
    file: sync,
    find: 'if (isReading) return new MqttError("timeout", error);',
    replace: 'if (isReading || kept > 0) return new MqttError("timeout", error);',
    kind: "blocking",
  },
  {
    mistake: "the blocking flush() that fails as messages wait says that the broker did not answer",
    file: "src/session/failures.ts",
    find: 'if (reading) return new MqttError("timeout", `The broker did',
    replace: 'if (timeout > 0) return new MqttError("timeout", `The broker did',
    kind: "blocking",
  },
  {
    mistake: "a handler that throws in run() is not counted",
    file: sync,
    find: "      this.#session.backlog.countFailure();\n",
    replace: "",
    kind: "blocking",
  },

  // ---- found by the simulation
  {
    mistake: "reading does not go on when a full iterator is left whose filter others want",
    file: client,
    find: "        this.#loop.schedule(); // it may have been full\n",
    replace: "",
  },
  {
    mistake: "there is no room to say that an iterator is given up",
    file: subscriber,
    find: "this.#output.addAnyway(this.#encode(request));",
    replace: "this.#output.add(this.#encode(request));",
    from: 1_200,
  },
  {
    mistake: "what was decoded late counts from then",
    file: loop,
    find: "    if (this.isHeldUp) this.#session.tick(this.#clock.now());\n",
    replace: "",
    from: 9_500,
  },
  {
    mistake: "a timer is left after disconnect() while what has come is looked at",
    file: lifecycle,
    find: 'this.#state = "closed";\n    this.#parts.secondLook.cancel();',
    replace: 'this.#state = "closed";',
  },

  // ---- handlers that return promises, flush() and draining
  {
    mistake: "one handler that is busy holds up the others",
    file: backlog,
    find: "if (consumer.isIdle) {",
    replace: "if (consumer.isIdle && this.#queued.size === 0) {",
  },
  {
    mistake: "more promises of a handler are pending than it allows",
    file: backlog,
    find: "while (queue.length > 0 && consumer.running < consumer.concurrency) {",
    replace: "while (queue.length > 0) {",
  },
  {
    mistake: "concurrency is not looked at when a message comes",
    file: "src/session/consumer.ts",
    find: "return this.running < this.concurrency && this.queue.length === 0;",
    replace: "return this.queue.length === 0;",
  },
  {
    mistake: "a message overtakes those that wait for a handler",
    file: backlog,
    find: "const delivery = queue.shift()!;",
    replace:
      "let delivery = queue.shift()!; if (queue.length > 0) { queue.push(delivery); delivery = queue.shift()!; }",
  },
  {
    mistake: "receiveMaximum is no bound",
    file: backlog,
    find: ": this.#count >= receiveMaximum || this.#bytes >= maxUnsettled;",
    replace: ": this.#bytes >= maxUnsettled;",
  },
  {
    mistake: "a message is settled twice",
    file: backlog,
    find: "    if (consumer.queue.length > 0) this.#ready.push(consumer);\n    this.#done(delivery);",
    replace:
      "    if (consumer.queue.length > 0) this.#ready.push(consumer);\n    this.#done(delivery);\n    this.#done(delivery);",
  },
  {
    mistake: "a message is settled before its handler",
    file: backlog,
    find: "    work.delivery.pending++;\n    work.consumer.running++;",
    replace: "    work.delivery.pending++;\n    work.consumer.running++;\n    this.#done(work.delivery);",
  },
  {
    mistake: "nothing is read although the program waits",
    file: intake,
    find: "this.#backlog.hasSpace && this.#isAwaited;",
    replace: "false;",
  },
  {
    mistake: "nothing is read although an iterator waits",
    file: intake,
    find: "this.#backlog.isAsked || ",
    replace: "",
  },
  {
    mistake: "the PINGRESP of the keep alive answers flush()",
    file: flushes,
    find: "        this.#sent.push(undefined);\n",
    replace: "",
  },
  {
    mistake: "flush() is done when the connection is lost",
    file: flushes,
    find: "      else this.#fail(flush, error);\n      return false;",
    replace: "      else this.#events.settle(flush.call);\n      flush.call = undefined;\n      return false;",
  },
  {
    mistake: "what was lost before flush() is not told",
    file: flushes,
    find: "if (isLost && !isTold) this.#loss = error;",
    replace: "",
  },
  {
    mistake: "a disconnect() that drains does not wait",
    file: lifecycle,
    find: "if (!drain || !this.isOpen) return",
    replace: "if (drain || !drain || !this.isOpen) return",
  },
  {
    mistake: "a message that waits for a handler is lost with disconnect() that drains",
    file: lifecycle,
    find: "    this.#draining.add(call);\n",
    replace: "    this.#draining.add(call);\n    backlog.clear();\n",
  },
  {
    mistake: "a handler that is free again is not called",
    file: backlog,
    find: "    if (consumer.queue.length > 0) this.#ready.push(consumer);\n    this.#done(delivery);",
    replace: "    this.#done(delivery);",
  },
  {
    mistake: "handlers are called with what waits after disconnect()",
    file: lifecycle,
    find: "    backlog.clear();\n    stall.cancel();",
    replace: "    stall.cancel();",
  },

  {
    mistake: "offline: connect() waits for the first connection",
    file: lifecycle,
    find: "if (settings.offline) parts.events.settle(opening);\n    else this.#opening = opening;",
    replace: "this.#opening = opening;",
  },
  {
    mistake: "offline: a refusal that nothing can mend is tried again and again",
    file: attempts,
    find: "if (delay === undefined || isOver ||",
    replace: "if (delay === undefined ||",
    from: 1_400,
  },
  {
    mistake: "offline: any failure is final",
    file: attempts,
    find: "const isRefusal = FINAL.has(error.code) || error instanceof UnusableError;",
    replace: "const isRefusal = true;",
  },
  {
    mistake: "a list of addresses: always the first one",
    file: attempts,
    find: "this.#place = (this.#place + 1) % places.length;",
    replace: "",
  },
  {
    mistake: "a list of addresses: the first connection tries the first one alone",
    file: attempts,
    find: 'if (this.#first.length < places.length) return { next: "wait", error, delay: 0, failures };',
    replace: "",
  },
  {
    mistake: "a policy function that gives up is not heard",
    file: lifecycle,
    find: "if (delay === undefined) this.#close(error);\n    else this.#wait(error, delay);",
    replace: "this.#wait(error, delay ?? 1000);",
  },
  {
    mistake: "a policy function is not asked",
    file: attempts,
    find: 'next: asksPolicy ? "ask" : "wait"',
    replace: 'next: asksPolicy && error.code === "invalidresp" ? "ask" : "wait"',
  },
  {
    mistake: "a publish that is rejected is not told as dropped",
    file: call,
    find: "if (isTold) dropped(error as MqttError);",
    replace: "",
  },
  ...mutants5,
  ...qosMutants,
  ...qosMutants5,
  ...durableMutants,
  ...hintMutants,
];
