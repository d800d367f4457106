/** `heed quickstart`: the whole path on generated text, offline, in minutes. */
import { z } from 'zod';
import { field } from '../../core/config.ts';
import { createEngine } from '../../engine/create-engine.ts';
import { defineCommand } from '../command.ts';
import { formatDuration, formatNumber } from '../format.ts';
import { runQuickstart } from '../quickstart/pipeline.ts';
import { observeRun } from '../train-command.ts';

const config = z.strictObject({
  output: field(z.string().default('runs/quickstart'), { placeholder: 'folder' }).describe(
    'where data, models and metrics go; earlier quickstart runs there are replaced',
  ),
  seed: field(z.int().min(0).default(0)).describe('seed of the text, the weights and the samples'),
  questions: field(z.int().positive().default(200)).describe('held-out questions answered before and after'),
  sftSteps: field(z.int().positive().default(500)).describe('optimizer steps on demonstrations'),
  dpoSteps: field(z.int().positive().default(100)).describe('optimizer steps on preferences'),
  threads: field(z.int().positive().optional()).describe(
    'threads of the engine; default: the machine’s cores',
  ),
});

export const command = defineCommand({
  config,
  examples: ['quickstart', 'quickstart --seed 1 --output runs/second'],
  async run(
    { output: folder, seed, questions, sftSteps, dpoSteps, threads },
    { output, progress, clock, interruptible },
  ) {
    const signal = interruptible();
    const engine = await createEngine(threads === undefined ? {} : { threads });
    try {
      const result = await runQuickstart({
        folder,
        seed,
        questions,
        steps: { sft: sftSteps, dpo: dpoSteps },
        engine,
        clock,
        interrupted: () => signal.aborted,
        observer: observeRun(progress),
      });
      if (result === undefined) return 130;
      const { colors, text } = output;
      const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;
      text('');
      for (const { prompt, before, after } of result.answers.slice(0, 5)) {
        text(colors.bold(prompt));
        text(`  before ${before.trim()}`);
        text(`  after  ${after.trim()}`);
      }
      text('');
      text(
        `A model of ${formatNumber(result.parameters)} parameters learned to answer, then to prefer polite endings.`,
      );
      text(
        `polite endings on ${questions} new questions: ${percent(result.politeBefore)} → ${percent(result.politeAfter)}`,
      );
      text(
        `answers that begin as they should:  ${percent(result.onTopicBefore)} → ${percent(result.onTopicAfter)}`,
      );
      text(
        `held-out preference accuracy after DPO: ${percent(result.dpo['eval_rewards/accuracies'] ?? Number.NaN)}`,
      );
      text(`took ${formatDuration(result.milliseconds / 1000)}. Model: ${result.model}`);
      text('');
      text(`Next: heed generate --model ${result.model} "Where is the red lamp?"`);
      output.record({ event: 'quickstart', ...result, answers: result.answers.slice(0, 20) });
      return 0;
    } finally {
      engine.dispose();
    }
  },
});
