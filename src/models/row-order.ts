/** The order of rows in other files than Hugging Face's: of rotary pairs inside a head, of fused queries, keys and values. */

/**
 * Reorders the rows of each head from neighbouring rotary pairs (0, 1), (2, 3), … to halves (0, E/2), (1, E/2 + 1), …,
 * which is how Hugging Face's Llama rotates.
 *
 * @param weight rows of all heads one after another, [heads · E, width], or their bias [heads · E]; changed in place
 */
export function halvesFromPairs(weight: Float32Array, heads: number, width: number): void {
  const E = weight.length / width / heads;
  for (let head = 0; head < heads; head++) {
    const own = weight.subarray(head * E * width, (head + 1) * E * width);
    const pairs = own.slice();
    for (let row = 0; row < E; row++) {
      const target = (row % 2) * (E / 2) + Math.floor(row / 2);
      own.set(pairs.subarray(row * width, (row + 1) * width), target * width);
    }
  }
}

/**
 * Reorders the rows of a fused projection from all queries, all keys, all values to the three of each head after one another,
 * which is how Hugging Face's GPT-NeoX splits them.
 *
 * @param weight rows [3 · heads · E, width], or their bias [3 · heads · E]; changed in place
 */
export function fuseByHead(weight: Float32Array, heads: number): void {
  const block = weight.length / 3 / heads;
  const apart = weight.slice();
  for (let part = 0; part < 3; part++) {
    for (let head = 0; head < heads; head++) {
      const from = (part * heads + head) * block;
      weight.set(apart.subarray(from, from + block), (head * 3 + part) * block);
    }
  }
}
