/** An `onpub` module that ends its thread in the way the topic says. */
import process from "node:process";

const ways: Record<string, () => unknown> = {
  "crash/exit": () => process.exit(3),
  "crash/throw": () => setTimeout(() => fail()),
  "crash/reject": () => Promise.reject(new Error("rejected by the module")),
  "crash/spin": () => {
    for (;;);
  },
};

function fail(): never {
  throw new Error("thrown by the module");
}

export default function crash(topic: string): void {
  ways[topic]?.();
}
