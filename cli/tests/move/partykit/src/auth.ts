import type * as Party from "partykit/server";
import { createRemoteJWKSet, jwtVerify, type JWTVerifyGetKey } from "jose";

let keys: JWTVerifyGetKey | undefined;

/** Returns the user of a request's token, which the identity provider has signed. */
export async function userOf(request: Party.Request, env: Record<string, unknown>): Promise<string> {
  const token = new URL(request.url).searchParams.get("token") ?? "";
  keys ??= createRemoteJWKSet(new URL("/.well-known/jwks.json", env.AUTH_URL as string));
  const { payload } = await jwtVerify(token, keys, { issuer: env.AUTH_URL as string, audience: "talk" });
  if (!payload.sub) throw new Error("the token names nobody");
  return payload.sub;
}
