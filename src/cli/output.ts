/** Results on stdout: text for people, or JSON lines with `--json`. */
import type { Colors, TextStream } from './colors.ts';

export interface Output {
  readonly json: boolean;
  readonly colors: Colors;
  /** Characters in a line; 100 when the stream does not say. */
  readonly width: number;
  /** A line for people; nothing with `--json`. */
  text(line: string): void;
  /** One JSON line with `--json`; nothing without. */
  record(record: Readonly<Record<string, unknown>>): void;
}

export interface OutputOptions {
  readonly stream: TextStream;
  readonly json: boolean;
  readonly colors: Colors;
  /** Called around each write, so that a live progress line on the same terminal steps aside. */
  readonly aside: (write: () => void) => void;
}

export function createOutput({ stream, json, colors, aside }: OutputOptions): Output {
  return {
    json,
    colors,
    width: stream.columns ?? 100,
    text: (line) => {
      if (!json) aside(() => stream.write(`${line}\n`));
    },
    record: (record) => {
      if (json) aside(() => stream.write(`${JSON.stringify(record)}\n`));
    },
  };
}

/**
 * Rows of cells in columns, two spaces apart; numbers (and cells that start with a digit) to the right. The first row is the head.
 *
 * @example
 * formatTable([['rows', 'tokens'], ['chosen', '12']]) // 'rows    tokens\nchosen      12'
 */
export function formatTable(rows: readonly (readonly string[])[]): string {
  const columns = Math.max(0, ...rows.map((row) => row.length));
  const widths = Array.from({ length: columns }, (_, at) =>
    Math.max(...rows.map((row) => (row[at] ?? '').length)),
  );
  const numeric = widths.map((_, at) => rows.slice(1).every((row) => /^[-+]?[\d–]|^$/.test(row[at] ?? '')));
  return rows
    .map((row) =>
      widths
        .map((width, at) => (numeric[at] ? (row[at] ?? '').padStart(width) : (row[at] ?? '').padEnd(width)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
