// The names of parties.
//
// Owns their spelling. Invariant: a name that is in kebab-case stays as it is. It does not know which parties there are.

/**
 * Returns a name in kebab-case, as PartyServer does: `MyServer` and `MY_SERVER` are `my-server`.
 * @param {string} name @returns {string}
 */
export function kebab(name) {
  if (name === name.toUpperCase() && name !== name.toLowerCase()) return name.toLowerCase().replace(/_/g, "-");
  const dashed = name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  const bare = dashed.startsWith("-") ? dashed.slice(1) : dashed;
  return bare.replace(/_/g, "-").replace(/-$/, "");
}
