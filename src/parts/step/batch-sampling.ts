/** Batches whose completions are sampled as training goes: the slot, and on-policy sampling from student and teacher. */
import type { Rng } from '../../core/rng.ts';
import type { Engine } from '../../engine/engine.ts';
import { createGenerator, type Generator } from '../../generate/index.ts';
import type { ModelWithParameters } from '../../models/lora-model.ts';
import { columnsOf, type TokenExample } from '../batch.ts';

/** Puts other completions into a batch before anything is computed on it. */
export interface BatchSampling<E> {
  /** Most padded columns that an example needs once it is sampled. */
  columns(example: E): number;
  /** Models that sample, of which the caches of keys and values take memory, given the one that learns. */
  samplers<M>(learner: M): readonly (M | ModelWithParameters)[];
  /** Sampling with the weights as they are at each call. */
  open(learner: ModelWithParameters & { readonly engine: Engine }): OpenSampling<E>;
}

export interface OpenSampling<E> {
  /** The examples in order, with the completions to learn from. @param step optimizer steps taken: draws depend on it alone */
  sample(batch: readonly E[], step: number): Promise<readonly E[]>;
  dispose(): void;
}

export interface OnPolicyOptions {
  /** Share of batches that the student samples. */
  readonly studentShare: number;
  /** Whether the teacher samples the others; else they are the data's. */
  readonly teacherSamples: boolean;
  readonly teacher: ModelWithParameters;
  readonly maxNewTokens: number;
  readonly temperature: number;
  /** Tokens that end a completion. */
  readonly stopIds: ReadonlySet<number>;
  readonly rng: Rng;
}

/** Who writes a batch is drawn anew for each step; prompts are what stands before the last completion of an example. */
export function onPolicySampling<E extends TokenExample>(
  options: OnPolicyOptions,
): BatchSampling<E | (TokenExample & { readonly sampledBy: 'student' | 'teacher' })> {
  const { studentShare, teacherSamples, teacher, maxNewTokens, temperature, stopIds, rng } = options;
  return {
    columns: ({ ids, mask }) => columnsOf(lastPromptLength({ ids, mask }) + maxNewTokens),
    samplers: (learner) => [
      ...(studentShare > 0 ? [learner] : []),
      ...(teacherSamples && studentShare < 1 ? [teacher] : []),
    ],
    open({ engine, ...student }) {
      const opened = new Map<'student' | 'teacher', Generator>();
      const generatorOf = (sampler: 'student' | 'teacher'): Generator => {
        const generator =
          opened.get(sampler) ?? createGenerator({ engine, ...(sampler === 'student' ? student : teacher) });
        opened.set(sampler, generator);
        return generator;
      };
      return {
        async sample(batch, step) {
          const drawn = rng.split('sampler').uniform(step) < studentShare ? 'student' : 'teacher';
          if (drawn === 'teacher' && !teacherSamples) return batch;
          const prompts = batch.map(({ ids, mask }) =>
            Array.from(ids).slice(0, lastPromptLength({ ids, mask })),
          );
          const completions = await generatorOf(drawn).generate(prompts, {
            ...{ temperature, topK: 0, topP: 1, maxNewTokens, stopIds, batchSize: batch.length },
            rng: rng.split('completions').split(step),
          });
          return prompts.map((prompt, index) => {
            const { ids } = completions[index]!;
            return {
              ids: [...prompt, ...ids],
              mask: [...prompt.map(() => 0), ...ids.map(() => 1)],
              sampledBy: drawn,
            };
          });
        },
        dispose() {
          for (const generator of opened.values()) generator.dispose();
        },
      };
    },
  };
}

/** Tokens before the last run of learned ones; all where none is: a prompt without a completion. */
export function lastPromptLength({ ids, mask }: Pick<TokenExample, 'ids' | 'mask'>): number {
  let end = ids.length;
  while (end > 0 && mask[end - 1] === 0) end--;
  if (end === 0) return ids.length;
  while (end > 0 && mask[end - 1] !== 0) end--;
  return end;
}
