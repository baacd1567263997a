import type { Results } from "./report.ts";
export function chart(_results: Results): string {
  return "";
}
