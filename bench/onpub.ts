/** Counts messages in the thread of the connection; the last one tells the main thread how many there were. */
import type { Message } from "../mod.ts";
import { TOPIC_LENGTH } from "./client.ts";

let messages = 0, bytes = 0;

export default function onpub(topic: string, message: Message): void {
  if (topic.length === TOPIC_LENGTH) {
    messages++;
    bytes += message.payload.length;
    return;
  }
  const channel = new BroadcastChannel("mqtt3c bench");
  channel.postMessage({ messages, bytes });
  channel.close();
}
