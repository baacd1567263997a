/** Prints a message; run by message_test.ts. */
import { makeBlock, Message } from "../../src/message.ts";

const bytes = new TextEncoder().encode("21.5");
console.log(new Message("a/b", 0x30, makeBlock(bytes), 0, bytes.length));
