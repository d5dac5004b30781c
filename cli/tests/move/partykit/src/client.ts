import PartySocket from "partysocket";
import type { Said, ToClient } from "./shared";

declare const PARTYKIT_HOST: string;

const show = (id: string, text: string) => {
  document.getElementById(id)!.textContent = text;
};
const query = new URLSearchParams(location.search);
// A page of its own for each room: /talk/NAME.
const room = location.pathname.split("/")[2] || "start";
const stats = ((window as any).roomStats = { opens: 0, closes: 0 });

const socket = new PartySocket({ host: PARTYKIT_HOST, room, query: { token: query.get("token") } });
socket.addEventListener("open", () => {
  stats.opens += 1;
  document.getElementById("status")!.dataset.is = "connected";
});
socket.addEventListener("close", () => {
  stats.closes += 1;
  document.getElementById("status")!.dataset.is = "disconnected";
});

const add = ({ name, text }: Said) => {
  const item = document.createElement("li");
  item.textContent = `${name}: ${text}`;
  document.getElementById("said")!.append(item);
};
socket.addEventListener("message", (event) => {
  const message = JSON.parse(event.data) as ToClient;
  if (message.type === "history") message.messages.forEach(add);
  if (message.type === "said") add(message);
  if (message.type === "history" || message.type === "greeting") show("greeting", message.greeting);
});

const lobby = new PartySocket({ host: PARTYKIT_HOST, party: "lobby", room: "index" });
lobby.addEventListener("message", (event) => {
  const message = JSON.parse(event.data) as ToClient;
  if (message.type !== "rooms") return;
  const open = Object.entries(message.rooms).filter(([, count]) => count > 0);
  show("rooms", open.map(([name, count]) => `${name} (${count})`).sort().join(", "));
});

show("room", room);
document.getElementById("say")!.addEventListener("submit", (event) => {
  event.preventDefault();
  const input = document.getElementById("text") as HTMLInputElement;
  socket.send(input.value);
  input.value = "";
});
