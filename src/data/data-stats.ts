/** What is known of a data set without a tokenizer. */
import type { Row } from './row.ts';
import { rowKey } from './row-key.ts';
import { detectRowType } from './row-types.ts';

/** Lengths in one unit. Quantiles are nearest ranks: the smallest length that at least this share does not exceed. */
export interface LengthSummary {
  readonly count: number;
  readonly total: number;
  readonly shortest: number;
  readonly median: number;
  readonly p95: number;
  readonly longest: number;
  /** Bins [0, 8), [8, 16), [16, 32) … up to the longest, from the first that is not empty. */
  readonly histogram: readonly LengthBin[];
}

export interface LengthBin {
  readonly from: number;
  /** Exclusive. */
  readonly to: number;
  readonly count: number;
}

/** Lengths of one kind, summarized. */
export function summarizeLengths(lengths: readonly number[]): LengthSummary {
  const sorted = [...lengths].sort((a, b) => a - b);
  const quantile = (share: number): number => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? 0;
  return {
    count: sorted.length,
    total: sorted.reduce((sum, length) => sum + length, 0),
    shortest: sorted[0] ?? 0,
    median: quantile(0.5),
    p95: quantile(0.95),
    longest: sorted.at(-1) ?? 0,
    histogram: lengthHistogram(sorted),
  };
}

function lengthHistogram(sorted: readonly number[]): LengthBin[] {
  const bins: { from: number; to: number; count: number }[] = [];
  for (const length of sorted) {
    while (bins.length === 0 || length >= bins.at(-1)!.to) {
      const from = bins.at(-1)?.to ?? 0;
      bins.push({ from, to: from === 0 ? 8 : 2 * from, count: 0 });
    }
    bins.at(-1)!.count++;
  }
  const first = bins.findIndex(({ count }) => count > 0);
  return bins.slice(Math.max(0, first));
}

export interface ColumnSummary {
  readonly name: string;
  /** Rows that have it. */
  readonly rows: number;
  /** Rows by kind of value: `text`, `messages`, `number`, `list of text` … */
  readonly kinds: Readonly<Record<string, number>>;
}

export interface DataStats {
  readonly rows: number;
  /** Rows by TRL's type; `unknown` for columns that spell none. */
  readonly types: Readonly<Record<string, number>>;
  /** In the order of their first appearance. */
  readonly columns: readonly ColumnSummary[];
  /** Rows that repeat an earlier one: letter by letter, and whatever the case, spacing and punctuation. */
  readonly duplicates: { readonly exact: number; readonly normalized: number };
  /** Pairs whose sides are equal: they state no preference. */
  readonly equalSides: number;
  /** Characters (UTF-16 units) of the columns that hold text or messages. */
  readonly characters: Readonly<Record<string, LengthSummary>>;
}

/** Counts rows as they are added. Price: a key of 32 characters twice per row. */
export function countData(): { add(row: Row): void; stats(): DataStats } {
  const types = new Map<string, number>();
  const columns = new Map<string, Map<string, number>>();
  const exact = new Set<string>();
  const normalized = new Set<string>();
  const lengths = new Map<string, number[]>();
  let rows = 0;
  let equalSides = 0;
  return {
    add(row) {
      rows++;
      increment(types, detectRowType(row) ?? 'unknown');
      exact.add(rowKey(row, 'exact'));
      normalized.add(rowKey(row, 'normalized'));
      const { chosen, rejected } = row.columns;
      if (chosen !== undefined && JSON.stringify(chosen) === JSON.stringify(rejected)) equalSides++;
      for (const [name, value] of Object.entries(row.columns)) {
        const kinds = columns.get(name) ?? new Map<string, number>();
        columns.set(name, kinds);
        increment(kinds, kindOf(value));
        const length = textLength(value);
        if (length === undefined) continue;
        const list = lengths.get(name) ?? [];
        lengths.set(name, list);
        list.push(length);
      }
    },
    stats: () => ({
      rows,
      types: Object.fromEntries(types),
      columns: [...columns].map(([name, kinds]) => ({
        name,
        rows: [...kinds.values()].reduce((sum, count) => sum + count, 0),
        kinds: Object.fromEntries(kinds),
      })),
      duplicates: { exact: rows - exact.size, normalized: rows - normalized.size },
      equalSides,
      characters: Object.fromEntries([...lengths].map(([name, list]) => [name, summarizeLengths(list)])),
    }),
  };
}

function increment(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}

const isMessage = (value: unknown): boolean => typeof value === 'object' && value !== null && 'role' in value;

function kindOf(value: unknown): string {
  if (typeof value === 'string') return 'text';
  if (!Array.isArray(value)) return typeof value;
  if (value.length === 0) return 'empty list';
  if (value.every(isMessage)) return 'messages';
  const kinds = new Set(value.map(kindOf));
  return kinds.size === 1 ? `list of ${[...kinds][0]}` : 'list';
}

/** Characters of a text, of the contents of messages, or of a list of texts; undefined for anything else. */
function textLength(value: unknown): number | undefined {
  if (typeof value === 'string') return value.length;
  if (!Array.isArray(value) || value.length === 0) return undefined;
  const parts: unknown[] = value.every(isMessage)
    ? value.map(({ content }: { content?: unknown }) => (content === undefined ? '' : content))
    : value;
  return parts.every((part) => typeof part === 'string')
    ? parts.reduce((sum: number, part) => sum + part.length, 0)
    : undefined;
}
