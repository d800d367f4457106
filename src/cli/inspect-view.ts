/** What `heed inspect` shows, as text. */
import type { HeedError } from '../core/errors.ts';
import { type DataStats, type LengthBin, summarizeLengths } from '../data/data-stats.ts';
import type { ExampleDescription } from '../data/describe-example.ts';
import type { Row } from '../data/row.ts';
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
  const { count: sequences, total: tokens, ...lengths } = summarizeLengths(count.lengths);
  return {
    sequences,
    tokens,
    ...lengths,
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

const BAR = 40;

/** Lengths as bars, one line per bin: `  16–31  ████  12`. */
export function renderHistogram(title: string, bins: readonly LengthBin[], colors: Colors): string {
  const most = Math.max(1, ...bins.map(({ count }) => count));
  const names = bins.map(({ from, to }) => `${formatNumber(from)}–${formatNumber(to - 1)}`);
  const width = Math.max(0, ...names.map((name) => name.length));
  const lines = bins.map(({ count }, index) => {
    // What there is shows, however little.
    const bar = count === 0 ? '' : '█'.repeat(Math.max(1, Math.round((BAR * count) / most)));
    return `  ${names[index]!.padStart(width)}  ${colors.cyan(bar)}${bar === '' ? '' : '  '}${formatNumber(count)}`;
  });
  return [colors.bold(title), ...lines].join('\n');
}

/** Columns with what they hold. */
export function renderColumns({ rows, columns, characters }: DataStats): string {
  const lines = columns.map(({ name, rows: present, kinds }) => {
    const kind = Object.entries(kinds)
      .map(([word, count]) => (Object.keys(kinds).length === 1 ? word : `${word} ${formatNumber(count)}`))
      .join(', ');
    const lengths = characters[name];
    const numbers =
      lengths === undefined
        ? ['–', '–', '–']
        : [lengths.median, lengths.p95, lengths.longest].map((value) => formatNumber(value));
    return [name, formatNumber(present), formatNumber(rows - present), ...numbers, kind];
  });
  return formatTable([
    ['column', 'rows', 'missing', 'median', '95 %', 'longest', 'holds (lengths in characters)'],
    ...lines,
  ]);
}

/** What a data set should have none of, where it has some. */
export function renderWarnings({ duplicates, equalSides, types }: DataStats, colors: Colors): string[] {
  const rows = (count: number): string => (count === 1 ? '1 row' : `${formatNumber(count)} rows`);
  const repeat = (count: number): string =>
    `${rows(count)} ${count === 1 ? 'repeats' : 'repeat'} an earlier one`;
  const lines: string[] = [];
  if (duplicates.exact > 0) lines.push(repeat(duplicates.exact));
  const near = duplicates.normalized - duplicates.exact;
  if (near > 0) lines.push(`${repeat(near)} but for case, spacing and punctuation`);
  if (equalSides > 0) lines.push(`${rows(equalSides)} with equal \`chosen\` and \`rejected\``);
  if (Object.keys(types).length > 1) {
    const words = Object.entries(types).map(([type, count]) => `${formatNumber(count)} ${type}`);
    lines.push(`rows of several types: ${words.join(', ')}`);
  }
  return lines.map((line) => colors.yellow(line));
}

/** A row without a tokenizer: what is learned stands out from what is not. */
export function renderRow(row: Row, colors: Colors): string {
  const lines = [colors.bold(row.where)];
  const width = Math.max(LABEL, ...Object.keys(row.columns).map((name) => name.length));
  for (const [name, value] of Object.entries(row.columns)) {
    const learned = learnedColumns.has(name);
    const paint = learned ? colors.green : colors.dim;
    const turns = Array.isArray(value) && value.length > 0 && value.every(isMessage) ? value : undefined;
    if (turns === undefined) {
      const text = typeof value === 'string' ? value : JSON.stringify(value);
      lines.push(`${name.padEnd(width)}  ${paint(visible(clip(text)))}`);
      continue;
    }
    for (const [index, turn] of turns.entries()) {
      const { role, content, ...rest } = turn as { role: string; content?: unknown };
      const inside = Object.keys(rest).length === 0 ? '' : ` ${JSON.stringify(rest)}`;
      const text = typeof content === 'string' ? content : JSON.stringify(content ?? '');
      const color = name === 'messages' && role === 'assistant' ? colors.green : paint;
      const label = index === 0 ? name : '';
      lines.push(`${label.padEnd(width)}  ${colors.cyan(role)} ${color(visible(clip(text + inside)))}`);
    }
  }
  return lines.join('\n');
}

/** Columns that are learned; of `messages`, the turns of the assistant. */
const learnedColumns = new Set(['completion', 'completions', 'chosen', 'rejected', 'text']);
const isMessage = (value: unknown): boolean => typeof value === 'object' && value !== null && 'role' in value;

/** Characters shown of one cell or turn. */
const SHOWN = 400;
const clip = (text: string): string =>
  text.length <= SHOWN ? text : `${text.slice(0, SHOWN / 2)} … ${text.slice(-SHOWN / 2)}`;

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
export function visible(text: string): string {
  return text
    .replaceAll('\n', '⏎')
    .replaceAll('\t', '⇥')
    .replaceAll('\r', '␍')
    .replace(/\p{Cc}/gu, (control) => `\\x${control.charCodeAt(0).toString(16).padStart(2, '0')}`);
}
