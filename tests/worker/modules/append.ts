/** An `onpub` module: appends the payload, a line, to the file that the topic ends with. */
import { appendFileSync } from "node:fs";
import type { Message } from "../../../mod.ts";

export default function append(topic: string, message: Message): void {
  if (topic.startsWith("throw/")) throw new RangeError(`thrown at ${message}`);
  appendFileSync(topic.slice(topic.indexOf("/")), `${message} ${message.qos}\n`);
}
