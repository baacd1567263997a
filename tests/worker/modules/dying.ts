/** An `onpub` module that ends its thread in the way the topic says. */
import process from "node:process";

const ways: Record<string, () => unknown> = {
  exit: () => process.exit(3),
  throw: () => setTimeout(fail),
  reject: () => Promise.reject(new Error("rejected by the module")),
  spin: () => {
    for (;;);
  },
};

function fail(): never {
  throw new Error("thrown by the module");
}

export default function die(way: string): void {
  ways[way]?.();
}
