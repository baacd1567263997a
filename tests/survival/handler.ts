/** The module of a client in a thread of its own: it handles there what comes, and tells. */
import type { Message } from "../../mod.ts";
import { begin } from "./telling.ts";

/** Takes some milliseconds. */
export default async function handle(topic: string, message: Message): Promise<void> {
  const end = begin(topic, message);
  await new Promise((resolve) => setTimeout(resolve, 1 + Math.random() * 2));
  end();
}
