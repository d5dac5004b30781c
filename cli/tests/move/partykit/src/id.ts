/** A short id that is unique in practice. */
export const nanoid = () => crypto.randomUUID().slice(0, 13);
