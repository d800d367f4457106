/** Encoded examples: token ids with what is learned of them. */
import { DataError } from '../core/errors.ts';

/** A token sequence with what to learn from it. */
export interface EncodedExample {
  readonly where: string;
  /** [T] */
  readonly ids: Int32Array;
  /** [T]; 1 where the token is learned, as predicted from those before it. Never 1 at position 0. */
  readonly mask: Uint8Array;
  /** Tokens before the first learned one: what sampling would start from. */
  readonly promptLength: number;
  /** Tokens that were cut to fit. */
  readonly truncated: number;
  /** Whether prompt and completion were tokenized together or apart (see `TokenizedSegments`). */
  readonly boundary: 'exact' | 'split';
}

export interface EncodedPair {
  readonly where: string;
  /** Both sides begin with the same `promptLength` tokens. */
  readonly chosen: EncodedExample;
  readonly rejected: EncodedExample;
}

export interface EncodedUnpaired {
  readonly where: string;
  readonly example: EncodedExample;
  readonly label: boolean;
}

export interface EncodedPrompt {
  readonly where: string;
  /** [P] */
  readonly ids: Int32Array;
  readonly truncated: number;
}

/** A sequence before it is cut to length: `ids` and `mask` are of equal length, the mask starts at `promptLength`. */
export interface Draft {
  readonly ids: readonly number[];
  readonly mask: readonly number[];
  readonly promptLength: number;
  readonly boundary: 'exact' | 'split';
}

export type Truncation = 'error' | 'keep-start' | 'keep-end';

export interface FitOptions {
  readonly where: string;
  /** Most tokens; no limit when undefined. */
  readonly maxLength: number | undefined;
  readonly truncation: Truncation;
  /** Leave this first token where it is when the start of the prompt is cut. */
  readonly bosId: number | undefined;
}

/**
 * Cuts sequences that share a prompt to at most `maxLength` tokens: first, unless `truncation` is `error`, the prompt, to
 * what the longest completion leaves but at least half of `maxLength`, the same for every sequence; then the ends of
 * completions.
 *
 * @throws DataError when a prompt leaves no room and may not be cut, or when nothing is left to learn
 */
export function fitDrafts(drafts: readonly Draft[], options: FitOptions): EncodedExample[] {
  const { where, maxLength = Number.POSITIVE_INFINITY, truncation, bosId } = options;
  const prompt = Math.min(...drafts.map((draft) => draft.promptLength));
  const longest = Math.max(...drafts.map((draft) => draft.ids.length));
  if (truncation === 'error' && prompt >= maxLength) {
    throw new DataError({
      where,
      expected: `a prompt of fewer than ${maxLength} tokens, the longest sequence`,
      received: `${prompt} tokens`,
      fix: 'Raise the maximum length, remove the row, or set truncation to keep-start or keep-end',
    });
  }
  const room = Math.max(maxLength - (longest - prompt), Math.floor(maxLength / 2));
  const keep = truncation === 'error' || longest <= maxLength ? prompt : Math.min(prompt, room);
  return drafts.map((draft) => {
    const [ids, mask] = [draft.ids, draft.mask].map((values) => {
      const head = cutPrompt(values, draft.ids, prompt, keep, truncation, bosId);
      return [...head, ...values.slice(prompt)].slice(0, maxLength);
    }) as [number[], number[]];
    const example = {
      where,
      ids: Int32Array.from(ids),
      mask: Uint8Array.from(mask),
      promptLength: draft.promptLength - (prompt - keep),
      truncated: draft.ids.length - ids.length,
      boundary: draft.boundary,
    };
    if (!example.mask.includes(1)) {
      throw new DataError({
        where,
        expected: 'at least one token to learn',
        received:
          example.truncated > 0
            ? `none after cutting to ${maxLength} tokens`
            : `none in ${ids.length} tokens`,
        fix:
          example.truncated > 0 ? 'Raise the maximum length' : 'Check the completion and the chat template',
      });
    }
    return example;
  });
}

/** The first `keep` of `prompt` values, or the last; a BOS in front stays. */
function cutPrompt(
  values: readonly number[],
  ids: readonly number[],
  prompt: number,
  keep: number,
  truncation: Truncation,
  bosId: number | undefined,
): readonly number[] {
  if (keep === prompt || truncation !== 'keep-end') return values.slice(0, keep);
  const bos = ids[0] === bosId && keep > 0 ? 1 : 0;
  return [...values.slice(0, bos), ...values.slice(prompt - keep + bos, prompt)];
}
