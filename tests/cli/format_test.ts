/** The format of mosquitto_sub means the same here: both print the same messages. */
import { test } from "node:test";
import { assertEquals, assertMatch } from "@std/assert";
import { needs, run } from "../support/process.ts";
import { mosquittoPub } from "../support/servers.ts";
import { mqtt3c, withMosquitto } from "./support.ts";

/** What depends on the clock: compared but for its digits, as a second may have passed. */
const times = ["%I", "@Y-@m-@d @H:@M:@S", "@F @T @R", "@a @A @b @B", "@I @p", "@y @s @z"];
const formats = [
  "%t",
  "%p",
  "%l",
  "%q",
  "%r",
  "%x",
  "%X",
  "%%",
  "@@",
  "a%tb%pc",
  "%J",
  "\\\\ \\t \\n \\r \\a \\v \\e \\0 .",
  "[%10t] [%-10t] [%3t] [%.2t] [%10.2t] [%-10.2t]",
  "[%5l] [%-5l] [%05l]",
  ...times,
];

test(
  "sub -F prints what mosquitto_sub -F does",
  needs("mosquitto", "mosquitto_pub", "mosquitto_sub"),
  () =>
    withMosquitto({}, async ({ port }) => {
      await mosquittoPub({ port, topic: "top/ic", message: "27.5", retain: true });
      const format = formats.join("|"),
        args = ["-h", "127.0.0.1", "-p", `${port}`, "-t", "top/ic", "-C", "1", "-F", format];
      const env = { TZ: "Asia/Kolkata", LC_ALL: "C" };
      const theirs = await run("mosquitto_sub", args, { env });
      const ours = await mqtt3c(["sub", ...args], env);
      assertEquals([theirs.code, ours.code, ours.stderr], [0, 0, ""]);
      // 2.0.11 writes a time of %J that is neither local nor UTC: "...686020Z+0530"
      const plain = (text: string) =>
        text.replace(/"tst":"[^"]*"/, "").split("|").map((part, i) =>
          /@|%I/.test(formats[i] ?? "") ? part.replaceAll(/\d/g, "0") : part
        );
      assertEquals(plain(ours.stdout), plain(theirs.stdout));
      const { stdout } = await mqtt3c(["sub", ...args.slice(0, -1), "%j %U @N"], env);
      assertMatch(
        stdout,
        /^\{"tst":"[\d-]+T[\d:]+\.\d{6}\+0530","topic":"top\/ic","qos":0,"retain":1,"payloadlen":4,"payload":"27\.5"\} \d+\.\d{9} \d{9}\n$/,
      );
    }),
);

test(
  "sub -F %J passes over what is no JSON, and says so",
  needs("mosquitto", "mosquitto_pub"),
  () =>
    withMosquitto({}, async ({ port }) => {
      await mosquittoPub({ port, topic: "j/1", message: "{", retain: true });
      await mosquittoPub({ port, topic: "j/2", message: "{}", retain: true });
      const { code, stdout, stderr } = await mqtt3c(["sub", "-p", `${port}`, "-t", "j/#", "-C", "1", "-F", "%J"]);
      assertEquals([code, stderr], [0, "mqtt3c: the message is no JSON, on j/1\n"]);
      assertMatch(stdout, /"topic":"j\/2".*"payload":\{\}\}\n$/);
    }),
);
