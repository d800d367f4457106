/** Where prompts stand in the rows of a prefill: one to a row, or several when that leaves less padding. */

export interface PromptLayout {
  /** Rows of the program, some of which may be empty. */
  readonly rows: number;
  /** Tokens of a row. */
  readonly columns: number;
  /** Whether a row may hold several prompts, which must not see each other. */
  readonly packed: boolean;
  /** Of each prompt. */
  readonly places: readonly { readonly row: number; readonly start: number }[];
}

/** Rows this long are filled with prompts: attention over a row costs its square, which is still little here. */
const packedColumns = 128;
/** Packing masks scores by segment; it must save a quarter of the tokens to be worth it. */
const worthwhile = 0.75;

/** 1, 2, 3, 4, 6, 8, 12 …: few numbers of rows, so that few programs are compiled. */
function coarse(count: number): number {
  const power = 2 ** Math.ceil(Math.log2(count));
  return power > 2 && count <= (3 * power) / 4 ? (3 * power) / 4 : power;
}

/**
 * Places prompts, first fit in the order given.
 *
 * @param lengths of the prompts, tokens, each from 1 to `longest`
 * @param longest what a row may hold at most: the model's context
 * @param padded the length that rows of at least as many tokens are padded to
 * @example layoutPrompts([5, 9, 2], 512, (n) => 16 * Math.ceil(n / 16)) // one row of 16: starts 0, 5, 14
 */
export function layoutPrompts(
  lengths: readonly number[],
  longest: number,
  padded: (length: number) => number,
): PromptLayout {
  const most = Math.max(...lengths);
  const alone: PromptLayout = {
    rows: 2 ** Math.ceil(Math.log2(lengths.length)),
    columns: Math.min(padded(most), longest),
    packed: false,
    places: lengths.map((_, row) => ({ row, start: 0 })),
  };
  const total = lengths.reduce((sum, length) => sum + length, 0);
  const columns = Math.min(padded(Math.max(most, Math.min(total, packedColumns))), longest);
  const used: number[] = [];
  const places = lengths.map((length) => {
    const free = used.findIndex((taken) => taken + length <= columns);
    const row = free === -1 ? used.length : free;
    const start = used[row] ?? 0;
    used[row] = start + length;
    return { row, start };
  });
  const rows = coarse(used.length);
  const saves = rows * columns <= worthwhile * alone.rows * alone.columns;
  return saves ? { rows, columns, packed: true, places } : alone;
}

/** Tokens of one prefill at most, unless a single prompt is longer: what bounds its memory. */
export const prefillTokens = 4096;

/**
 * Cuts prompts into runs of neighbours that are computed together, each of at most `most` tokens when every prompt is
 * padded to the longest of its run.
 *
 * @returns start and end (exclusive) of each run
 * @example runsOf([100, 100, 300], 256) // [[0, 2], [2, 3]]
 */
export function runsOf(lengths: readonly number[], most: number): [number, number][] {
  const runs: [number, number][] = [];
  let start = 0;
  let longest = 0;
  for (const [index, length] of lengths.entries()) {
    longest = Math.max(longest, length);
    if (index > start && longest * (index + 1 - start) > most) {
      runs.push([start, index]);
      start = index;
      longest = length;
    }
  }
  runs.push([start, lengths.length]);
  return runs;
}
