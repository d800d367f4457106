import type { Rng } from '../../src/core/rng.ts';

/** Values that sizes and counts break at. */
const extremes: readonly (readonly number[])[] = [
  [0xff, 0xff, 0xff, 0xff, 0x0f],
  [0xff, 0xff, 0xff, 0x7f],
  [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80],
  [0, 0, 0, 0x80],
  [0x7f],
  [0],
];

/**
 * One to four changes of a file, drawn from the counters: a bit, a byte, an extreme number written over or put in, a stretch
 * removed, repeated or copied elsewhere, an end cut off.
 *
 * @param from first byte that may change
 */
export function mutate(bytes: Uint8Array, rng: Rng, index: number, from = 0): Uint8Array {
  let out = Array.from(bytes);
  const changes = 1 + rng.integer(4, index, 0);
  for (let change = 1; change <= changes; change++) {
    const draw = (bound: number, what: number): number =>
      rng.integer(Math.max(1, bound), index, change, what);
    const at = Math.min(from, out.length) + draw(out.length - from, 0);
    const length = 1 + draw(16, 1);
    const extreme = extremes[draw(extremes.length, 2)]!;
    switch (draw(8, 3)) {
      case 0:
        out[at] = (out[at] ?? 0) ^ (1 << draw(8, 4));
        break;
      case 1:
        out[at] = draw(256, 4);
        break;
      case 2:
        out.splice(at, extreme.length, ...extreme);
        break;
      case 3:
        out.splice(at, 0, ...extreme);
        break;
      case 4:
        out.splice(at, length);
        break;
      case 5:
        out.splice(at, 0, ...out.slice(at, at + length));
        break;
      case 6: {
        const source = draw(out.length, 4);
        out.splice(at, length, ...out.slice(source, source + length));
        break;
      }
      default:
        if (draw(8, 4) === 0) out = out.slice(0, at);
        else out[at] = ((out[at] ?? 0) + 1) & 255;
    }
  }
  return Uint8Array.from(out);
}
