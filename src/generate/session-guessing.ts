/** Guessing ahead for the one row of a session that is alone. */
import type { Binding } from '../engine/engine.ts';
import type { SlotCache } from './cache.ts';
import type { Programs } from './decoder.ts';
import type { Row } from './row.ts';
import type { RowOutputs } from './sample.ts';
import { createVerifier, promptLookup, type Speculated, type Verifier } from './speculative.ts';

export interface SessionGuessing {
  readonly speculated: Readonly<Speculated>;
  /**
   * Guesses what follows the row in slot 0, checks it in one pass and calls `advance` with what each kept token, and the one
   * after them, is drawn from. False where there is nothing to guess: then nothing was done.
   */
  step(row: Row, advance: (outputs: RowOutputs) => void): Promise<boolean>;
  dispose(): void;
}

export interface SessionGuessingOptions {
  readonly programs: Programs;
  /** With room for `count` positions beyond the longest row. */
  readonly cache: SlotCache;
  readonly count: number;
  readonly maxPositions: number;
  readonly run: (binding: Binding) => void | Promise<void>;
}

/**
 * Guesses by prompt look-up, up to `count` tokens at a time. Tokens are drawn as without guessing and a guess is kept when it
 * is the token drawn, so that completions stay what they are, and rows may come and go between two steps.
 */
export function createSessionGuessing(options: SessionGuessingOptions): SessionGuessing {
  const { programs, cache, count, maxPositions, run } = options;
  const speculated: Speculated = { guessed: 0, kept: 0 };
  let verifier: Verifier | undefined;
  return {
    speculated,
    async step(row, advance) {
      const [guess] = await promptLookup([row], count);
      const { tokens } = guess!;
      if (tokens.length === 0) return false;
      verifier ??= await createVerifier(programs, cache, 1, count, { run, maxPositions });
      const [outputs] = await verifier.run([row], [guess!]);
      // Rows that were withdrawn meanwhile have ended.
      if (row.finish !== undefined) return true;
      speculated.guessed += tokens.length;
      for (const [t, after] of outputs!.slice(0, tokens.length + 1).entries()) {
        advance(after);
        if (row.ids.at(-1) !== tokens[t]) break;
        speculated.kept++;
        if (row.finish !== undefined) break;
      }
      return true;
    },
    dispose: () => verifier?.dispose(),
  };
}
