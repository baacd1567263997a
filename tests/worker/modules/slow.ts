/** An `onpub` module whose handler is async: appends the payload, a line, to the file that the topic ends with, some time later. */
import { appendFileSync } from "node:fs";
import type { Message } from "../../../mod.ts";

export default async function slow(topic: string, message: Message): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 5));
  if (message.text() === "throw") throw new RangeError("rejected in time");
  appendFileSync(topic.slice(topic.indexOf("/")), `${message}\n`);
}
