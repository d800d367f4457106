/**
 * A fingerprint of numbers, to notice that weights have changed. Four multiplicative hashes of 32 bits, each over every
 * fourth word of an array: the word is mixed in by xor, an odd factor (as in FNV-1a, on words) and a shift. A single changed
 * word always changes it; a change of many words is missed with a probability of about 2^-32 when they all fall to one
 * hash, and 2^-128 when they fall to all.
 *
 * @source Fowler, Noll & Vo, FNV-1a (its prime)
 */
export function fingerprint(arrays: readonly Float32Array[]): string {
  const prime = 16777619;
  let [a, b, c, d] = [1, 2, 3, 4];
  for (const array of arrays) {
    const words = new Int32Array(array.buffer, array.byteOffset, array.length);
    // Without the shift, high bits never reach low ones, and two changed signs would cancel. Past the end, words are 0.
    for (let i = 0; i < words.length; i += 4) {
      a = Math.imul(a ^ words[i]!, prime);
      b = Math.imul(b ^ (words[i + 1] ?? 0), prime);
      c = Math.imul(c ^ (words[i + 2] ?? 0), prime);
      d = Math.imul(d ^ (words[i + 3] ?? 0), prime);
      a ^= a >>> 15;
      b ^= b >>> 15;
      c ^= c >>> 15;
      d ^= d >>> 15;
    }
  }
  return [a, b, c, d].map((hash) => hash >>> 0).join(':');
}
