// The module "partykit/server".
//
// It has only types, which a bundler removes: a PartyKit room is a class that needs nothing from here. This file is
// there for imports that stay.

export {};
