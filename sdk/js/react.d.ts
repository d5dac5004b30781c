import type {
  GapEvent, OpenEvent, PresenceEntry, PresenceEvent, Room, RoomClient, RoomClientOptions, RoomMessageEvent, RoomOptions,
  Status, StatusEvent,
} from "./client.js";

/** What is called with the events of the room. The latest rendering's is. */
export interface RoomHandlers {
  onOpen?: (event: OpenEvent) => void;
  onMessage?: (event: RoomMessageEvent) => void;
  onClose?: (event: CloseEvent) => void;
  onError?: (event: ErrorEvent) => void;
  onGap?: (event: GapEvent) => void;
  onPresence?: (event: PresenceEvent) => void;
  onStatus?: (event: StatusEvent) => void;
}

interface Enabled {
  /** False leaves the room, and true enters it again. Default true. */
  enabled?: boolean;
}

/** Options of a client of the component's own. */
export interface UseRoomOptions extends Omit<RoomClientOptions, "host" | "startClosed">, RoomHandlers, Enabled {
  /** Default: that of the page. */
  host?: string;
  client?: undefined;
}

/** One more room of a client, over its socket if the server can. */
export interface UseRoomOfClientOptions extends Omit<RoomOptions, "startClosed">, RoomHandlers, Enabled {
  client: RoomClient;
  room: string;
}

/**
 * A room, as long as the component is mounted and `enabled` is not false. Another value of an option makes another connection; a
 * function, a handler and `enabled` do not.
 */
export function useRoom(options: UseRoomOptions): { room: RoomClient; status: Status };
export function useRoom(options: UseRoomOfClientOptions): { room: Room; status: Status };

/** Who is in a room. With `shown`, the component's own user shows it. */
export function usePresence<T = unknown>(room: Room, shown?: T): {
  users: ReadonlyMap<string, PresenceEntry<T>>;
  set(data: T | null): void;
  flag(name: string, forMs?: number): void;
};

export interface HistoryMessage<T = string | ArrayBuffer | Blob> {
  /** Undefined if the party's messages have no ids. */
  id: string | undefined;
  data: T;
  /** True for a message of the time before, which `rewind` asked for. */
  replayed: boolean;
}

/**
 * The newest messages of a room: those of the time before, if the room has `rewind`, and those since the component was
 * mounted. After a gap the list begins anew.
 */
export function useHistory<T>(room: Room, options: { keep?: number; parse: (data: any) => T }): HistoryMessage<T>[];
export function useHistory(room: Room, options?: { keep?: number; parse?: undefined }): HistoryMessage[];

export { RoomClient } from "./client.js";
