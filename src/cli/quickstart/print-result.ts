/** The result of a quickstart on a terminal. */
import type { Estimate } from '../../eval/estimate.ts';
import { formatBytes, formatDuration, formatNumber } from '../format.ts';
import { formatTable, type Output } from '../output.ts';
import { policyNames } from './evaluate.ts';
import type { QuickstartResult } from './pipeline.ts';

const label = { sft: 'SFT', dpo: 'DPO', ppo: 'PPO', bestOfN: 'best of n' } as const;

/** Tables of what each policy is worth and what each stage cost, a few completions, and what to look at next. */
export function printResult(result: QuickstartResult, output: Output, seconds: number): void {
  const { evaluation, costs, folder, parameters, models } = result;
  const { text, colors } = output;
  const { policies, rewardModel, seen, samples } = evaluation;
  text('');
  for (const { prompt, completions } of samples.filter((_, index) => index % 2 === 0).slice(0, 5)) {
    text(colors.bold(prompt));
    for (const name of ['sft', 'dpo', 'ppo'] as const) {
      text(`  ${label[name].padEnd(9)} ${completions[name].text.trim()}`);
    }
  }
  text('');
  text(
    formatTable([
      ['95 % intervals', 'gold reward', 'unsafe', 'over-refusal', 'KL', 'tokens', 'wins against SFT'],
      ...policyNames.map((name) => {
        const figures = policies[name];
        return [
          label[name],
          plain(figures['gold.reward']),
          percent(figures.unsafeRate),
          percent(figures.overRefusal),
          plain(figures.kl, 1),
          plain(figures.length, 1),
          percent(figures.winRate),
        ];
      }),
    ]),
  );
  text('');
  text(
    `SFT on facts of its demonstrations, most likely answers: ${percent(seen.correctness)} right, ${percent(seen.wellFormed)} well-formed`,
  );
  text(
    `reward model: ${percent(rewardModel.accuracy)} of ${rewardModel.pairs} held-out labels, calibration error ${rewardModel.ece.toFixed(3)}`,
  );
  text('');
  text(
    formatTable([
      ['stage', 'time', 'memory'],
      ...costs.map(({ name, seconds: s, peakMemoryBytes }) => [
        name,
        formatDuration(s),
        formatBytes(peakMemoryBytes),
      ]),
    ]),
  );
  text('');
  text(
    `${formatNumber(parameters)} parameters, took ${formatDuration(seconds)}. Report: ${folder}/report.html`,
  );
  text(`Next: heed generate --model ${models.ppo} "${samples[0]?.prompt.split('\n')[0] ?? ''}"`);
  output.record({ event: 'quickstart', folder, parameters, models, evaluation, costs, seconds });
}

function plain({ mean, low, high }: Estimate, digits = 3): string {
  return `${mean.toFixed(digits)} [${low.toFixed(digits)}, ${high.toFixed(digits)}]`;
}

function percent({ mean, low, high }: Estimate): string {
  return `${(100 * mean).toFixed(0)} % [${(100 * low).toFixed(0)}, ${(100 * high).toFixed(0)}]`;
}
