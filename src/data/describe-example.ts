import type { Tokenizer } from '../tokenizer/index.ts';
import type { Sequence } from './batches.ts';

export interface DescribedToken {
  readonly id: number;
  /** As `tokenText` shows it. */
  readonly text: string;
  readonly learned: boolean;
  readonly special: boolean;
  /** Packed examples only. */
  readonly segment?: number;
}

/** What `inspect` shows of one encoded example. */
export interface ExampleDescription {
  readonly where?: string;
  readonly tokens: readonly DescribedToken[];
  /** Texts of the stretches with one mask, decoded as a whole, special tokens shown. */
  readonly spans: readonly { readonly text: string; readonly learned: boolean; readonly tokens: number }[];
  readonly learned: number;
  /** Tokens that were cut. */
  readonly truncated: number;
  readonly boundary: 'exact' | 'split';
}

/** Tokens, mask and what was cut, for people. */
export function describeExample(
  example: Sequence & {
    readonly where?: string;
    readonly truncated?: number;
    readonly boundary?: 'exact' | 'split';
  },
  tokenizer: Tokenizer,
): ExampleDescription {
  const ids = Array.from(example.ids);
  const tokens = ids.map((id, t): DescribedToken => {
    const segment = example.segments?.[t];
    return {
      id,
      text: tokenizer.tokenText(id),
      learned: example.mask[t] === 1,
      special: tokenizer.specialIds.has(id),
      ...(segment === undefined ? {} : { segment }),
    };
  });
  const spans: { text: string; learned: boolean; tokens: number }[] = [];
  for (let start = 0, end = 0; start < tokens.length; start = end) {
    const { learned } = tokens[start]!;
    while (end < tokens.length && tokens[end]!.learned === learned) end++;
    const text = tokenizer.decode(ids.slice(start, end), { skipSpecial: false });
    spans.push({ text, learned, tokens: end - start });
  }
  return {
    ...(example.where === undefined ? {} : { where: example.where }),
    tokens,
    spans,
    learned: tokens.filter((token) => token.learned).length,
    truncated: example.truncated ?? 0,
    boundary: example.boundary ?? 'exact',
  };
}
