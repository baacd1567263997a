/** What a child tells: lines that are in the pipe before anything else is done. */
import type { Message } from "../../mod.ts";
import { writeNow } from "../support/write_now.ts";
import { contentOf, readTopic } from "./task.ts";

/** Tells something. */
export function tell(...words: (string | number)[]): void {
  writeNow(`${words.join(" ")}\n`);
}

/** Tells that a handler has begun with a message; what is returned tells that it is done. */
export function begin(topic: string, message: Message): () => void {
  const found = readTopic(topic);
  if (found === undefined || message.text() !== contentOf(topic) || message.qos !== found.qos) {
    tell("wrong", topic.split("/")[0]!, topic);
    return () => {};
  }
  const { id, qos, number } = found;
  tell("handles", id, qos, number);
  return () => tell("handled", id, qos, number);
}
