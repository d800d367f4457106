/**
 * A fingerprint of numbers, to notice that weights have changed. Four multiplicative hashes of 32 bits, each over every
 * fourth word of an array: the word is mixed in by xor, an odd factor (as in FNV-1a, on words) and a shift. A single changed
 * word always changes it; a change of many words is missed with a probability of about 2^-32 when they all fall to one
 * hash, and 2^-128 when they fall to all.
 *
 * @source Fowler, Noll & Vo, FNV-1a (its prime)
 */
export function fingerprint(arrays: readonly (Float32Array | Uint8Array)[]): string {
  const hashes = Int32Array.of(1, 2, 3, 4);
  for (const array of arrays)
    absorb(hashes, new Int32Array(array.buffer, array.byteOffset, array.byteLength / 4));
  return Array.from(hashes, (hash) => hash >>> 0).join(':');
}

const prime = 16777619;

function absorb(hashes: Int32Array, words: Int32Array): void {
  let a = hashes[0]! | 0;
  let b = hashes[1]! | 0;
  let c = hashes[2]! | 0;
  let d = hashes[3]! | 0;
  const whole = words.length - (words.length % 4);
  // Without the shift, high bits never reach low ones, and two changed signs would cancel.
  for (let i = 0; i < whole; i += 4) {
    a = Math.imul(a ^ words[i]!, prime);
    b = Math.imul(b ^ words[i + 1]!, prime);
    c = Math.imul(c ^ words[i + 2]!, prime);
    d = Math.imul(d ^ words[i + 3]!, prime);
    a ^= a >>> 15;
    b ^= b >>> 15;
    c ^= c >>> 15;
    d ^= d >>> 15;
  }
  for (let i = whole; i < words.length; i++) {
    a = Math.imul(a ^ words[i]!, prime);
    a ^= a >>> 15;
  }
  hashes.set([a, b, c, d]);
}
