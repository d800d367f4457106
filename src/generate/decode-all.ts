/** Rows from their first token to their last: slots of finished ones go to waiting ones. */
import type { Decoder } from './decoder.ts';
import type { Completion, GenerateOptions } from './generate.ts';
import { createRow, extend, type Row } from './row.ts';
import type { Draw, RowOutputs } from './sample.ts';

/** Runs every row to its end. Slots 0 … active are decoded; those of finished rows go to waiting ones, shortest prompt first. */
export async function decodeAll(
  rows: readonly Row[],
  slots: number,
  decoder: Decoder,
  options: GenerateOptions,
  maxPositions: number,
): Promise<void> {
  // Prompts of similar length are computed together: less padding. Samples of a prompt stay neighbours.
  const waiting = [...rows].sort((a, b) => a.prompt.length - b.prompt.length);
  let held: (Row | undefined)[] = new Array<Row | undefined>(slots).fill(undefined);
  let next = 0;
  const { advance, report } = follow(rows, options, maxPositions);
  // Prompts wait until an eighth of the slots is free: a few larger prefills cost less than many of one row.
  const enough = Math.ceil(slots / 8);
  for (;;) {
    let free = held.filter((row) => row === undefined).length;
    while (next < waiting.length && (free >= enough || free >= waiting.length - next)) {
      const admitted = waiting.slice(next, next + free);
      next += admitted.length;
      const empty = [...held.keys()].filter((slot) => held[slot] === undefined);
      const targets = groupByPrompt(admitted.map((row, i) => ({ row, slot: empty[i]! })));
      await decoder.prefill(targets, (outputs, index) => {
        for (const { row, slot } of targets[index]!) {
          advance(row, outputs);
          if (row.finish === undefined) held[slot] = row;
        }
      });
      await report(admitted.length);
      free = held.filter((row) => row === undefined).length;
    }
    const active = held.length - free;
    if (active === 0) return;
    if (next === waiting.length && active <= held.length / 2) held = compact(held, active, decoder);
    const outputs = await decoder.step(held);
    held = held.map((row, slot) => {
      if (row !== undefined) advance(row, outputs[slot]!);
      return row?.finish === undefined ? row : undefined;
    });
    await report(active);
  }
}

/** What happens to rows whoever runs them: tokens are added, and whole completions handed over. */
export function follow(rows: readonly Row[], options: GenerateOptions, maxPositions: number) {
  const open = new Map<number, Row[]>();
  for (const row of rows) open.set(row.promptIndex, [...(open.get(row.promptIndex) ?? []), row]);
  const ended: number[] = [];
  const advance = (row: Row, outputs: RowOutputs, drawn?: Draw): void => {
    extend(row, outputs, options, maxPositions - row.prompt.length - row.ids.length, drawn);
    if (row.finish !== undefined) ended.push(row.promptIndex);
  };
  const report = async (tokens: number): Promise<void> => {
    for (const promptIndex of ended.splice(0)) {
      const own = open.get(promptIndex);
      if (own === undefined || own.some(({ finish }) => finish === undefined)) continue;
      open.delete(promptIndex);
      await options.onCompletions?.(
        promptIndex,
        own.map((row) => completionOf(row, options)),
      );
    }
    await options.onTokens?.(tokens);
  };
  return { advance, report };
}

/** Rows of the same prompt in one target, so that it is computed once. */
export function groupByPrompt<T extends { readonly row: Row }>(admitted: readonly T[]): T[][] {
  const groups = new Map<number, T[]>();
  for (const entry of admitted) {
    const { promptIndex } = entry.row;
    groups.set(promptIndex, [...(groups.get(promptIndex) ?? []), entry]);
  }
  return [...groups.values()];
}

/** Halves the slots until the rows just fit, moving rows to the front. */
export function compact(
  held: readonly (Row | undefined)[],
  active: number,
  decoder: Decoder,
): (Row | undefined)[] {
  let size = held.length;
  while (active <= size / 2) size = Math.ceil(size / 2);
  const front = held.slice(0, size);
  for (let slot = size; slot < held.length; slot++) {
    const row = held[slot];
    if (row === undefined) continue;
    const to = front.indexOf(undefined);
    decoder.move(slot, to, row);
    front[to] = row;
  }
  return front;
}

export function createRows(prompts: readonly ArrayLike<number>[], options: GenerateOptions): Row[] {
  const n = options.n ?? 1;
  return prompts.flatMap((prompt, promptIndex) => {
    const own = { ...options, ...options.perPrompt?.(promptIndex) };
    const key = options.keys?.[promptIndex] ?? promptIndex;
    return Array.from({ length: n }, (_, sampleIndex) =>
      createRow({ promptIndex, sampleIndex, key }, prompt, own),
    );
  });
}

/** What a finished row has become. */
export function completionOf(row: Row, options: GenerateOptions): Completion {
  const { ids, logProbs, samplingLogProbs, entropies, topLogProbs, finish, stop } = row;
  return {
    ids,
    logProbs,
    samplingLogProbs,
    finish: finish!,
    ...(stop === undefined ? {} : { stop }),
    ...(options.entropy === true ? { entropies } : {}),
    ...((options.topLogProbs ?? 0) > 0 ? { topLogProbs } : {}),
  };
}
