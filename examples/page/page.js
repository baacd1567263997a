/** The page without a bridge: the library's client in it, over the broker's own WebSocket. */
import uPlot from "uplot";
import { connect } from "../../browser.ts";
import { $, say, settings, showState, start, subscribe, take } from "../bridge/page/view.js";

/** A served page has the broker where it comes from, one from disk on this machine. */
const DEFAULT = location.protocol === "file:"
  ? "ws://localhost:8080/mqtt"
  : `${location.origin}/mqtt`.replace(/^http/, "ws");

/** @type {import("../../browser.ts").Client | undefined} */
let client;
/** Counts the clients that were asked for: what an earlier one tells is old. */
let current = 0;

const utf8 = new TextDecoder("utf-8", { fatal: true });

function textOf(/** @type {Uint8Array} */ payload) {
  try {
    return utf8.decode(payload);
  } catch {
    return undefined; // bytes, of which the size is shown
  }
}

/** Connects, and goes on by itself from then on; leaves the broker that there was. */
async function open(/** @type {string} */ url, /** @type {string} */ uname, /** @type {string} */ passwd) {
  const number = ++current;
  void client?.disconnect();
  client = undefined;
  $("broker").hidden = true;
  showState("offline", "Connecting", url);
  try {
    const opened = await connect(url, undefined, {
      ...uname === "" ? {} : { uname, passwd },
      // Its broker may be away when the page is opened.
      reconnect: { minDelay: 300, maxDelay: 5000 },
      offline: true,
      onstatus: (status) => number === current && tell(status),
    });
    if (number !== current) return void opened.disconnect();
    client = opened;
    void subscribe();
  } catch (error) {
    askWhere(error.message);
  }
}

function tell(/** @type {import("../../browser.ts").Status} */ status) {
  if (status.type === "connected") showState("connected", "Connected");
  else if (status.type === "waiting") showState("away", "Broker away", `Trying again. ${status.error.message}`);
  else if (status.type === "closed") askWhere(status.error.message);
}

/** The client has ended, or there was none: a person says what to do. */
function askWhere(/** @type {string} */ why) {
  showState("offline", "Not connected");
  $("broker").hidden = false;
  say("broker-result", why, true);
  $("broker-url").focus();
}

/** What is wrong, in words; "" when nothing is. */
async function attempt(/** @type {() => Promise<unknown> | undefined} */ act) {
  if (client?.status.type !== "connected") return "The broker is away";
  try {
    await act();
    return "";
  } catch (error) {
    return error.message;
  }
}

start(uPlot, {
  subscribe: async (filter) => {
    try {
      await client?.subscribe(filter, {
        onpub: (topic, { payload, retain }) => take(topic, { payload: textOf(payload), size: payload.length, retain }),
      });
      return "";
    } catch (error) {
      return error.message;
    }
  },
  unsubscribe: (filter) => attempt(() => client?.unsubscribe(filter)),
  publish: (topic, payload, retain) => attempt(() => client?.publish(topic, payload, { qos: 1, retain })),
});

$("broker").addEventListener("submit", (event) => {
  event.preventDefault();
  settings.set("broker", $("broker-url").value); // a page that is loaded again has it
  history.replaceState(undefined, "", `#${settings}`);
  void open($("broker-url").value, $("broker-user").value, $("broker-password").value);
});

$("broker-url").value = settings.get("broker") ?? DEFAULT;
void open($("broker-url").value, "", "");
