/** The page of the WebSocket bridge: its socket, and what is said over it. */
import uPlot from "./uplot.js";
import { $, say, settings, showState, start, subscribe, take } from "./view.js";

const MAX_DELAY = 5000;

/** @type {Map<unknown, (answer: any) => void>} What waits for an answer, by id. */
const requests = new Map();
let token = settings.get("token") ?? "";
/** @type {WebSocket | undefined} */
let socket;
let failures = 0;
let lastId = 0;
let skipped = 0;

async function connect() {
  const headers = token === "" ? {} : { authorization: `Bearer ${token}` };
  // A POST says where the page is from, as the socket will.
  const answer = await fetch("/status", { method: "POST", headers }).catch(() => undefined);
  if (answer?.status === 401) {
    showState("offline", "Token needed");
    $("token").hidden = false;
    say("token-result", token === "" ? "" : "That token is wrong", true);
    $("token-value").focus();
    return $("token-value").select();
  }
  if (answer?.status === 403) return retry(await answer.text(), "Not allowed");
  if (!answer?.ok) return retry(answer === undefined ? "" : `it answers ${answer.status}`);
  const url = new URL("/", location.href.replace(/^http/, "ws"));
  url.hash = "";
  if (token !== "") url.searchParams.set("access_token", token);
  socket = new WebSocket(url);
  socket.onopen = () => {
    failures = 0;
    subscribe();
  };
  socket.onmessage = ({ data }) => receive(JSON.parse(data));
  socket.onclose = ({ reason }) => {
    socket = undefined;
    for (const answer of requests.values()) {
      answer({ type: "error", message: "the bridge has gone; it may have arrived" });
    }
    requests.clear();
    retry(reason);
  };
}

function retry(/** @type {string} */ reason, name = "Bridge away") {
  const delay = Math.round((0.5 + Math.random() / 2) * Math.min(MAX_DELAY, 500 * 2 ** failures++));
  showState("offline", name, `${reason === "" ? "" : `${reason}; `}trying again`);
  setTimeout(connect, delay);
}

function receive(/** @type {any} */ message) {
  if (message.type === "message") {
    const { topic, payload, base64 = "", retain, properties } = message;
    take(topic, { payload, size: payload === undefined ? atob(base64).length : 0, retain, properties });
  } else if (message.type === "state") {
    if (message.broker === "connected") showState("connected", "Connected");
    else showState("away", "Broker away", message.reason);
  } else if (message.type === "dropped") {
    skipped += message.count;
  } else {
    const answer = requests.get(message.id);
    requests.delete(message.id);
    answer?.(message);
  }
}

/** Sends a request, and resolves to what is wrong; "" when nothing is. */
async function ask(/** @type {Record<string, unknown>} */ request) {
  const answer = await answerTo(request);
  return answer.type === "error" ? answer.message : "";
}

function answerTo(/** @type {Record<string, unknown>} */ request) {
  return new Promise((resolve) => {
    if (socket?.readyState !== WebSocket.OPEN) return resolve({ type: "error", message: "the bridge is away" });
    const id = ++lastId;
    requests.set(id, resolve);
    socket.send(JSON.stringify({ ...request, id }));
  });
}

$("token").addEventListener("submit", (event) => {
  event.preventDefault();
  token = $("token-value").value;
  $("token").hidden = true;
  void connect();
});

start(uPlot, {
  subscribe: (filter) => ask({ type: "subscribe", filter }),
  unsubscribe: (filter) => ask({ type: "unsubscribe", filter }),
  publish: (topic, payload, retain) => ask({ type: "publish", topic, payload, retain }),
  lost: () => skipped === 0 ? "" : ` · ${skipped.toLocaleString()} skipped, as this page was too slow`,
});
void connect();
