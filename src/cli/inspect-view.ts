/** What `heed inspect` shows, as text. */
import type { HeedError } from '../core/errors.ts';
import type { ExampleDescription } from '../data/describe-example.ts';
import type { Colors } from './colors.ts';
import { formatNumber } from './format.ts';
import { formatTable } from './output.ts';

/** Lengths of one kind of sequence: `chosen`, `rejected`, `sequence`, `prompt`. */
export interface SequenceCount {
  /** Tokens of each sequence after cutting. */
  readonly lengths: number[];
  trained: number;
  /** Sequences of which tokens were cut, and how many tokens. */
  truncated: number;
  truncatedTokens: number;
  /** Sequences whose prompt and completion are tokenized apart, since no token ends where they meet. */
  split: number;
}

export const emptyCount = (): SequenceCount => ({
  lengths: [],
  trained: 0,
  truncated: 0,
  truncatedTokens: 0,
  split: 0,
});

/** Adds a sequence to its count. */
export function countSequence(count: SequenceCount, example: ExampleDescription): void {
  count.lengths.push(example.tokens.length);
  count.trained += example.learned;
  if (example.truncated > 0) count.truncated++;
  count.truncatedTokens += example.truncated;
  if (example.boundary === 'split') count.split++;
}

/** Facts of a count, in tokens; shares are 0–1. */
export function summarizeCount(count: SequenceCount) {
  const sorted = [...count.lengths].sort((a, b) => a - b);
  const tokens = sorted.reduce((total, length) => total + length, 0);
  // Nearest rank: the smallest length that at least this share of the sequences does not exceed.
  const quantile = (share: number): number => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? 0;
  return {
    sequences: sorted.length,
    tokens,
    shortest: sorted[0] ?? 0,
    median: quantile(0.5),
    p95: quantile(0.95),
    longest: sorted.at(-1) ?? 0,
    truncated: count.truncated,
    truncatedTokens: count.truncatedTokens,
    split: count.split,
    trained: count.trained,
    trainedShare: tokens === 0 ? 0 : count.trained / tokens,
  };
}

/** One row per kind of sequence. */
export function renderSummary(counts: ReadonlyMap<string, SequenceCount>): string {
  const percent = (part: number, whole: number): string =>
    whole === 0 ? '–' : `${formatNumber((100 * part) / whole, 3)} %`;
  const rows = [...counts].map(([name, count]) => {
    const { sequences, tokens, shortest, median, p95, longest, truncated, truncatedTokens, trained } =
      summarizeCount(count);
    const numbers = [sequences, tokens, shortest, median, p95, longest].map((value) => formatNumber(value));
    return [
      name,
      ...numbers,
      percent(truncated, sequences),
      formatNumber(truncatedTokens),
      percent(trained, tokens),
    ];
  });
  const head = [
    '',
    'rows',
    'tokens',
    'shortest',
    'median',
    '95 %',
    'longest',
    'cut',
    'tokens cut',
    'trained',
  ];
  return formatTable([head, ...rows]);
}

export interface ViewOptions {
  readonly colors: Colors;
  readonly width: number;
  /** Tokens shown of an example; the middle of a longer one is left out. */
  readonly showTokens: number;
}

const LABEL = 9;

/**
 * A sequence token by token: each stretch with one mask begins a line with `masked` or `trained`, bars stand between tokens.
 * Line feeds show as `⏎`, tabs as `⇥`.
 */
export function renderExample(title: string, example: ExampleDescription, options: ViewOptions): string {
  const { colors, width, showTokens } = options;
  const { tokens, learned, truncated, boundary } = example;
  const facts = [`${formatNumber(tokens.length)} tokens`, `${formatNumber(learned)} trained`];
  if (truncated > 0) facts.push(colors.red(`${formatNumber(truncated)} cut`));
  if (boundary === 'split') facts.push(colors.yellow('prompt and completion tokenized apart'));
  const lines = [`${colors.bold(title)}  ${facts.join(', ')}`];

  const hidden = Math.max(0, tokens.length - showTokens);
  const hiddenFrom = Math.ceil((tokens.length - hidden) / 2);
  const bar = colors.dim('│');
  let line = '';
  let used = 0;
  let learnedNow: boolean | undefined;
  const flush = (): void => {
    if (used > 0) lines.push(line + bar);
    line = ' '.repeat(LABEL);
    used = 0;
  };
  const label = (learns: boolean): void => {
    flush();
    learnedNow = learns;
    const word = (learns ? 'trained' : 'masked').padEnd(LABEL);
    line = learns ? colors.green(word) : colors.dim(word);
  };
  for (const [at, token] of tokens.entries()) {
    if (hidden > 0 && at >= hiddenFrom && at < hiddenFrom + hidden) {
      if (at === hiddenFrom) {
        flush();
        lines.push(`${' '.repeat(LABEL)}${colors.dim(`… ${formatNumber(hidden)} tokens …`)}`);
        learnedNow = undefined;
      }
      continue;
    }
    if (token.learned !== learnedNow) label(token.learned);
    const text = visible(token.text);
    if (used > 0 && LABEL + used + text.length + 2 > width) flush();
    const paint = token.special ? colors.magenta : token.learned ? colors.green : colors.dim;
    line += bar + paint(text);
    used += text.length + 1;
  }
  flush();
  if (truncated > 0)
    lines.push(`${' '.repeat(LABEL)}${colors.red(`✂ ${formatNumber(truncated)} tokens cut`)}`);
  return lines.join('\n');
}

/** Why rows were refused: each reason once, with the first row that has it. */
export function renderRefused(refused: readonly HeedError[], colors: Colors): string {
  const reasons = new Map<string, HeedError[]>();
  for (const error of refused) {
    const reason = `expected ${error.expected}. ${error.fix ?? ''}`.trim();
    reasons.set(reason, [...(reasons.get(reason) ?? []), error]);
  }
  const rows = refused.length === 1 ? '1 row refused' : `${formatNumber(refused.length)} rows refused`;
  const lines = [`${colors.red(rows)}; training stops at the first, or leaves them out with --refused drop`];
  for (const [reason, errors] of reasons) {
    const [first] = errors;
    lines.push(`  ${formatNumber(errors.length)} × ${reason}`);
    lines.push(`    first ${first!.where}: received ${first!.received}`);
  }
  return lines.join('\n');
}

/** Text on one line, with what a terminal would act on made visible. */
function visible(text: string): string {
  return text
    .replaceAll('\n', '⏎')
    .replaceAll('\t', '⇥')
    .replaceAll('\r', '␍')
    .replace(/\p{Cc}/gu, (control) => `\\x${control.charCodeAt(0).toString(16).padStart(2, '0')}`);
}
