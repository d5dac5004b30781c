import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { Chat } from "./chat";
import "./style.css";

const room = new URLSearchParams(location.search).get("room") || "lobby";

createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <Chat room={room} />
  </StrictMode>,
);
