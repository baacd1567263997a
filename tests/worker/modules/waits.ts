/**
 * An `onpub` module that waits: of the topic `wait/2/tmp/file`, two milliseconds; then it appends a byte to that file.
 * It waits for ever at `never`, and at `kept`; at other topics it does not.
 */
import { appendFileSync } from "node:fs";

export default function waits(topic: string): Promise<void> | undefined {
  const [, wait, file] = /^(?:wait|survivors)\/(\w+)(.*)$/.exec(topic) ?? [];
  if (wait === "never" || wait === "kept") return new Promise(() => {});
  const milliseconds = Number(wait);
  if (!(milliseconds > 0)) return undefined;
  return new Promise((resolve) => setTimeout(resolve, milliseconds)).then(() => appendFileSync(file!, "."));
}
