/** An `onpub` module: appends the payload, a line, to the file that the topic ends with. */
import { appendFileSync } from "node:fs";
import type { Message } from "../../../mod.ts";

const circular = new Error("circular");
circular.cause = circular;
/** What cannot cross to another thread as it is. */
const weird: Record<string, unknown> = {
  circular,
  code: Object.assign(new Error("code"), { code: () => {} }),
  nothing: Object.create(null),
};

export default function append(topic: string, message: Message): void {
  if (topic.startsWith("throw/")) throw new RangeError(`thrown at ${message}`);
  if (topic.startsWith("weird/")) throw weird[message.text()];
  appendFileSync(topic.slice(topic.indexOf("/")), `${message} ${message.qos}\n`);
}
