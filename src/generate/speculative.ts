/** Speculative decoding: tokens are guessed, checked in one pass, and kept as far as they are what sampling gives. */
import type { Rng } from '../core/rng.ts';
import type { Binding } from '../engine/engine.ts';
import type { SlotCache } from './cache.ts';
import type { Decoder, Programs } from './decoder.ts';
import { counters, type Row, rowViews } from './row.ts';
import { type Draw, drawFrom, type RowOutputs, samplingDistribution } from './sample.ts';

/** Guesses for a row: tokens, and the distribution that each was drawn from (a point where it is left out). */
export interface Guess {
  readonly tokens: readonly number[];
  readonly from?: readonly Float64Array[];
}

/** Guesses for rows, at most `count` tokens each. Idle rows are undefined. */
export type Guesser = (rows: readonly (Row | undefined)[], count: number) => Promise<readonly Guess[]>;

/** Longest end of the text that is looked for earlier in it. */
const longestMatch = 3;

/**
 * What followed the last time that the text ended as it does now: the longest end of 3, 2 or 1 tokens that occurs earlier,
 * at its latest place.
 *
 * @source Saxena 2023, "Prompt Lookup Decoding" (apoorvumang/prompt-lookup-decoding)
 * @example lookUp([1, 2, 3, 9, 1, 2], 2) // [3, 9]
 */
export function lookUp(ids: readonly number[], count: number): number[] {
  for (let size = Math.min(longestMatch, ids.length - 1); size >= 1; size--) {
    const end = ids.length - size;
    for (let at = end - 1; at >= 0; at--) {
      let same = 0;
      while (same < size && ids[at + same] === ids[end + same]) same++;
      if (same === size) return ids.slice(at + size, at + size + count);
    }
  }
  return [];
}

/** Guesses by what the prompt and the completion say already. */
export const promptLookup: Guesser = async (rows, count) =>
  rows.map((row) => ({
    tokens: row === undefined ? [] : lookUp([...Array.from(row.prompt), ...row.ids], count),
  }));

/**
 * Guesses by a smaller model with the same vocabulary, which samples under each row's options.
 *
 * @param decoder of that model, with the rows' prompts in its slots
 * @param maxPositions its context, beyond which it guesses nothing
 */
export function draftModel(decoder: Decoder, rng: Rng, maxPositions: number): Guesser {
  const stream = rng.split('draft');
  return async (rows, count) => {
    const tokens: number[][] = rows.map(() => []);
    const from: Float64Array[][] = rows.map(() => []);
    // The last step draws nothing: it stores the last guess, which the next call continues when all are right.
    for (let step = 0; step <= count; step++) {
      const ahead = rows.map((row, i) =>
        row === undefined || row.prompt.length + row.ids.length + step >= maxPositions
          ? undefined
          : { ...row, ids: [...row.ids, ...tokens[i]!] },
      );
      const outputs = await decoder.step(ahead);
      if (step === count) break;
      ahead.forEach((row, i) => {
        if (row === undefined) return;
        const { stopIds } = row.options;
        const q = samplingDistribution(outputs[i]!.logits, row.options, {
          ...row,
          stopIds,
          state: undefined,
        });
        const { token } = drawFrom(q, undefined, stream.uniform(...counters(row, row.ids.length)));
        tokens[i]!.push(token);
        from[i]!.push(q);
      });
    }
    return rows.map((_, i) => ({ tokens: tokens[i]!, from: from[i]! }));
  };
}

/**
 * The token after a row, given a guess that was drawn from q: the guess with probability min(1, p / q), else one from what
 * p has more than q. Its distribution is p, whatever q is.
 *
 * @source Leviathan, Kalman & Matias 2023, "Fast Inference from Transformers via Speculative Decoding", section 2.3
 */
export function rejectionDraw(row: Row, outputs: RowOutputs, guess: number, q: Float64Array, rng: Rng): Draw {
  const { options, ids, state } = row;
  const p = samplingDistribution(outputs.logits, options, { ...row, stopIds: options.stopIds, state });
  const at = counters(row, ids.length);
  if (rng.split('accept').uniform(...at) * q[guess]! < p[guess]!)
    return { token: guess, logProb: Math.log(p[guess]!) };
  const more = p.map((probability, token) => Math.max(0, probability - q[token]!));
  const { token } = drawFrom(more, undefined, rng.uniform(...at));
  return { token, logProb: Math.log(p[token]!) };
}

/** The pass that checks guesses. */
export interface Verifier {
  /** What follows each row and each of its guesses, [rows][count + 1]. */
  run(rows: readonly (Row | undefined)[], guesses: readonly Guess[]): Promise<readonly RowOutputs[][]>;
  dispose(): void;
}

/** A verifier of `slots` rows and `count` guesses, whose program stores keys and values as decoding does. */
export async function createVerifier(
  programs: Programs,
  cache: SlotCache,
  slots: number,
  count: number,
  { run, maxPositions }: { run: (binding: Binding) => void | Promise<void>; maxPositions: number },
): Promise<Verifier> {
  const T = count + 1;
  const executable = await programs.verify(slots, T, cache.positions);
  const ids = new BigInt64Array(slots * T);
  const positions = new BigInt64Array(slots * T);
  const lengths = new BigInt64Array(slots);
  const inverseTemperature = new Float32Array(slots * T).fill(1);
  const binding = executable.bind({
    ...{ ...programs.weights, ...cache.arrays(slots) },
    ...{ ids, positions, lengths, inverseTemperature },
  });
  const views = rowViews(binding.outputs);
  return {
    async run(rows, guesses) {
      for (let slot = 0; slot < slots; slot++) {
        const row = rows[slot];
        const start = row === undefined ? 0 : row.prompt.length + row.ids.length - 1;
        const temperature = row?.options.temperature ?? 1;
        lengths[slot] = BigInt(start);
        for (let t = 0; t < T; t++) {
          const token = t === 0 ? row?.ids.at(-1) : guesses[slot]?.tokens[t - 1];
          ids[slot * T + t] = BigInt(token ?? 0);
          // What lies beyond the context is never kept.
          positions[slot * T + t] = BigInt(Math.min(start + t, maxPositions - 1));
          inverseTemperature[slot * T + t] = temperature > 0 ? 1 / temperature : 1;
        }
      }
      await run(binding);
      const arrays = Object.fromEntries(
        Object.entries(binding.outputs).map(([name, { data }]) => [name, data]),
      );
      cache.append(arrays, lengths);
      return Array.from({ length: slots }, (_, slot) => views.slice(slot * T, (slot + 1) * T));
    },
    dispose: () => binding.dispose(),
  };
}

/** How guessing went. */
export interface Speculated {
  /** Tokens guessed, and those of them that were kept. */
  guessed: number;
  kept: number;
}

export interface SpeculationTools {
  readonly slots: number;
  /** Guesses per row and pass. */
  readonly count: number;
  readonly decoder: Decoder;
  readonly verifier: Verifier;
  readonly guesser: Guesser;
  /** Hears of the rows that come into slots, before they are guessed. */
  readonly prepare?:
    | ((rows: readonly (readonly { row: Row; slot: number }[])[]) => Promise<void>)
    | undefined;
  readonly group: (rows: readonly { row: Row; slot: number }[]) => { row: Row; slot: number }[][];
  /** Adds a token to a row: the given one, or one drawn from what the outputs say. */
  readonly advance: (row: Row, outputs: RowOutputs, drawn?: Draw) => void;
  /** Awaited after each pass with the number of tokens it made. */
  readonly report: (tokens: number) => Promise<void>;
  readonly rng: Rng;
  readonly speculated: Speculated;
}

/**
 * Runs rows to their end, `slots` at a time. Where a guess has no distribution, the token is drawn as without guessing, and
 * the guess is kept when it is that token: then completions are those of plain sampling.
 */
export async function decodeSpeculatively(rows: readonly Row[], tools: SpeculationTools): Promise<void> {
  const { slots, count, decoder, verifier, guesser, advance, report, rng, speculated } = tools;
  for (let at = 0; at < rows.length; at += slots) {
    const part = rows.slice(at, at + slots);
    const targets = tools.group(part.map((row, slot) => ({ row, slot })));
    await tools.prepare?.(targets);
    await decoder.prefill(targets, (outputs, index) => {
      for (const { row } of targets[index]!) advance(row, outputs);
    });
    await report(part.length);
    while (part.some(({ finish }) => finish === undefined)) {
      const held = Array.from({ length: slots }, (_, slot) =>
        part[slot]?.finish === undefined ? part[slot] : undefined,
      );
      const guesses = await guesser(held, count);
      const blind = guesses.every(({ tokens }) => tokens.length === 0);
      const outputs = blind
        ? (await decoder.step(held)).map((one) => [one])
        : await verifier.run(held, guesses);
      let made = 0;
      for (const [slot, row] of held.entries()) {
        if (row === undefined) continue;
        const { tokens, from } = guesses[slot]!;
        speculated.guessed += tokens.length;
        for (const [t, after] of outputs[slot]!.slice(0, tokens.length + 1).entries()) {
          const guess = tokens[t];
          const q = from?.[t];
          const drawn =
            guess === undefined || q === undefined ? [] : [rejectionDraw(row, after, guess, q, rng)];
          advance(row, after, ...drawn);
          made++;
          if (row.ids.at(-1) !== guess) break;
          speculated.kept++;
          if (row.finish !== undefined) break;
        }
      }
      await report(made);
    }
  }
}
