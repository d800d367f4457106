import { DataError } from '../core/errors.ts';
import type { EncodeCache } from './encode-cache.ts';
import type { EncodedExample, EncodedPair, EncodedPrompt, EncodedUnpaired } from './example.ts';
import type { Row } from './row.ts';

/** Anything that an encoder makes of a row. */
export type Encoded = EncodedExample | EncodedPair | EncodedUnpaired | EncodedPrompt;

/** Counts over a data set, for logs. Of a pair, both sequences count. */
export interface EncodeReport {
  readonly rows: number;
  /** Rows left out, as `refused: 'drop'` asks. */
  readonly dropped: number;
  /** The first few reasons, one line each. */
  readonly reasons: readonly string[];
  readonly sequences: number;
  readonly tokens: number;
  /** Tokens with mask 1. */
  readonly learned: number;
  /** Sequences of which tokens were cut, and how many tokens. */
  readonly truncated: number;
  readonly truncatedTokens: number;
  /** Sequences whose prompt and completion had to be tokenized apart. */
  readonly split: number;
}

/**
 * Encodes every row and counts.
 *
 * @param options `refused`: what becomes of a row that the encoder refuses: `throw` (default) or `drop`, counted; `cache`: of
 *   this encoder (see `openEncodeCache`)
 * @throws DataError of the first refused row; or when no row is left
 */
export function encodeRows<E extends Encoded>(
  rows: readonly Row[],
  encode: (row: Row) => E,
  {
    refused = 'throw',
    cache,
  }: { readonly refused?: 'throw' | 'drop'; readonly cache?: EncodeCache | undefined } = {},
): { readonly examples: readonly E[]; readonly report: EncodeReport } {
  const examples: E[] = [];
  const reasons: string[] = [];
  let dropped = 0;
  for (const row of rows) {
    try {
      examples.push(cache === undefined ? encode(row) : cache.encode(row, encode));
    } catch (error) {
      if (refused === 'throw' || !(error instanceof DataError)) throw error;
      dropped++;
      if (reasons.length < 5) reasons.push(error.message);
    }
  }
  if (examples.length === 0) {
    throw new DataError({
      where: 'data',
      expected: 'at least one row that can be used',
      received: reasons.length === 0 ? 'no rows' : `${dropped} refused, the first with: ${reasons[0]}`,
    });
  }
  cache?.save();
  const sequences = examples.flatMap(sequencesOf);
  const sum = (of: (sequence: Counted) => number): number =>
    sequences.reduce((total, sequence) => total + of(sequence), 0);
  const report = {
    rows: rows.length,
    dropped,
    reasons,
    sequences: sequences.length,
    tokens: sum(({ ids }) => ids.length),
    learned: sum(({ mask }) => mask?.reduce((total, bit) => total + bit, 0) ?? 0),
    truncated: sum(({ truncated }) => (truncated > 0 ? 1 : 0)),
    truncatedTokens: sum(({ truncated }) => truncated),
    split: sum(({ boundary }) => (boundary === 'split' ? 1 : 0)),
  };
  return { examples, report };
}

type Counted = EncodedPrompt & Partial<Pick<EncodedExample, 'mask' | 'boundary'>>;

function sequencesOf(encoded: Encoded): Counted[] {
  if ('chosen' in encoded) return [encoded.chosen, encoded.rejected];
  return 'example' in encoded ? [encoded.example] : [encoded];
}
