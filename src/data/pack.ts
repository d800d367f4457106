/** Several examples in one row, kept apart by segment numbers. */
import { ShapeError } from '../core/errors.ts';

/** Examples one after the other. Attention must stay within equal segments. */
export interface PackedExample {
  /** [T] */
  readonly ids: Int32Array;
  /** [T]; 0 at the first token of each example, which the one before must not predict */
  readonly mask: Uint8Array;
  /** [T]; from 0 in each example */
  readonly positions: Int32Array;
  /** [T]; 1 … n */
  readonly segments: Int32Array;
  /** Index of the example in each segment, in order. */
  readonly sources: readonly number[];
}

/**
 * Packs examples into rows of at most `length` tokens: longest first (of equals, in their order), each into the row with the
 * least room that suffices (of equals, the one opened first). Deterministic; examples are never cut.
 *
 * Best-fit decreasing needs at most 11/9 of the fewest possible rows, plus one.
 *
 * @throws ShapeError when an example is longer than `length`
 * @source Johnson (1974), "Fast algorithms for bin packing", for the bound
 */
export function packExamples(
  examples: readonly { readonly ids: ArrayLike<number>; readonly mask: ArrayLike<number> }[],
  length: number,
): PackedExample[] {
  const order = examples.map((_, index) => index);
  order.sort((a, b) => examples[b]!.ids.length - examples[a]!.ids.length || a - b);
  const bins: number[][] = [];
  /** Bins by the room that is left in them, in the order opened. */
  const byRoom = Array.from({ length: length + 1 }, (): number[] => []);
  for (const index of order) {
    const tokens = examples[index]!.ids.length;
    if (tokens > length) {
      throw new ShapeError({
        where: `packExamples, example ${index + 1}`,
        expected: `at most ${length} tokens`,
        received: `${tokens}`,
        fix: 'Encode with maxLength set to the packed length',
      });
    }
    let room = tokens;
    while (room <= length && byRoom[room]!.length === 0) room++;
    let bin = room <= length ? byRoom[room]!.shift() : undefined;
    if (bin === undefined) {
      room = length;
      bin = bins.push([]) - 1;
    }
    bins[bin]!.push(index);
    insertSorted(byRoom[room - tokens]!, bin);
  }
  return bins.map((sources) => join(sources, examples));
}

/** Keeps bin numbers ascending, which is the order in which they were opened. */
function insertSorted(bins: number[], bin: number): void {
  let at = bins.length;
  while (at > 0 && bins[at - 1]! > bin) at--;
  bins.splice(at, 0, bin);
}

function join(
  sources: readonly number[],
  examples: readonly { readonly ids: ArrayLike<number>; readonly mask: ArrayLike<number> }[],
): PackedExample {
  const size = sources.reduce((total, index) => total + examples[index]!.ids.length, 0);
  const packed = {
    ids: new Int32Array(size),
    mask: new Uint8Array(size),
    positions: new Int32Array(size),
    segments: new Int32Array(size),
    sources,
  };
  let at = 0;
  for (const [segment, index] of sources.entries()) {
    const { ids, mask } = examples[index]!;
    packed.ids.set(ids, at);
    packed.mask.set(mask, at);
    if (ids.length > 0) packed.mask[at] = 0;
    for (let t = 0; t < ids.length; t++) {
      packed.positions[at + t] = t;
      packed.segments[at + t] = segment + 1;
    }
    at += ids.length;
  }
  return packed;
}
