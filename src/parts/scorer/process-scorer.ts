/** A process reward model as a scorer: completions are cut into steps, and the steps' probabilities made one score. */
import { softmax } from '../../graph/ops/reduce.ts';
import { reshape, sliceAxis } from '../../graph/ops/shape.ts';
import type { Tensor } from '../../graph/tensor.ts';
import type { Tokenizer } from '../../tokenizer/index.ts';
import { createForward, type Forward, type ForwardOptions } from '../forward.ts';
import { type SteppedSequence, stepArrays, stepLogits, stepTypes } from '../step/process.ts';
import type { RewardCard } from './reward-card.ts';
import type { Scorer } from './scorer.ts';

export const stepAggregations = ['min', 'product', 'last', 'mean'] as const;
export type StepAggregation = (typeof stepAggregations)[number];

/**
 * One number from the probabilities of the steps, 0 to 1.
 *
 * @throws RangeError when there is no step
 * @example aggregateSteps([0.9, 0.8, 0.5], 'product') // 0.36; min and last 0.5, mean 0.7333
 */
export function aggregateSteps(probabilities: readonly number[], how: StepAggregation): number {
  const last = probabilities.at(-1);
  if (last === undefined) throw new RangeError('aggregateSteps: expected at least one step, received none');
  switch (how) {
    case 'min':
      return Math.min(...probabilities);
    case 'product':
      return probabilities.reduce((product, p) => product * p, 1);
    case 'last':
      return last;
    case 'mean':
      return probabilities.reduce((sum, p) => sum + p, 0) / probabilities.length;
  }
}

/**
 * Tokens of a prompt and steps, the separator after each step, and where the steps end.
 *
 * @source huggingface/trl v0.24.0 `trl/trainer/prm_trainer.py` `tokenize_row`: prompt, steps and separator are tokenized apart
 */
export function steppedSequence(
  tokenizer: Tokenizer,
  prompt: string,
  steps: readonly string[],
  separator: string,
): { readonly ids: number[]; readonly ends: number[] } {
  const after = tokenizer.encode(separator, { addSpecial: false, continuation: true });
  const ids = [...tokenizer.encode(prompt, { addSpecial: false })];
  if (tokenizer.addsBos && ids[0] !== tokenizer.bosId) ids.unshift(tokenizer.bosId!);
  const ends = steps.map((step) => {
    ids.push(...tokenizer.encode(step, { addSpecial: false, continuation: true }), ...after);
    return ids.length - 1;
  });
  return { ids, ends };
}

/** Probabilities that the steps of sequences are right, in order. */
export function stepForward(options: ForwardOptions): {
  run(examples: readonly SteppedSequence[]): Promise<number[][]>;
  dispose(): void;
} {
  const forward: Forward<SteppedSequence> = createForward<SteppedSequence>(
    {
      columns: ({ ids }) => ids.length,
      types: (rows, columns) => stepTypes(rows, columns),
      arrays: stepArrays,
      trace: (weights, inputs) => {
        const sequences = inputs as unknown as { readonly ids: Tensor; readonly positions: Tensor };
        const logits = stepLogits(options.model, weights, sequences);
        return reshape(sliceAxis(softmax(logits), 2, 1, 2), [...sequences.ids.shape]);
      },
      length: ({ ids }) => ids.length,
    },
    options,
  );
  return {
    async run(examples) {
      const all = await forward.run(examples);
      return examples.map(({ steps }, index) => steps.map(({ end }) => all[index]![end]!));
    },
    dispose: () => forward.dispose(),
  };
}

export interface ProcessScorerOptions extends ForwardOptions {
  readonly name: string;
  readonly tokenizer: Tokenizer;
  /** `process` of the model's card. */
  readonly process: NonNullable<RewardCard['process']>;
}

/**
 * Scores completions by their steps: the text between separators, empty ones left out. One without a step, or longer than
 * the model's context, cannot be scored.
 */
export function processScorer(options: ProcessScorerOptions): Scorer {
  const { name, tokenizer, model } = options;
  const { separator, aggregate } = options.process;
  const forward = stepForward(options);
  return {
    name,
    async score(items) {
      const sequences = items.map(({ promptIds, completion }) => {
        const steps = completion.split(separator).filter((step) => step.trim() !== '');
        const { ids, ends } = steppedSequence(tokenizer, '', steps, separator);
        // The prompt is there as tokens; a BOS of the empty prompt is not wanted behind them.
        const begin = ids[0] === tokenizer.bosId && tokenizer.addsBos ? 1 : 0;
        const start = promptIds.length - begin;
        return {
          ids: [...Array.from(promptIds), ...ids.slice(begin)],
          steps: ends.map((end) => ({ end: start + end })),
        };
      });
      const scorable = sequences.flatMap(({ ids, steps }, index) =>
        steps.length > 0 && ids.length <= model.maxPositions ? [index] : [],
      );
      const all = await forward.run(scorable.map((index) => sequences[index]!));
      const scores = new Array<number | undefined>(items.length).fill(undefined);
      scorable.forEach((index, i) => {
        scores[index] = aggregateSteps(all[i]!, aggregate);
      });
      return scores;
    },
    dispose: () => forward.dispose(),
  };
}
