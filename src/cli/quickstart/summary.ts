/** Files that tell what came out: summary.json for programs, report.html for people. */
import { existsSync, readFileSync } from 'node:fs';
import { availableParallelism, platform, totalmem } from 'node:os';
import type { QuickstartReport } from '../../report/quickstart-report.ts';
import type { Pipeline, StageName } from './context.ts';
import type { QuickstartResult } from './pipeline.ts';
import { writeAtomically } from './stages.ts';

/** Figures of a run. Equal seeds on equal machines give equal bytes: there are no times in it. */
export function writeSummary(
  { options, path }: Pipeline,
  { parameters, evaluation }: QuickstartResult,
): void {
  const { seed, size, klCoefficient } = options;
  const { policies, rewardModel, seen, curves } = evaluation;
  const summary = {
    format: 1,
    seed,
    size,
    klCoefficient,
    parameters,
    ...policies,
    rewardModel,
    seen,
    curves,
  };
  writeAtomically(path('summary.json'), `${JSON.stringify(summary, null, 2)}\n`);
}

/** The page of a run, with the times and memory of its stages. */
export async function writeQuickstartReport(pipeline: Pipeline, result: QuickstartResult): Promise<void> {
  const { options, path } = pipeline;
  const { policies, rewardModel, curves, samples } = result.evaluation;
  const { writeReport } = await import('../../report/index.ts');
  const training = (name: StageName, metric: string, unit: string) => ({
    name,
    metric,
    unit,
    points: metricPoints(path(name, 'metrics.jsonl'), metric),
  });
  const report: QuickstartReport = {
    title: 'heed quickstart',
    seed: options.seed,
    size: options.size,
    heedVersion: options.version,
    machine: {
      cores: availableParallelism(),
      memoryBytes: totalmem(),
      node: process.version,
      platform: platform(),
    },
    policies,
    rewardModel,
    goldName: 'gold utility (reward less cost)',
    curves: [
      { name: 'ppo', points: curves.ppo },
      { name: 'bestOfN', points: curves.bestOfN.map(({ n, ...point }) => ({ step: n, ...point })) },
    ],
    training: [
      training('sft', 'loss', 'nats per token'),
      training('reward-model', 'accuracy', 'share of pairs'),
      training('dpo', 'rewards/accuracies', 'share of pairs'),
      training('ppo', 'objective/scores', 'learned reward'),
      training('ppo', 'objective/kl', 'nats per completion'),
    ],
    samples,
    stages: result.costs,
    verdicts: [],
    command: `npx heed quickstart --seed ${options.seed} --size ${options.size} --kl-coefficient ${options.klCoefficient}`,
  };
  await writeReport(path('report.html'), report);
}

/** A metric over the steps of a run; records without it are skipped. */
function metricPoints(file: string, metric: string): { step: number; value: number }[] {
  if (!existsSync(file)) return [];
  return readFileSync(file, 'utf8')
    .split('\n')
    .filter(Boolean)
    .flatMap((line) => {
      const record = JSON.parse(line) as Record<string, number>;
      const [step, value] = [record.step, record[metric]];
      return step === undefined || value === undefined ? [] : [{ step, value }];
    });
}
