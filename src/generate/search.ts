/** Beam search of many prompts. */
import type { CausalModel } from '../models/causal-model.ts';
import { beamSearch } from './beam.ts';
import type { Completion, DecodingSize, DecodingWork, GenerateOptions } from './generate.ts';

/** Beam search for every prompt, as many prompts at a time as `batchSize` rows have room for. */
export async function searchAll(
  prompts: readonly ArrayLike<number>[],
  options: GenerateOptions,
  model: CausalModel,
  decoding: <T>(size: DecodingSize, work: DecodingWork<T>) => Promise<T>,
): Promise<Completion[]> {
  const { beams = 1, n = 1, batchSize = 32 } = options;
  const given = prompts.map((prompt, index) => ({
    prompt,
    options: { ...options, ...options.perPrompt?.(index) },
    room: model.maxPositions - prompt.length,
  }));
  const together = Math.max(1, Math.floor(batchSize / beams));
  const made: Completion[] = [];
  for (let at = 0; at < given.length; at += together) {
    const part = given.slice(at, at + together);
    const steps = Math.max(...part.map(({ options }) => options.maxNewTokens));
    const length = Math.max(...part.map(({ prompt, options }) => prompt.length + options.maxNewTokens));
    const found = await decoding({ slots: part.length * beams, length, steps }, (decoder) =>
      beamSearch(part, decoder, { ...options, beams }, (tokens) => options.onTokens?.(tokens)),
    );
    for (const [index, all] of found.entries()) {
      const completions = all.slice(0, n).map(
        ({ ids, logProbs, finish, score }): Completion => ({
          ...{ ids, logProbs, finish, score },
          samplingLogProbs: ids.map(() => 0),
          ...(finish === 'stop' ? { stop: ids.at(-1)! } : {}),
        }),
      );
      await options.onCompletions?.(at + index, completions);
      made.push(...completions);
    }
  }
  return made;
}
