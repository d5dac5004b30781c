// The two kinds of rooms of this project. Each is a party, by the name of its class.
export { Lobby } from "./lobby";
export { Meeting } from "./meeting";
