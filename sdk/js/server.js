// What stands in for `roomkit/server` outside of a room. The engine has the module itself, and never reads this file.

/** The names that the module has, so that what imports them gets the error below. */
let Server, Connection, WebSocketRequestResponsePair, getServerByName, routePartykitRequest, claimsOf, capabilitiesOf;

export {
  capabilitiesOf,
  claimsOf,
  Connection,
  getServerByName,
  routePartykitRequest,
  Server,
  WebSocketRequestResponsePair,
};

throw new Error(
  'the module "roomkit/server" exists only inside of a room: start the project with `room dev`. ' +
    'A page, a client or a script imports "roomkit", or /_room/client.js.',
);
