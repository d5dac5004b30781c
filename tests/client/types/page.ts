// A page that was written for partysocket.

import PartySocket from "partysocket";

const socket = new PartySocket({
  host: "localhost:1999",
  room: "lobby",
  party: "main",
  id: "tab-1",
  path: "sub",
  query: async () => ({ token: "t", none: null }),
  protocols: ["chat"],
  maxRetries: 3,
  minReconnectionDelay: 1_000,
  maxReconnectionDelay: 5_000,
  reconnectionDelayGrowFactor: 1.5,
  connectionTimeout: 4_000,
  maxEnqueuedMessages: 10,
  startClosed: true,
  shouldReconnectOnClose: (event) => event.code !== 4001,
  debug: false,
});

socket.binaryType = "arraybuffer";
socket.onopen = () => console.log("open");
socket.onmessage = (event) => console.log(JSON.parse(event.data));
socket.onclose = (event) => console.log(event.code, event.reason, event.wasClean);
socket.onerror = (event) => console.log(event.message);
socket.addEventListener("message", (event) => console.log(event.data), { once: true });
socket.addEventListener("close", (event) => console.log(event.code));
const sent: boolean = socket.send("text");
socket.send(new Uint8Array([1]));
socket.send(new Blob(["x"]));
socket.updateProperties({ room: "other" });
socket.reconnect();
if (socket.readyState === PartySocket.OPEN) socket.close(1000, "done");
const texts: string[] = [socket.id, socket._pk, socket.name, socket.host, socket.roomUrl, socket.url, socket.protocol];
const numbers: number[] = [socket.retryCount, socket.bufferedAmount];
const response = await PartySocket.fetch({ host: "localhost:1999", room: "lobby" }, { method: "POST" });
console.log(sent, texts, numbers, socket.room, response.status);

export {};
