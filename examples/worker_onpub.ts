// Runs in the thread of the connection: see worker.ts.

import { writeSync } from "node:fs";
import type { Message } from "../mod.ts";

export default function onpub(topic: string, message: Message): void {
  writeSync(1, `in the thread: ${topic} ${message.text()}\n`);
}
