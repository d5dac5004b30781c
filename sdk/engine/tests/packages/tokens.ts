// Who somebody is, by a signed token: jose in the hook before a connection, and in the room.

import * as jose from "jose";
import { type Connection, type ConnectionContext, Server, type WSMessage } from "partyserver";
import signed from "./tokens.json";

const secret = new TextEncoder().encode("a secret of at least 32 bytes, for tests");

/** The public keys of who signs; a token names one. */
const keySet = jose.createLocalJWKSet(signed.keys);

/** What became of a promise. */
async function told<T>(promise: Promise<T>): Promise<T | string> {
  return promise.catch((error: Error & { code?: string }) => error.code ?? error.message);
}

export default class Tokens extends Server {
  static async onBeforeConnect(request: Request) {
    const token = new URL(request.url).searchParams.get("token") ?? "";
    const { payload } = await jose.jwtVerify(token, keySet, { issuer: "https://id.example.com", audience: "rooms" });
    request.headers.set("x-user", payload.sub ?? "");
    return request;
  }

  override onConnect(connection: Connection, { request }: ConnectionContext) {
    connection.send(JSON.stringify(`hello ${request.headers.get("x-user")}`));
  }

  override async onMessage(connection: Connection, message: WSMessage) {
    connection.send(JSON.stringify(await (message === "hmac" ? hmac() : message === "eddsa" ? eddsa() : thumbprint())));
  }
}

async function hmac() {
  const sign = (claims: jose.JWTPayload) => new jose.SignJWT(claims).setProtectedHeader({ alg: "HS256" }).setIssuedAt(1_000);
  const token = await sign({ room: "lobby" }).setSubject("ada").setExpirationTime(2_000).sign(secret);
  const read = async (text: string, at: number) => {
    const verified = await told(jose.jwtVerify(text, secret, { currentDate: new Date(at * 1_000) }));
    return typeof verified === "string" ? verified : verified.payload;
  };
  const [head, body, signature] = token.split(".") as [string, string, string];
  const forged = jose.base64url.encode(JSON.stringify({ ...jose.decodeJwt(token), sub: "eve" }));
  return [
    await read(token, 1_500),
    await read(token, 2_500),
    await read(`${head}.${forged}.${signature}`, 1_500),
    await read(`${head}.${body}`, 1_500),
    jose.decodeProtectedHeader(token).alg,
  ];
}

async function eddsa() {
  const { publicKey, privateKey } = await jose.generateKeyPair("EdDSA", { crv: "Ed25519", extractable: true });
  const token = await new jose.SignJWT({ sub: "grace" }).setProtectedHeader({ alg: "EdDSA" }).sign(privateKey);
  const stored = await jose.exportJWK(privateKey);
  const again = await jose.importJWK({ ...stored, alg: "EdDSA" });
  const second = await new jose.SignJWT({ sub: "grace" }).setProtectedHeader({ alg: "EdDSA" }).sign(again);
  const other = await jose.generateKeyPair("EdDSA", { crv: "Ed25519" });
  return [
    (await jose.jwtVerify(token, publicKey)).payload.sub,
    (await jose.jwtVerify(second, publicKey)).payload.sub,
    await told(jose.jwtVerify(token, other.publicKey)),
    stored.kty,
  ];
}

const thumbprint = () => jose.calculateJwkThumbprint(signed.keys.keys[0]!);
