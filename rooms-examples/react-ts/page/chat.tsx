// The page of a room: its state is what the room has sent.
import usePartySocket from "partysocket/react";
import { type FormEvent, useEffect, useReducer, useRef, useState } from "react";
import type { FromClient, Said, ToClient } from "../src/messages";

interface Shown {
  greeting: string;
  people: number;
  messages: Said[];
}

const NOTHING: Shown = { greeting: "", people: 0, messages: [] };
const TITLE = "Chat";

/** Returns what is shown after a message of the room. */
function next(shown: Shown, message: ToClient): Shown {
  switch (message.type) {
    case "welcome":
      return { ...shown, greeting: message.greeting, messages: message.history };
    case "greeting":
      return { ...shown, greeting: message.greeting };
    case "people":
      return { ...shown, people: message.people };
    case "said":
      return { ...shown, messages: [...shown.messages, message.said] };
  }
}

export function Chat({ room }: { room: string }) {
  const [shown, take] = useReducer(next, NOTHING);
  const [status, setStatus] = useState("connecting");
  const [name, setName] = useState(() => localStorage.getItem("name") ?? "");
  const [text, setText] = useState("");
  // The host is that of the page. The socket comes back by itself, and survives new code of the room.
  const socket = usePartySocket({
    room,
    onOpen: () => setStatus("connected"),
    onClose: () => setStatus("disconnected"),
    onMessage: ({ data }) => take(JSON.parse(data)),
  });

  const end = useRef<HTMLLIElement>(null);
  useEffect(() => {
    end.current?.scrollIntoView({ block: "nearest" });
  }, [shown.messages.length]);

  const say = (event: FormEvent) => {
    event.preventDefault();
    if (text.trim() === "") return;
    localStorage.setItem("name", name);
    const message: FromClient = { name, text };
    socket.send(JSON.stringify(message));
    setText("");
  };

  return (
    <main>
      <header>
        <h1>
          {TITLE} <span>· {room}</span>
        </h1>
        <span id="people">{shown.people === 1 ? "only you" : `${shown.people} here`}</span>
        <span id="status" role="status" aria-label={status} data-is={status} />
      </header>
      {shown.greeting && <div id="greeting" aria-live="polite">{shown.greeting}</div>}
      <ol id="log" role="log" aria-label="Messages" tabIndex={0}>
        {shown.messages.map((said) => <Message key={said.id} {...said} />)}
        <li ref={end} aria-hidden />
      </ol>
      <form onSubmit={say}>
        <input
          id="name" maxLength={32} autoComplete="nickname" placeholder="your name" aria-label="Your name"
          value={name} onChange={(event) => setName(event.target.value)}
        />
        <input
          id="text" maxLength={2000} autoComplete="off" placeholder="Say something" aria-label="Message" autoFocus
          value={text} onChange={(event) => setText(event.target.value)}
        />
        <button>Send</button>
      </form>
    </main>
  );
}

function Message({ name, text, at }: Said) {
  return (
    <li>
      <b>{name}</b>
      <time>{new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })}</time>
      <p>{text}</p>
    </li>
  );
}
