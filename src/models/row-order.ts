/** Rotary pairs: neighbouring rows of a head in some files, rows of its two halves in Hugging Face's. */

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
