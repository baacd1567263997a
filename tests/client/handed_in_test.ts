/** The suite over connections that somebody else opened. */
import { suite } from "./suite.ts";
import { handedIn, overWebStreams } from "./ways.ts";

for (const [name, start] of Object.entries(handedIn)) {
  suite(`${name} handed in`, start, start === overWebStreams ? 50_000 : undefined);
}
