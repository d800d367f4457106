/** The bytes of single tokens. */
import type { Tokenizer } from './tokenizer.ts';

/**
 * The bytes that a token adds to a text, also where they are no whole character; none for special tokens.
 *
 * @example tokenBytes(tokenizer, tokenizer.encode('é', { continuation: true })[0])
 */
export function tokenBytes(tokenizer: Tokenizer, id: number): Uint8Array {
  return tokenizer.specialIds.has(id) ? new Uint8Array(0) : shownBytes(tokenizer, id);
}

/** The same, where special tokens have the bytes of their names. */
export function shownBytes(tokenizer: Tokenizer, id: number): Uint8Array {
  const text = tokenizer.tokenText(id);
  // `<0xE2><0x82>` stands for bytes, unless the token is that very text.
  if (/^(<0x[0-9A-F]{2}>)+$/.test(text) && tokenizer.decode([id], { skipSpecial: false }) !== text)
    return Uint8Array.from(text.matchAll(/<0x(..)>/g), ([, hex]) => Number.parseInt(hex!, 16));
  return new TextEncoder().encode(text);
}
